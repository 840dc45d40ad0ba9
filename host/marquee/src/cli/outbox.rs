//! `marquee outbox`: what waits to be relayed to the bus, and what a person does about rows that the bus refuses.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use marquee_admin::client::{Client, kept_row};
use serde_json::Value;

use super::{
    print,
    remote::RemoteFlags,
    text::{field, plain},
};

/// Show what waits to be relayed to the bus; ask the bus again for a row that it refused, or delete it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee outbox list
  marquee outbox retry metadata/17")]
pub(crate) struct Outbox {
    #[command(flatten)]
    host: RemoteFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List outboxes, and the rows that the bus refuses
    #[command(after_help = "Example:\n  marquee outbox list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the bus again now; it is asked every half a minute by itself
    #[command(after_help = "Example:\n  marquee outbox retry metadata/17")]
    Retry {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
    /// Delete a row that the bus refuses; later ones of its key go on
    #[command(after_help = "Example:\n  marquee outbox discard metadata/17")]
    Discard {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
}

impl Outbox {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        match self.verb {
            Verb::List { json } => list(&remote, json).await?,
            Verb::Retry { id } => {
                remote.act(&kept_row("outbox", &id, "/retry")?).await?;
                print(format!("the bus is asked again for {id}"))?;
            }
            Verb::Discard { id } => {
                let row: Value = remote.ask(&kept_row("outbox", &id, "/discard")?).await?;
                print(format!("{id} is deleted; its key goes on"))?;
                let number = field(&row, "seq");
                if number != "-" {
                    print(format!(
                        "consumers of {} miss number {number} of key {:?}: what follows is parked there as behind a gap; \
                         `marquee messages retry` of the first one says that it will not come",
                        field(&row, "topic"),
                        field(&row, "key"),
                    ))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(remote: &Client, json: bool) -> anyhow::Result<()> {
    let all: Vec<Value> = remote.get("/admin/v1/outbox").await?;
    if json {
        print(serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    let mut outboxes = Table::new();
    outboxes.load_style(NOTHING).set_header([
        "database",
        "published",
        "relayed",
        "waiting",
        "oldest",
        "aside",
        "refused",
        "discarded",
        "source",
        "error",
    ]);
    let mut rows = Table::new();
    rows.load_style(NOTHING).set_header([
        "row", "topic", "key", "number", "behind", "bytes", "refused", "reason",
    ]);
    for entry in &all {
        let database = field(entry, "database");
        let null = Value::Null;
        let outbox = entry.get("outbox").unwrap_or(&null);
        let oldest = outbox.get("oldest_ms").and_then(Value::as_u64);
        let oldest = oldest.map(|ms| humantime::format_duration(Duration::from_millis(ms)));
        let totals = outbox.get("totals").unwrap_or(&null);
        outboxes.add_row([
            database.clone(),
            field(totals, "published"),
            field(totals, "relayed"),
            field(totals, "waiting"),
            oldest.map_or_else(|| "-".to_owned(), |oldest| oldest.to_string()),
            field(outbox, "aside"),
            field(totals, "refused"),
            field(totals, "discarded"),
            field(outbox, "source"),
            plain(&field(outbox, "error")),
        ]);
        let refused = outbox.get("refused").and_then(Value::as_array);
        for row in refused.into_iter().flatten() {
            let of = |name: &str| plain(&field(row, name));
            rows.add_row([
                format!("{database}/{}", of("id")),
                of("topic"),
                of("key"),
                of("seq"),
                of("behind"),
                of("size_bytes"),
                of("refused_at"),
                of("reason"),
            ]);
        }
    }
    print(outboxes.to_string())?;
    if !rows.is_empty() {
        print(format!("\nthe bus refuses:\n{rows}"))?;
    }
    Ok(())
}
