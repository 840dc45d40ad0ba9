//! `marquee hosts`: the hosts of the application, and how far each has come.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use marquee_releases::HostReport;

use super::{print, remote::RemoteFlags, versions::Format};

/// Show the hosts that run the application, and whether each has what should be live.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee hosts")]
pub(crate) struct Hosts {
    #[command(flatten)]
    host: RemoteFlags,
    #[command(flatten)]
    format: Format,
}

impl Hosts {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let hosts: Vec<HostReport> = self.host.remote()?.get("/admin/v1/hosts").await?;
        if self.format.json {
            print(serde_json::to_string_pretty(&hosts)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if hosts.is_empty() {
            print(
                "this host knows no other: they share what is live where DATABASE_URL_RELEASES says",
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["host", "state", "step", "seen", "failing"]);
        for host in hosts {
            let seen = Duration::from_secs(host.seen_ms_ago / 1_000);
            let failing = host.failing.iter();
            let failing: Vec<String> = failing.map(|(id, why)| format!("{id}: {why}")).collect();
            table.add_row([
                host.host,
                host.state,
                host.revision.to_string(),
                format!("{} ago", humantime::format_duration(seen)),
                failing.join("; "),
            ]);
        }
        print(table.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
