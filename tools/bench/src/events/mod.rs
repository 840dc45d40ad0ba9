//! `marquee-bench events`: how fast events go through the outbox, the bus and a component, next to programs without a
//! host that send the same SQL.
//!
//! Servers of its own, with fsync on; the counter of the host's tests as the component: it inserts a row a message and
//! adds to a total. Each figure is measured once, in one run with what it is compared with: the ratios are what can be
//! compared with another day. Bound: the numbers of events, and [`meter::PATIENCE`] without any progress.

mod feed;
mod kafka;
mod latency;
mod meter;
mod native;
mod source;
mod stage;
mod statements;

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use self::{
    feed::Numbers,
    meter::{Goal, Progress, Server},
    stage::Stage,
};
use crate::{host, servers::Bus, table::table};

/// Measure the event path next to programs without a host.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components --tests:\n  marquee-bench events --bus embedded --events 20000"
)]
pub(crate) struct Events {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the counter.
    #[arg(long, default_value = "examples/counter/spin.toml")]
    manifest: PathBuf,
    /// Over which bus.
    #[arg(long, value_enum, default_value_t = Buses::Both)]
    bus: Buses,
    /// Events of each measurement.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(i64).range(1_000..=5_000_000))]
    events: i64,
    /// How many keys they have.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    keys: i64,
    /// Messages that wait behind a blocked key.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    blocked: i64,
    /// Only what has this in its name, and the times from publishing to applying only with "publish to applied".
    #[arg(long, default_value = "")]
    only: String,
    /// Tell also what PostgreSQL spent on each statement. It counts them then, which takes time of its own.
    #[arg(long)]
    statements: bool,
    /// How long the time from publishing to applying is measured.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Buses {
    Embedded,
    Kafka,
    Both,
}

/// A figure of the host's and the one that it is compared with.
struct Compared {
    what: &'static str,
    marquee: Option<f64>,
    native: Option<f64>,
}

/// What a measurement cost the servers.
struct Cost {
    what: &'static str,
    events: f64,
    server: Server,
    /// Units of work in which something was applied.
    batches: f64,
}

/// Measure, and tell as tables.
pub(crate) async fn run(command: Events) -> anyhow::Result<String> {
    let mut text = Vec::new();
    if command.bus != Buses::Kafka {
        text.push(one(&command, Bus::Embedded).await?);
    }
    if command.bus != Buses::Embedded {
        text.push(one(&command, Bus::Kafka).await?);
    }
    Ok(text.join("\n\n"))
}

async fn one(command: &Events, bus: Bus) -> anyhow::Result<String> {
    let program = host::program(command.marquee.as_deref())?;
    let stage = Stage::set(program, command.manifest.clone(), bus, command.statements).await?;
    let (mut compared, mut costs) = (Vec::new(), Vec::new());
    let mut statements = Vec::new();
    let events = command.events;

    for (what, numbers) in [
        (FULL, Numbers::Dense),
        ("applied from a full topic, unnumbered", Numbers::None),
    ] {
        if !command.wants(what) {
            continue;
        }
        let from = stage.ends().await?;
        feed::topic(&stage, numbers, events, command.keys).await?;
        let (marquee, cost) = applied(command, &stage, what, &mut statements).await?;
        costs.push(cost);
        let native = native::apply(&stage, numbers, &from, events).await?;
        compared.push(Compared {
            what,
            marquee: Some(marquee),
            native: Some(native),
        });
    }
    if let Some(brokers) = stage.brokers()
        && command.wants("rdkafka alone")
    {
        compared.push(Compared {
            what: "rdkafka alone: read from a full topic",
            marquee: None,
            native: Some(kafka::read(brokers, events).await?),
        });
        compared.push(Compared {
            what: "rdkafka alone: publish, acks=all",
            marquee: None,
            native: Some(kafka::publish(brokers, events).await?),
        });
    }

    if command.wants(PUBLISH) || command.wants(DRAIN) {
        compared.push(Compared {
            what: PUBLISH,
            marquee: Some(feed::outbox(&stage, stage::DRAINED, events, command.keys).await?),
            native: Some(native::publish(&stage, events, command.keys).await?),
        });
        let marquee = reached(command, &stage, Progress::Drained, DRAIN, &mut statements).await?;
        compared.push(Compared {
            what: DRAIN,
            marquee: Some(marquee),
            native: Some(native::drain(&stage, events).await?),
        });
    }

    let mut whole = None;
    if command.wants(WHOLE) || command.wants(LATENCY) {
        feed::outbox(&stage, stage::TOPIC, events, command.keys).await?;
        let (marquee, cost) = applied(command, &stage, WHOLE, &mut statements).await?;
        costs.push(cost);
        whole = Some(marquee);
        // One after the other, on the same machine: what a program that does both at once could come to.
        let alone = |what: &str| compared.iter().find(|it| it.what == what)?.native;
        let native = alone(DRAIN)
            .zip(alone(FULL))
            .map(|(drain, apply)| 1.0 / (1.0 / drain + 1.0 / apply));
        compared.push(Compared {
            what: WHOLE,
            marquee: whole,
            native,
        });
    }

    if command.wants(BLOCKED) {
        let host = stage.host().await?;
        feed::blocked(&stage, command.blocked).await?;
        let goal = Goal::set(&stage, Progress::Unblocked, command.blocked).await?;
        let marquee = goal.reached(&stage).await?;
        drop(host);
        compared.push(Compared {
            what: BLOCKED,
            marquee: Some(marquee),
            native: Some(native::unblock(&stage, command.blocked).await?),
        });
    }
    let mut times = Vec::new();
    if let Some(whole) = whole.filter(|_| command.wants(LATENCY)) {
        let host = stage.host().await?;
        let length = Duration::from_secs(command.seconds);
        for (what, rate) in [
            (
                format!("{:.0} events a second beside", whole / 4.0),
                whole / 4.0,
            ),
            ("nothing beside".to_owned(), 0.0),
        ] {
            let work = Box::pin(latency::run(&stage, &host, rate, length));
            let taken = counted(command, &stage, &what, &mut statements, work).await?;
            times.push((what, taken));
        }
    }

    let title = match bus {
        Bus::Embedded => "Over the embedded bus",
        Bus::Kafka => "Over Kafka",
    };
    Ok([
        title.to_owned(),
        compared_table(&compared),
        costs_table(&costs),
        latency::table(&times),
    ]
    .into_iter()
    .chain(statements)
    .collect::<Vec<_>>()
    .join("\n\n"))
}

