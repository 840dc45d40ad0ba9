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

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use self::{
    feed::Numbers,
    meter::{Goal, Progress, Server},
    stage::Stage,
};
use crate::{servers::Bus, table::table};

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
    native: f64,
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
    let program = match &command.marquee {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("marquee"),
    };
    let stage = Stage::set(program, command.manifest.clone(), bus).await?;
    let (mut compared, mut costs) = (Vec::new(), Vec::new());
    let events = command.events;
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let amount = events as f64;

    for (what, numbers) in [
        ("applied from a full topic, numbered", Numbers::Dense),
        ("applied from a full topic, unnumbered", Numbers::None),
    ] {
        let from = stage.ends().await?;
        feed::topic(&stage, numbers, events, command.keys).await?;
        let before = Server::look(&stage).await?;
        let batches = stage.batches().await?;
        let goal = Goal::set(&stage, Progress::Applied, events).await?;
        let host = stage.host().await?;
        let marquee = goal.reached(&stage).await?;
        drop(host);
        costs.push(Cost {
            what,
            events: amount,
            server: Server::look(&stage).await?.since(before),
            batches: stage.batches().await? - batches,
        });
        let native = native::apply(&stage, numbers, &from, events).await?;
        compared.push(Compared {
            what,
            marquee: Some(marquee),
            native,
        });
    }
    if let Some(brokers) = stage.brokers() {
        compared.push(Compared {
            what: "rdkafka alone: read from a full topic",
            marquee: None,
            native: kafka::read(brokers, events).await?,
        });
        compared.push(Compared {
            what: "rdkafka alone: publish, acks=all",
            marquee: None,
            native: kafka::publish(brokers, events).await?,
        });
    }

    compared.push(Compared {
        what: "marquee.publish in transactions of 5,000",
        marquee: Some(feed::outbox(&stage, stage::DRAINED, events, command.keys).await?),
        native: native::publish(&stage, events, command.keys).await?,
    });
    let goal = Goal::set(&stage, Progress::Drained, events).await?;
    let host = stage.host().await?;
    let marquee = goal.reached(&stage).await?;
    drop(host);
    compared.push(Compared {
        what: "outbox to the bus",
        marquee: Some(marquee),
        native: native::drain(&stage, events).await?,
    });

    feed::outbox(&stage, stage::TOPIC, events, command.keys).await?;
    let before = Server::look(&stage).await?;
    let batches = stage.batches().await?;
    let goal = Goal::set(&stage, Progress::Applied, events).await?;
    let host = stage.host().await?;
    let whole = goal.reached(&stage).await?;
    drop(host);
    costs.push(Cost {
        what: "outbox to applied",
        events: amount,
        server: Server::look(&stage).await?.since(before),
        batches: stage.batches().await? - batches,
    });
    let native = compared.iter().rev();
    // One after the other, on the same machine: what a program that does both at once could come to.
    let alone = |what: &str| {
        let found = native.clone().find(|it| it.what == what);
        found.map_or(f64::INFINITY, |it| it.native)
    };
    let (drain, apply) = (
        alone("outbox to the bus"),
        alone("applied from a full topic, numbered"),
    );
    compared.push(Compared {
        what: "outbox to applied",
        marquee: Some(whole),
        native: 1.0 / (1.0 / drain + 1.0 / apply),
    });

    let host = stage.host().await?;
    feed::blocked(&stage, command.blocked).await?;
    let goal = Goal::set(&stage, Progress::Unblocked, command.blocked).await?;
    let marquee = goal.reached(&stage).await?;
    compared.push(Compared {
        what: "a blocked key, let go",
        marquee: Some(marquee),
        native: native::unblock(&stage, command.blocked).await?,
    });
    let length = Duration::from_secs(command.seconds);
    let quarter = latency::run(&stage, &host, whole / 4.0, length).await?;
    let idle = latency::run(&stage, &host, 0.0, length).await?;
    drop(host);

    let title = match bus {
        Bus::Embedded => "Over the embedded bus",
        Bus::Kafka => "Over Kafka",
    };
    Ok([
        title.to_owned(),
        compared_table(&compared),
        costs_table(&costs),
        latency::table(&[
            (
                format!("{:.0} events a second beside", whole / 4.0),
                quarter,
            ),
            ("nothing beside".to_owned(), idle),
        ]),
    ]
    .join("\n\n"))
}

fn compared_table(rows: &[Compared]) -> String {
    table(
        ["events a second", "Marquee", "native", "of native"],
        rows.iter().map(|row| {
            let [marquee, ratio] = match row.marquee {
                Some(marquee) => [
                    format!("{marquee:.0}"),
                    format!("{:.2}", marquee / row.native),
                ],
                None => Default::default(),
            };
            let figures = vec![marquee, format!("{:.0}", row.native), ratio];
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
