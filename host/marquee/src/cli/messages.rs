//! `marquee messages`: what could not be applied, and what a person does about it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use marquee_admin::{
    BulkReport, MessageState, MessagesOf,
    client::{Client, kept_row},
};
use serde_json::Value;

use super::{
    print,
    query::query,
    remote::RemoteFlags,
    text::{field, plain, text},
};

/// List parked messages and dead letters, and retry, skip or delete them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee messages list --state dead
  marquee messages show rating/17
  marquee messages retry rating/17
  marquee messages retry --all --state dead --reason rejected --dry-run")]
pub(crate) struct Messages {
    #[command(flatten)]
    host: RemoteFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List parked messages and dead letters, oldest first
    #[command(after_help = "Examples:
  marquee messages list --state dead --topic ratings --json
  marquee messages list --after rating/117")]
    List {
        #[command(flatten)]
        which: Which,
        /// Only what is listed behind this one: the last of the page before
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// How many at the most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one message with its payload
    #[command(after_help = "Example:\n  marquee messages show rating/17")]
    Show {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retry now, with a new count of attempts
    #[command(after_help = "Examples:
  marquee messages retry rating/17
  marquee messages retry rating/17 --payload mended.json
  marquee messages retry --all --state dead --rate 100")]
    Retry {
        #[command(flatten)]
        what: What,
        /// Deliver it with what is in this file instead of its payload
        #[arg(long, value_name = "FILE", conflicts_with = "all")]
        payload: Option<PathBuf>,
    },
    /// Go on with later messages of the key; it stays listed as skipped
    #[command(after_help = "Examples:
  marquee messages skip rating/17
  marquee messages skip --all --key movie-7")]
    Skip(What),
    /// Delete; later messages of the key go on
    #[command(after_help = "Examples:
  marquee messages discard rating/17
  marquee messages discard --all --state skipped --until 2026-11-01T00:00:00Z")]
    Discard(What),
    /// Show what persons did with messages and consumers, newest first
    #[command(after_help = "Example:\n  marquee messages history --limit 10")]
    History {
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// One message, or many.
#[derive(Debug, Args)]
struct What {
    /// DATABASE/NUMBER, as the list shows it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<String>,
    /// With all messages that the filters leave
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
    /// Show with how many it would be done, and do nothing
    #[arg(long, requires = "all")]
    dry_run: bool,
    /// How many a second at the most
    #[arg(long, value_name = "NUMBER", requires = "all", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: Option<u32>,
}

/// Filters: every one that is given must fit.
#[derive(Debug, Args)]
struct Which {
    /// Only these
    #[arg(long)]
    state: Option<MessageState>,
    /// Only of this database
    #[arg(long)]
    database: Option<String>,
    /// Only of this component
    #[arg(long)]
    consumer: Option<String>,
    /// Only of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only of this key
    #[arg(long)]
    key: Option<String>,
    /// Only for this reason: retry, failed, waiting, gap, rejected, undecodable, clash or component
    #[arg(long)]
    reason: Option<String>,
    /// Only what came here then or later, e.g. 2026-11-26T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// Only what came here before
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
}

impl Messages {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        self.verb.run(&remote).await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb {
    async fn run(self, remote: &Client) -> anyhow::Result<()> {
        match self {
            Self::List {
                which,
                after,
                limit,
                json,
            } => list(remote, which.of(after, limit), json).await,
            Self::Show { id, json } => show(remote, &id, json).await,
            Self::Retry {
                what,
                payload: Some(file),
            } => {
                let id = what.id.unwrap_or_default();
                let payload = std::fs::read(&file)
                    .with_context(|| format!("{} cannot be read", file.display()))?;
                remote.replace(&address(&id, "/payload")?, payload).await?;
                remote.act(&address(&id, "/retry")?).await?;
                print(format!("{id} is due now, with the new payload"))?;
                Ok(())
            }
            Self::Retry { what, .. } => what.run(remote, "retry", "due now", "").await,
            Self::Skip(what) => what.run(remote, "skip", "skipped", KEY_GOES_ON).await,
            Self::Discard(what) => what.run(remote, "discard", "deleted", KEY_GOES_ON).await,
            Self::History { limit, json } => history(remote, limit, json).await,
        }
    }
}

impl Which {
    fn of(self, after: Option<String>, limit: u32) -> MessagesOf {
        MessagesOf {
            state: self.state,
            database: self.database,
            consumer: self.consumer,
            topic: self.topic,
            key: self.key,
            reason: self.reason,
            since: self.since,
            until: self.until,
            after,
            limit: Some(limit),
            dry_run: false,
        }
    }
}

impl What {
    async fn run(self, remote: &Client, verb: &str, is: &str, then: &str) -> anyhow::Result<()> {
        if let Some(id) = self.id {
            remote.act(&address(&id, &format!("/{verb}"))?).await?;
            print(format!("{id} is {is}{then}"))?;
            return Ok(());
        }
        // A page is what may be done in a second.
        let mut wanted = self.which.of(None, self.rate.unwrap_or(500));
        wanted.dry_run = self.dry_run;
        let (mut done, mut left) = (0, 0);
        loop {
            let second = tokio::time::sleep(Duration::from_secs(1));
            let path = format!("/admin/v1/messages/{verb}?{}", query(&wanted)?);
            let report: BulkReport = remote.ask(&path).await?;
            done += report.done;
            left += report.left.len();
            for message in &report.left {
                print(format!("{}: {}", message.message, plain(&message.why)))?;
            }
            let Some(next) = report.next else { break };
            wanted.after = Some(next);
            if self.rate.is_some() && !self.dry_run {
                second.await;
            }
        }
        let verb = match done {
            _ if self.dry_run => "would be",
            1 => "is",
            _ => "are",
        };
        print(format!("{} {verb} {is}", messages(done)))?;
        ensure!(left == 0, "nothing was done with {}", messages(left));
        Ok(())
    }
}

fn messages(number: usize) -> String {
    match number {
        1 => "1 message".to_owned(),
        more => format!("{more} messages"),
    }
}

async fn list(remote: &Client, wanted: MessagesOf, json: bool) -> anyhow::Result<()> {
    let path = format!("/admin/v1/messages?{}", query(&wanted)?);
    let all: Vec<Value> = remote.get(&path).await?;
    if json {
        print(serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    if all.is_empty() {
        print("no messages")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "message",
        "state",
        "topic",
        "key",
        "attempts",
        "next attempt",
        "reason",
        "error",
    ]);
    for message in &all {
        let null = Value::Null;
        let kept = message.get("kept").unwrap_or(&null);
        let kept = |name: &str| plain(&field(kept, name));
        table.add_row([
            field(message, "message"),
            kept("state"),
            kept("topic"),
            kept("key"),
            kept("attempts"),
            kept("next_attempt_at"),
            kept("reason"),
            kept("error"),
        ]);
    }
    print(table.to_string())?;
    if let Some(last) = all.last()
        && u32::try_from(all.len()).ok() == wanted.limit
    {
        print(format!(
            "there may be more: --after {}",
            field(last, "message")
        ))?;
    }
    Ok(())
}

async fn show(remote: &Client, id: &str, json: bool) -> anyhow::Result<()> {
    let whole: Value = remote.get(&address(id, "")?).await?;
    if json {
        print(serde_json::to_string_pretty(&whole)?)?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    let fields = whole.get("kept").and_then(Value::as_object);
    for (name, value) in fields.into_iter().flatten() {
        table.add_row([name.replace('_', " "), plain(&text(value))]);
    }
    let headers = whole.get("headers").and_then(Value::as_array);
    for header in headers.into_iter().flatten() {
        if let [name, value] = header.as_array().map(Vec::as_slice).unwrap_or_default() {
            table.add_row([
                format!("header {}", plain(&text(name))),
                plain(&text(value)),
            ]);
        }
    }
    print(table.to_string())?;
    let payload = whole.get("payload").unwrap_or(&Value::Null);
    print(serde_json::to_string_pretty(payload)?)?;
    Ok(())
}

async fn history(remote: &Client, limit: u32, json: bool) -> anyhow::Result<()> {
    let path = format!("/admin/v1/messages/actions?limit={limit}");
    let all: Vec<Value> = remote.get(&path).await?;
    if json {
        print(serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    if all.is_empty() {
        print("nobody has done anything yet")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "at", "who", "did", "message", "consumer", "topic", "key", "found",
    ]);
    for entry in &all {
        let null = Value::Null;
        let action = entry.get("action").unwrap_or(&null);
        let of = |name: &str| plain(&field(action, name));
        let message = match of("message_id").as_str() {
            "-" => "-".to_owned(),
            id => format!("{}/{id}", field(entry, "database")),
        };
        table.add_row([
            of("at"),
            of("actor"),
            of("action"),
            message,
            of("consumer"),
            of("topic"),
            of("key"),
            of("detail"),
        ]);
    }
    print(table.to_string())?;
    Ok(())
}

/// Of a message, or of what is done with it.
fn address(id: &str, rest: &str) -> anyhow::Result<String> {
    kept_row("messages", id, rest)
}

const KEY_GOES_ON: &str = "; its key goes on";