/// How many a second a host moves that finds everything waiting; beside, where it is wanted, what its statements took.
async fn reached(
    command: &Events,
    stage: &Stage,
    progress: Progress,
    what: &str,
    statements: &mut Vec<String>,
) -> anyhow::Result<f64> {
    let goal = Goal::set(stage, progress, command.events).await?;
    let work = async {
        let _host = stage.host().await?;
        goal.reached(stage).await
    };
    counted(command, stage, what, statements, work).await
}

/// What work comes to; beside, where it is wanted, what its statements took.
async fn counted<T>(
    command: &Events,
    stage: &Stage,
    what: &str,
    statements: &mut Vec<String>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    if command.statements {
        statements::reset(stage).await?;
    }
    let done = work.await?;
    if command.statements {
        statements.push(statements::table(stage, what).await?);
    }
    Ok(done)
}

/// As above, of what is to be applied, and what it cost the servers.
async fn applied(
    command: &Events,
    stage: &Stage,
    what: &'static str,
    statements: &mut Vec<String>,
) -> anyhow::Result<(f64, Cost)> {
    let before = Server::look(stage).await?;
    let batches = stage.batches().await?;
    let rate = reached(command, stage, Progress::Applied, what, statements).await?;
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let events = command.events as f64;
    let cost = Cost {
        what,
        events,
        server: Server::look(stage).await?.since(before),
        batches: stage.batches().await? - batches,
    };
    Ok((rate, cost))
}

impl Events {
    fn wants(&self, what: &str) -> bool {
        what.contains(&self.only)
    }
}

fn compared_table(rows: &[Compared]) -> String {
    table(
        ["events a second", "Marquee", "native", "of native"],
        rows.iter().map(|row| {
            let whole = |figure: Option<f64>| figure.map(|figure| format!("{figure:.0}"));
            let ratio = row.marquee.zip(row.native);
            let ratio = ratio.map(|(marquee, native)| format!("{:.2}", marquee / native));
            let figures = [whole(row.marquee), whole(row.native), ratio];
            let figures = figures.into_iter().map(Option::unwrap_or_default).collect();
            (row.what.to_owned(), figures)
        }),
    )
}

fn costs_table(rows: &[Cost]) -> String {
    table(
        [
            "per 1,000 events",
            "WAL fsyncs",
            "transactions",
            "units of work",
            "events a unit",
        ],
        rows.iter().map(|row| {
            let thousand = row.events / 1_000.0;
            let figures = vec![
                format!("{:.1}", row.server.fsyncs / thousand),
                format!("{:.1}", row.server.transactions / thousand),
                format!("{:.1}", row.batches / thousand),
                format!("{:.0}", row.events / row.batches),
            ];
            (row.what.to_owned(), figures)
        }),
    )
}

const FULL: &str = "applied from a full topic, numbered";
const PUBLISH: &str = "marquee.publish in transactions of 5,000";
const DRAIN: &str = "outbox to the bus";
const WHOLE: &str = "outbox to applied";
const BLOCKED: &str = "a blocked key, let go";
const LATENCY: &str = "publish to applied";
