//! `marquee messages`: what could not be applied, and what a person does about it.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets::NOTHING};
use marquee_database::Database;
use marquee_delivery::messages::{self, Filter, Kept, State};

use super::{environment, print};
use crate::{
    app,
    databases::Databases,
    settings::{Flags, Settings, UpFlags},
};

/// List parked and dead messages, and decide about them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee messages list --state dead
  marquee messages show rating/17
  marquee messages retry rating/17")]
pub(crate) struct Messages {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what is kept, oldest first
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
    /// Bring it again now, with its attempts counted anew
    #[command(after_help = "Example:\n  marquee messages retry rating/17")]
    Retry {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
    /// Set it aside, so that later messages of its key go on without it
    #[command(after_help = "Example:\n  marquee messages skip rating/17")]
    Skip {
        /// DATABASE/NUMBER, as the list shows it
        id: String,
    },
    /// Delete it for good; later messages of its key go on without it
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
    state: Option<StateName>,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateName {
    Parked,
    Dead,
    Skipped,
}

impl Messages {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::decide(&self.flags, &UpFlags::default(), environment())?;
        let app = app::read(&settings.manifest.value)?;
        let databases = Databases::attach(&app, &settings).await?;
        let result = self.verb.run(&databases).await;
        databases.close().await;
        result.map(|()| ExitCode::SUCCESS)
    }
}

impl Verb {
    async fn run(self, databases: &Databases) -> anyhow::Result<()> {
        let actor = || std::env::vars_os().find(|(name, _)| name == "USER");
        let actor = actor().map_or_else(
            || "operator".to_owned(),
            |(_, user)| user.to_string_lossy().into_owned(),
        );
        match self {
            Self::List(list) => list.run(databases).await,
            Self::Show { id, json } => show(databases, &id, json).await,
            Self::Retry { id } => {
                let (database, number) = find(databases, &id)?;
                messages::retry(database, number, &actor).await?;
                print(format!("{id} is due now"));
                Ok(())
            }
            Self::Skip { id } => {
                let (database, number) = find(databases, &id)?;
                messages::skip(database, number, &actor).await?;
                print(format!("{id} is set aside; its key goes on"));
                Ok(())
            }
            Self::Discard { id } => {
                let (database, number) = find(databases, &id)?;
                messages::discard(database, number, &actor).await?;
                print(format!("{id} is deleted; its key goes on"));
                Ok(())
            }
        }
    }
}

impl List {
    async fn run(self, databases: &Databases) -> anyhow::Result<()> {
        let filter = Filter {
            state: self.state.map(|state| match state {
                StateName::Parked => State::Parked,
                StateName::Dead => State::Dead,
                StateName::Skipped => State::Skipped,
            }),
            consumer: self.consumer,
            topic: self.topic,
            key: self.key,
            after: None,
            limit: self.limit,
        };
        let mut all: Vec<(String, Kept)> = Vec::new();
        for database in databases.by_component.values() {
            let kept = messages::list(database, &filter).await?;
            all.extend(
                kept.into_iter()
                    .map(|kept| (format!("{}/{}", database.name(), kept.id), kept)),
            );
        }
        if self.json {
            let rows: Vec<_> = all
                .iter()
                .map(|(id, kept)| serde_json::json!({ "message": id, "kept": kept }))
                .collect();
            print(serde_json::to_string_pretty(&rows)?);
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
        for (id, kept) in all {
            let next = match kept.next_attempt_at {
                Some(at) => at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                None => "-".to_owned(),
            };
            let state = serde_json::to_value(kept.state)?
                .as_str()
                .unwrap_or_default()
                .to_owned();
            table.add_row([
                id,
                state,
                kept.topic,
                plain(&kept.key),
                kept.attempts.to_string(),
                next,
                kept.reason,
                plain(kept.error.as_deref().unwrap_or("-")),
            ]);
        }
        print(table.to_string());
        Ok(())
    }
}

async fn show(databases: &Databases, id: &str, json: bool) -> anyhow::Result<()> {
    let (database, number) = find(databases, id)?;
    let Some(detail) = messages::show(database, number).await? else {
        bail!("there is no message {id}; `marquee messages list` shows what there is");
    };
    let payload = match std::str::from_utf8(&detail.value) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text)),
        Err(_) => {
            serde_json::Value::from(format!("{} bytes that are not text", detail.value.len()))
        }
    };
    let whole = serde_json::json!({
        "message": id,
        "kept": detail.kept,
        "headers": detail.headers,
        "payload": payload,
    });
    if json {
        print(serde_json::to_string_pretty(&whole)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    let kept = whole
        .get("kept")
        .and_then(serde_json::Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (name, value) in kept {
        table.add_row([name.replace('_', " "), plain(&text(&value))]);
    }
    for (name, value) in &detail.headers {
        table.add_row([format!("header {name}"), plain(value)]);
    }
    print(table.to_string());
    print(serde_json::to_string_pretty(&payload)?);
    Ok(())
}

fn find<'a>(databases: &'a Databases, id: &str) -> anyhow::Result<(&'a Database, i64)> {
    let (name, number) = id
        .split_once('/')
        .with_context(|| format!("{id:?} is not DATABASE/NUMBER"))?;
    let number = number
        .parse()
        .with_context(|| format!("{id:?} is not DATABASE/NUMBER"))?;
    let mut all = databases.by_component.values();
    match all.find(|database| database.name() == name) {
        Some(database) => Ok((database, number)),
        None => bail!("the application has no database {name}"),
    }
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "-".to_owned(),
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
