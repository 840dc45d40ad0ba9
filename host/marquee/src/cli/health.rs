//! `marquee health`: whether a host is ready, for whoever looks after its process and has no HTTP client, as in a container.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    print,
    remote::RemoteFlags,
    text::{plain, text},
};

/// Ask a host whether it is ready; exit code 1 where it is not, with what is missing. The one of the same settings, unless
/// --admin names another
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee health
  marquee health --admin http://127.0.0.1:3001")]
pub(crate) struct Health {
    #[command(flatten)]
    host: RemoteFlags,
}

impl Health {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let host = self.host.listener()?;
        let answer = timeout(PATIENCE, host.readiness()).await;
        let answer: Value = answer.context("the host does not answer")??;
        let status = plain(
            answer
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or("not understood"),
        );
        if status == "ready" {
            print(status)?;
            return Ok(ExitCode::SUCCESS);
        }
        let nothing = Map::new();
        let failing = answer.get("failing").and_then(Value::as_object);
        let failing = failing.unwrap_or(&nothing).iter();
        let failing: String = failing
            .map(|(part, detail)| format!("; {}: {}", plain(part), plain(&text(detail))))
            .collect();
        bail!("{status}{failing}")
    }
}

/// The host gives each of its parts a second, all at once.
const PATIENCE: Duration = Duration::from_secs(3);
