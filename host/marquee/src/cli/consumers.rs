//! `marquee topics` and `consumers`: how events stand; and what a person does with a consumer.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use marquee_admin::client::Client;
use marquee_delivery::consumers::ReplayFrom;
use serde_json::Value;
use url::form_urlencoded;

use super::{
    print,
    remote::RemoteFlags,
    text::{field, plain, text},
};

/// Show the topics that the manifest names, and what the bus has of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marquee topics\n  marquee topics --json")]
pub(crate) struct Topics {
    #[command(flatten)]
    host: RemoteFlags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show how far consumers are; pause one, let it go on, set it back, or delete one that no component is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee consumers list
  marquee consumers pause rating ratings
  marquee consumers replay rating ratings --from 2026-11-26T08:00:00Z --dry-run")]
pub(crate) struct Consumers {
    #[command(flatten)]
    host: RemoteFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them, with their lag and what holds them up
    #[command(after_help = "Examples:
  marquee consumers list
  marquee consumers list --partitions")]
    List {
        /// A line a partition
        #[arg(long)]
        partitions: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Deliver nothing more of a topic to a consumer, on any host; what is under way is finished
    #[command(after_help = "Example:\n  marquee consumers pause rating ratings")]
    Pause(Subscription),
    /// Go on
    #[command(after_help = "Example:\n  marquee consumers resume rating ratings")]
    Resume(Subscription),
    /// Deliver everything from there on once more, as though it had never been; its effects are applied a second time, so
    /// empty its tables first where they are not idempotent
    #[command(after_help = "Examples:
  marquee consumers replay rating ratings --from earliest --dry-run
  marquee consumers replay rating ratings --from 2026-11-26T08:00:00Z")]
    Replay {
        #[command(flatten)]
        subscription: Subscription,
        /// `earliest`, an offset of each partition, or a time such as 2026-11-26T08:00:00Z
        #[arg(long)]
        from: ReplayFrom,
        /// Show what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget a consumer that no component is any more: how far it was, and the messages that wait for it
    #[command(after_help = "Examples:
  marquee consumers delete scores ratings --dry-run
  marquee consumers delete scores ratings")]
    Delete {
        #[command(flatten)]
        subscription: Subscription,
        /// Show what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct Subscription {
    /// The consumer, as `marquee consumers list` shows it
    consumer: String,
    /// The topic
    topic: String,
}

impl Topics {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let all: Vec<Value> = self.host.remote()?.get("/admin/v1/topics").await?;
        if self.json {
            print(serde_json::to_string_pretty(&all)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if all.is_empty() {
            print("the manifest names no topics")?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header([
            "topic",
            "partitions",
            "messages",
            "published by",
            "consumed by",
        ]);
        for topic in &all {
            let partitions = topic.get("partitions").and_then(Value::as_array);
            table.add_row([
                field(topic, "topic"),
                partitions.map_or(0, Vec::len).to_string(),
                field(topic, "messages"),
                names(topic, "published_by"),
                names(topic, "consumed_by"),
            ]);
        }
        print(table.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Consumers {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        match self.verb {
            Verb::List { partitions, json } => list(&remote, partitions, json).await?,
            Verb::Pause(it) => {
                remote.act(&it.address("pause")).await?;
                print(format!("{it} is paused; what is under way is finished"))?;
            }
            Verb::Resume(it) => {
                remote.act(&it.address("resume")).await?;
                print(format!("{it} goes on"))?;
            }
            Verb::Replay {
                subscription,
                from,
                dry_run,
            } => replay(&remote, &subscription, from, dry_run).await?,
            Verb::Delete {
                subscription,
                dry_run,
            } => delete(&remote, &subscription, dry_run).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Subscription {
    fn address(&self, verb: &str) -> String {
        let part =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (consumer, topic) = (part(&self.consumer), part(&self.topic));
        format!("/admin/v1/consumers/{consumer}/topics/{topic}/{verb}")
    }
}

impl std::fmt::Display for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.consumer, self.topic)
    }
}

async fn list(remote: &Client, partitions: bool, json: bool) -> anyhow::Result<()> {
    let all: Vec<Value> = remote.get("/admin/v1/consumers").await?;
    if json {
        print(serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    if all.is_empty() {
        print("no component subscribes to anything")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    if partitions {
        table.set_header([
            "consumer",
            "topic",
            "partition",
            "position",
            "end",
            "lag",
            "incarnation",
            "moved at",
            "this host",
        ]);
    } else {
        table.set_header([
            "consumer",
            "topic",
            "database",
            "lag",
            "blocked keys",
            "state",
        ]);
    }
    for consumer in &all {
        let name = plain(&field(consumer, "consumer"));
        let topic = plain(&field(consumer, "topic"));
        if !partitions {
            table.add_row([
                name,
                topic,
                field(consumer, "database"),
                field(consumer, "lag"),
                field(consumer, "blocked_keys"),
                state(consumer),
            ]);
            continue;
        }
        let held = consumer.get("here").unwrap_or(&Value::Null);
        let all = consumer.get("partitions").and_then(Value::as_array);
        for partition in all.into_iter().flatten() {
            let of = |name| field(partition, name);
            table.add_row([
                name.clone(),
                topic.clone(),
                of("partition"),
                of("position"),
                of("end"),
                of("lag"),
                of("incarnation"),
                of("moved_at"),
                field(held, &of("partition")),
            ]);
        }
    }
    print(table.to_string())?;
    Ok(())
}

/// In words: whether somebody paused it, and else the worst of what this host does with its partitions.
fn state(consumer: &Value) -> String {
    if consumer.get("subscribed") == Some(&Value::Bool(false)) {
        let waiting = ["parked", "dead"].map(|name| consumer.get(name).and_then(Value::as_i64));
        return match waiting.iter().flatten().sum() {
            0 => "no consumer".to_owned(),
            1 => "no consumer; 1 message waits".to_owned(),
            more => format!("no consumer; {more} messages wait"),
        };
    }
    if let Some(paused) = consumer.get("paused").filter(|it| !it.is_null()) {
        let (by, since) = (plain(&field(paused, "by")), field(paused, "since"));
        return format!("paused by {by} at {since}");
    }
    let here = consumer.get("here").and_then(Value::as_object);
    let states: Vec<String> = here.into_iter().flatten().map(|(_, it)| text(it)).collect();
    let worst = [
        "unreadable",
        "breaker-open",
        "waiting",
        "one-by-one",
        "working",
    ]
    .into_iter()
    .find(|state| states.iter().any(|it| it == state));
    worst.map_or_else(|| "not held by this host".to_owned(), str::to_owned)
}

async fn replay(
    remote: &Client,
    subscription: &Subscription,
    from: ReplayFrom,
    dry_run: bool,
) -> anyhow::Result<()> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("from", &String::from(from))
        .append_pair("dry_run", if dry_run { "true" } else { "false" })
        .finish();
    let path = format!("{}?{query}", subscription.address("replay"));
    let replayed: Vec<Value> = remote.ask(&path).await?;
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "partition",
        "position",
        "goes on at",
        "parked ones deleted",
    ]);
    for partition in &replayed {
        let of = |name| field(partition, name);
        table.add_row([of("partition"), of("position"), of("from"), of("deleted")]);
    }
    print(table.to_string())?;
    print(if dry_run {
        format!("{subscription} would be set back so; nothing is changed")
    } else {
        format!("{subscription} is set back")
    })?;
    Ok(())
}

async fn delete(remote: &Client, subscription: &Subscription, dry_run: bool) -> anyhow::Result<()> {
    let path = format!("{}?dry_run={dry_run}", subscription.address("delete"));
    let deleted: Vec<Value> = remote.ask(&path).await?;
    let columns = ["database", "partitions", "parked", "dead", "skipped"];
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns);
    for database in &deleted {
        table.add_row(columns.map(|name| field(database, name)));
    }
    print(table.to_string())?;
    print(if dry_run {
        format!("{subscription} would be deleted so; nothing is changed")
    } else {
        format!(
            "{subscription} is deleted; a host that still has it delivers nothing to it until `marquee consumers resume`"
        )
    })?;
    Ok(())
}

fn names(value: &Value, name: &str) -> String {
    let all = value.get(name).and_then(Value::as_array);
    let all: Vec<String> = all.into_iter().flatten().map(text).collect();
    if all.is_empty() {
        "-".to_owned()
    } else {
        all.join(", ")
    }
}
