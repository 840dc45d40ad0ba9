//! `marquee versions` and `history`: what is live, and how it came to be.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use marquee_admin::client::at;
use marquee_manifest::ComponentId;
use marquee_registry::{Event, Rising};
use marquee_releases::{ComponentReport, Partitions, VersionReport};

use super::{print, remote::RemoteFlags};

/// Show which versions are live, with what became of their calls; of one component, all that are stored.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marquee versions\n  marquee versions rating --json")]
pub(crate) struct Versions {
    #[command(flatten)]
    host: RemoteFlags,
    /// Only this component
    component: Option<ComponentId>,
    #[command(flatten)]
    format: Format,
}

/// Show who changed what is live, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee history rating --limit 10")]
pub(crate) struct HistoryVerb {
    #[command(flatten)]
    host: RemoteFlags,
    /// Only this component
    component: Option<ComponentId>,
    /// How many at the most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    #[command(flatten)]
    format: Format,
}

/// How it is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Versions {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        match &self.component {
            Some(component) => {
                let report = remote.get(&at(component, "")).await?;
                show_all(&[report], self.format)
            }
            None => show(remote.get("/admin/v1/components").await?, self.format),
        }
    }
}

impl HistoryVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let only = self
            .component
            .map(|component| format!("&component={component}"));
        let path = format!(
            "/admin/v1/history?limit={}{}",
            self.limit,
            only.unwrap_or_default()
        );
        let events: Vec<Event> = self.host.remote()?.get(&path).await?;
        if self.format.json {
            print(serde_json::to_string_pretty(&events)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["when", "who", "component", "action", "version", "result"]);
        for event in events {
            let refused = if event.ok { "" } else { "refused: " };
            let from = event.from.map(|from| format!("; from {from}"));
            let others = event.with.iter();
            let own = event.version.map(|v| v.to_string()).unwrap_or_default();
            let mut components = vec![event.component.to_string()];
            let mut versions = vec![own];
            for (component, version) in others {
                components.push(component.to_string());
                versions.push(version.to_string());
            }
            // A line of the table for each component of a step.
            table.add_row([
                time(event.at_ms),
                event.who,
                components.join("\n"),
                event.action,
                versions.join("\n"),
                format!("{refused}{}{}", event.result, from.unwrap_or_default()),
            ]);
        }
        print(table.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Print components and their versions, but for those that only lie in the store.
pub(crate) fn show(mut reports: Vec<ComponentReport>, format: Format) -> anyhow::Result<ExitCode> {
    for report in &mut reports {
        let named =
            |version: &VersionReport| version.state != "stored" || !version.labels.is_empty();
        report.versions.retain(named);
    }
    show_all(&reports, format)
}

fn show_all(reports: &[ComponentReport], format: Format) -> anyhow::Result<ExitCode> {
    if format.json {
        print(serde_json::to_string_pretty(reports)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "component",
        "version",
        "labels",
        "state",
        "weight",
        "calls",
        "errors",
        "p99",
        "in flight",
        "since",
    ]);
    for report in reports {
        for version in &report.versions {
            table.add_row(row(report, version));
        }
    }
    print(table.to_string())?;
    for report in reports {
        for share in &report.shares {
            let Partitions {
                topic,
                partitions,
                canary,
            } = share;
            let component = &report.component;
            print(format!(
                "the canary of {component} gets the messages of {canary} of {partitions} partitions of {topic}"
            ))?;
        }
    }
    for report in reports {
        let next = |rising: &Rising| Some((*rising.then.first()?, rising.next_ms));
        if let Some((weight, at)) = report.rising.as_ref().and_then(next) {
            let (component, at) = (&report.component, time(at));
            print(format!(
                "the canary of {component} gets {weight} of the calls at {at}"
            ))?;
        }
    }
    // The same of each component.
    if let Some(why) = reports.iter().find_map(|one| one.not_remembered.as_ref()) {
        print(format!(
            "not remembered yet, and tried again: {why}. After a restart the version before would be live"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(report: &ComponentReport, version: &VersionReport) -> [String; 10] {
    let number = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
    let pinned = if report.pinned && version.state == "stable" {
        ", pinned"
    } else {
        ""
    };
    [
        report.component.to_string(),
        version.version.chars().take(12).collect(),
        version.labels.join(", "),
        format!("{}{pinned}", version.state),
        version.weight.map(|w| w.to_string()).unwrap_or_default(),
        number(version.calls),
        number(version.errors),
        version
            .p99_us
            .map(|us| format!("{:.1} ms", Duration::from_micros(us).as_secs_f64() * 1e3))
            .unwrap_or_default(),
        number(version.in_flight),
        // One that is not live has been there since it was stored.
        version
            .since_ms
            .or(version.stored_at_ms)
            .map(time)
            .unwrap_or_default(),
    ]
}

/// To the second, in UTC.
pub(super) fn time(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(at).to_string()
}
