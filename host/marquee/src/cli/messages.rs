//! `marquee messages`: what could not be applied, and what a person does about it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum as _};
use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;
use url::form_urlencoded;

use super::{
    print,
    remote::{Remote, RemoteFlags},
};
use crate::admin::MessageState;

/// List parked messages and dead letters, and retry, skip or delete them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee messages list --state dead
  marquee messages show rating/17
  marquee messages retry rating/17")]
pub(crate) struct Messages {
    #[command(flatten)]
    host: RemoteFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List parked messages and dead letters, oldest first
    #[command(after_help = "Example:\n  marquee messages list --state dead --topic ratings --json")]
    List(List),
    /// Show one message with its payload
    #[command(after_help = "Example:\n  marquee messages show rating/17")]
    Show {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retry it now, with a new count of attempts
    #[command(after_help = "Example:\n  marquee messages retry rating/17")]
    Retry {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
    /// Go on with later messages of its key; it stays listed as skipped
    #[command(after_help = "Example:\n  marquee messages skip rating/17")]
    Skip {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
    /// Delete it; later messages of its key go on
    #[command(after_help = "Example:\n  marquee messages discard rating/17")]
    Discard {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only these
    #[arg(long)]
    state: Option<MessageState>,
    /// Only of this component
    #[arg(long)]
    consumer: Option<String>,
    /// Only of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only of this key
    #[arg(long)]
    key: Option<String>,
    /// How many of each database at the most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Messages {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        self.verb.run(&remote).await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb {
    async fn run(self, remote: &Remote) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(remote).await,
            Self::Show { id, json } => show(remote, &id, json).await,
            Self::Retry { id } => {
                remote.act(&address(&id, "/retry")?).await?;
                print(format!("{id} is due now"));
                Ok(())
            }
            Self::Skip { id } => {
                remote.act(&address(&id, "/skip")?).await?;
                print(format!("{id} is skipped; its key goes on"));
                Ok(())
            }
            Self::Discard { id } => {
                remote.act(&address(&id, "/discard")?).await?;
                print(format!("{id} is deleted; its key goes on"));
                Ok(())
            }
        }
    }
}

impl List {
    async fn run(self, remote: &Remote) -> anyhow::Result<()> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        let state = self.state.and_then(|state| state.to_possible_value());
        let filters = [
            ("state", state.as_ref().map(|state| state.get_name())),
            ("consumer", self.consumer.as_deref()),
            ("topic", self.topic.as_deref()),
            ("key", self.key.as_deref()),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let path = format!("/admin/v1/messages?{}", query.finish());
        let all: Vec<Value> = remote.get(&path).await?;
        if self.json {
            print(serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        if all.is_empty() {
            print("no messages");
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
        for message in all {
            let kept = |name: &str| {
                let value = message.get("kept").and_then(|kept| kept.get(name));
                plain(&text(value.unwrap_or(&Value::Null)))
            };
            table.add_row([
                text(message.get("message").unwrap_or(&Value::Null)),
                kept("state"),
                kept("topic"),
                kept("key"),
                kept("attempts"),
                kept("next_attempt_at"),
                kept("reason"),
                kept("error"),
            ]);
        }
        print(table.to_string());
        Ok(())
    }
}

async fn show(remote: &Remote, id: &str, json: bool) -> anyhow::Result<()> {
    let whole: Value = remote.get(&address(id, "")?).await?;
    if json {
        print(serde_json::to_string_pretty(&whole)?);
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
    print(table.to_string());
    let payload = whole.get("payload").unwrap_or(&Value::Null);
    print(serde_json::to_string_pretty(payload)?);
    Ok(())
}

/// Of a message, or of what is done with it.
fn address(id: &str, rest: &str) -> anyhow::Result<String> {
    let parts = id.split_once('/').and_then(|(database, number)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let number: i64 = number.parse().ok()?;
        database.bytes().all(plain).then_some((database, number))
    });
    let (database, number) = parts.with_context(|| {
        format!("{id:?} is not DATABASE/NUMBER; `marquee messages list` shows what there is")
    })?;
    Ok(format!("/admin/v1/messages/{database}/{number}{rest}"))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Payloads come from outside: nothing of them may move the cursor.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}
