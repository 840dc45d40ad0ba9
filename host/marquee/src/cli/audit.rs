//! `marquee audit`: whether everything adds up.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::Value;

use super::{
    print,
    remote::RemoteFlags,
    text::{field, plain},
};

/// Compare what the bus has with what the databases say became of it; exit code 1 where something does not add up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee audit
  marquee audit --json
  marquee audit accept")]
pub(crate) struct Audit {
    #[command(flatten)]
    host: RemoteFlags,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take everything as it stands, and count from here: a loss was dealt with, or the last host of a version that did not
    /// count is gone
    #[command(after_help = "Example:\n  marquee audit accept")]
    Accept,
}

impl Audit {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        if let Some(Verb::Accept) = self.verb {
            remote.act("/admin/v1/audit/accept").await?;
            print("accepted; counting begins here")?;
            return Ok(ExitCode::SUCCESS);
        }
        let report: Value = remote.get("/admin/v1/audit").await?;
        let sound = report.get("sound") == Some(&Value::Bool(true));
        if self.json {
            print(serde_json::to_string_pretty(&report)?)?;
        } else {
            print(table(&report))?;
        }
        Ok(if sound {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Figures of each partition, then of each outbox, then what does not add up.
fn table(report: &Value) -> String {
    let mut figures = Table::new();
    let mut columns = vec!["consumer", "topic", "partition"];
    columns.extend(FIGURES);
    figures.load_style(NOTHING).set_header(columns);
    let mut outboxes = Table::new();
    let columns = ["database"].iter().chain(OUTBOX);
    outboxes.load_style(NOTHING).set_header(columns);
    let mut findings = Vec::new();
    for database in list(report, "databases") {
        for account in list(database, "accounts") {
            let mut row = vec![
                plain(&field(account, "consumer")),
                plain(&field(account, "topic")),
            ];
            let numbers = ["partition"].iter().chain(FIGURES);
            row.extend(numbers.map(|name| field(account, name)));
            figures.add_row(row);
        }
        let null = Value::Null;
        let outbox = database.get("outbox").unwrap_or(&null);
        let mut row = vec![field(database, "database")];
        row.extend(OUTBOX.iter().map(|name| field(outbox, name)));
        outboxes.add_row(row);
        for finding in list(database, "findings") {
            let [place, what] = ["place", "what"].map(|name| plain(&field(finding, name)));
            findings.push(format!("{}: {place}: {what}", field(database, "database")));
        }
    }
    for column in figures.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for column in outboxes.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let figures = if figures.is_empty() {
        "no consumer has read anything yet".to_owned()
    } else {
        figures.to_string()
    };
    let verdict = match findings.len() {
        0 => "everything adds up".to_owned(),
        1 => "one thing does not add up:".to_owned(),
        more => format!("{more} things do not add up:"),
    };
    let findings: String = findings.iter().map(|it| format!("\n  {it}")).collect();
    format!("{figures}\n\n{outboxes}\n\n{verdict}{findings}")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

const OUTBOX: &[&str] = &["published", "relayed", "waiting", "refused", "discarded"];

const FIGURES: &[&str] = &[
    "from",
    "position",
    "end",
    "done",
    "duplicates",
    "waiting",
    "parked",
    "dead",
    "skipped",
    "discarded",
    "lost",
    "holes",
    "uncounted",
];
