//! `marquee metrics`: what there is to be measured.

use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::telemetry;

/// Show the metrics that a host has at /metrics of its admin listener, with units and meanings (Markdown).
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee metrics\n  curl http://127.0.0.1:3001/metrics")]
pub(crate) struct Metrics {}

impl Metrics {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        print(telemetry::page().trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}
