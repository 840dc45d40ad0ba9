//! `marquee-bench neighbours`: what others notice of a component that misbehaves.
//!
//! A host of its own runs the movie system and beside it a component that does one of the things that components should
//! not do, again and again, with the default limits, or has clients that do. The requests of the movie system are measured
//! meanwhile, as many as leave the machine room to breathe: a neighbour that takes all of it notices only itself.

mod application;
mod clients;
mod composed;
mod misdeeds;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use http::Method;
use serde_json::Value;

use self::misdeeds::{MISDEEDS, Misdeed, commit};
use crate::{
    host::{self, Host},
    load::{self, Ask, Load, Report, Until},
    movies,
    table::table,
};

/// Measure what others notice of a component that misbehaves.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components and scripts/components --tests:\n  marquee-bench neighbours --seconds 10"
)]
pub(crate) struct Neighbours {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the movie system.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// How long each misdeed goes on.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Misdeeds a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Requests of the movie system at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// Between two requests of a connection, in milliseconds.
    #[arg(long, default_value_t = 10)]
    pause_ms: u64,
    /// Only this misdeed, e.g. spin; may be said several times.
    #[arg(long, value_name = "MISDEED")]
    only: Vec<String>,
}

/// Measure, and tell as a table.
pub(crate) async fn run(command: Neighbours) -> anyhow::Result<String> {
    let folder = application::folder(&command.manifest)?;
    let versions = application::versions(&folder)?;
    let program = host::program(command.marquee.as_deref())?;
    let manifest = folder.path().join("spin.toml");
    let host = Arc::new(Host::start(&program, &manifest).await?);
    let movies = movies::keep(&host).await?;
    let load = Load {
        connections: usize::from(command.connections),
        pause: Duration::from_millis(command.pause_ms),
    };
    let neighbours = async |phase: &'static str, length| {
        let movies = Arc::clone(&movies);
        let ask: Ask = Arc::new(move |n| movies::ask(&movies, phase, n));
        load::run(&[&host.address], load, Until::after(length), ask).await
    };
    neighbours("warm", WARM).await?;
    let length = Duration::from_secs(command.seconds);
    let mut rows: Vec<(&str, Report, u64)> = Vec::new();
    let wanted = |name: &str, misdeed| {
        let named = command.only.iter().any(|only| only == name);
        matches!(misdeed, Misdeed::Nothing) || command.only.is_empty() || named
    };
    let again = ("again", "does nothing, again", Misdeed::Nothing);
    for (name, said, misdeed) in MISDEEDS.into_iter().chain([again]) {
        if !wanted(name, misdeed) {
            continue;
        }
        let (report, asked, memory) = tokio::join!(
            neighbours(name, length),
            commit(misdeed, &host, &versions, command.rate, length),
            memory(&host, length)
        );
        let asked = asked?;
        ensure!(
            matches!(misdeed, Misdeed::Nothing) || asked > 0,
            "{said}: it was never asked"
        );
        rows.push((said, report?, memory?));
        settled(&host).await?;
    }

    let quiet = rows
        .first()
        .map_or(1.0, |(_, report, _)| report.percentile_ms(99.0));
    let header = [
        "the other one",
        "requests",
        "p50 ms",
        "p99 ms",
        "p99 of quiet",
        "max ms",
        "failed",
        "host MiB",
    ];
    Ok(table(
        header,
        rows.into_iter().map(|(said, report, memory)| {
            let figures = vec![
                report.statuses.values().sum::<u64>().to_string(),
                format!("{:.2}", report.percentile_ms(50.0)),
                format!("{:.2}", report.percentile_ms(99.0)),
                format!("{:.2}", report.percentile_ms(99.0) / quiet),
                format!("{:.2}", report.percentile_ms(100.0)),
                report.failures().to_string(),
                (memory / 1024).to_string(),
            ];
            (said.to_owned(), figures)
        }),
    ))
}

/// The most memory that the host has at any of many moments, in KiB.
async fn memory(host: &Host, length: Duration) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < length {
        most = most.max(host.memory_kib()?);
        tokio::time::sleep(LOOK).await;
    }
    Ok(most)
}

/// Wait until nothing of a misdeed goes on.
async fn settled(host: &Host) -> anyhow::Result<()> {
    let begun = Instant::now();
    for component in ["faulty", "memories", "crowd"] {
        loop {
            let path = format!("/admin/v1/components/{component}");
            let report = host.admin(Method::GET, &path, movies::JSON, Vec::new());
            let report: Value = serde_json::from_slice(&report.await?)?;
            let in_flight = report.pointer("/versions/0/in_flight");
            if in_flight.and_then(Value::as_u64) == Some(0) {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "a misdeed goes on: {report}");
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

const LOOK: Duration = Duration::from_millis(50);
const WARM: Duration = Duration::from_secs(8);
/// Longer than the default deadline.
const PATIENCE: Duration = Duration::from_secs(20);
