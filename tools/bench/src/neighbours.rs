//! `marquee-bench neighbours`: what others notice of a component that misbehaves.
//!
//! A host of its own runs the movie system and beside it a component that does one of the things that components should
//! not do, again and again, with the default limits. The requests of the movie system are measured meanwhile, as many as
//! leave the machine room to breathe: a neighbour that takes all of it notices only itself.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use tokio::task::JoinSet;

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

/// What the other component does, and what is said of it.
const MISDEEDS: [(&str, &str); 12] = [
    (NOTHING, "does nothing"),
    ("error", "answers 500"),
    ("trap", "traps"),
    ("recurse", "recurses without end"),
    ("grow", "takes memory without end"),
    ("handles", "takes handles without end"),
    ("huge", "answers with 20 MiB"),
    ("chatter", "logs 10,000 lines"),
    ("wait", "waits without end"),
    ("yield", "gives way without end"),
    ("spin", "computes without end"),
    (START, "is released anew and traps at its start"),
];

/// Measure, and tell as a table.
pub(crate) async fn run(command: Neighbours) -> anyhow::Result<String> {
    let folder = application(&command.manifest)?;
    let program = host::program(command.marquee.as_deref())?;
    let manifest = folder.path().join("spin.toml");
    let host = Arc::new(Host::start(&program, &manifest).await?);
    let stillborn = fs::read(folder.path().join(STILLBORN))
        .with_context(|| format!("{STILLBORN} cannot be read; run scripts/components --tests"))?;
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
    let mut rows: Vec<(&str, Report)> = Vec::new();
    let wanted = |misdeed: &str| {
        let named = command.only.iter().any(|only| only == misdeed);
        misdeed == NOTHING || command.only.is_empty() || named
    };
    for (misdeed, said) in MISDEEDS.into_iter().filter(|(misdeed, _)| wanted(misdeed)) {
        let (report, answers) = tokio::join!(
            neighbours(misdeed, length),
            misbehave(&host, &stillborn, misdeed, command.rate, length)
        );
        let answers = answers?;
        ensure!(
            misdeed == NOTHING || answers > 0,
            "{said}: it was never asked"
        );
        rows.push((said, report?));
        settled(&host).await?;
    }
    rows.push(("does nothing, again", neighbours("again", length).await?));

    let quiet = rows
        .first()
        .map_or(1.0, |(_, report)| report.percentile_ms(99.0));
    let header = [
        "the other one",
        "requests",
        "p50 ms",
        "p99 ms",
        "p99 of quiet",
        "max ms",
        "failed",
    ];
    Ok(table(
        header,
        rows.into_iter().map(|(said, report)| {
            let figures = vec![
                report.statuses.values().sum::<u64>().to_string(),
                format!("{:.2}", report.percentile_ms(50.0)),
                format!("{:.2}", report.percentile_ms(99.0)),
                format!("{:.2}", report.percentile_ms(99.0) / quiet),
                format!("{:.2}", report.percentile_ms(100.0)),
                report.failures().to_string(),
            ];
            (said.to_owned(), figures)
        }),
    ))
}

/// The movie system with one component more, in a folder of its own.
fn application(manifest: &Path) -> anyhow::Result<tempfile::TempDir> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("{} cannot be read", manifest.display()))?;
    let root = std::path::absolute(manifest)?;
    let root = root.parent().context("the manifest is in no folder")?;
    let folder = tempfile::tempdir()?;
    // The embedded PostgreSQL may run as another user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open)?;
    for name in ["target", "migrations"] {
        symlink(root.join(name), folder.path().join(name))?;
    }
    let more = "\n[[trigger.http]]\nroute = \"/faulty/...\"\ncomponent = \"faulty\"\n\n\
                [component.faulty]\nsource = \"target/wasm32-wasip2/guest/faulty.wasm\"\n";
    fs::write(folder.path().join("spin.toml"), text + more)?;
    Ok(folder)
}

/// Have it misbehave for so long. How often it was asked.
async fn misbehave(
    host: &Arc<Host>,
    stillborn: &[u8],
    misdeed: &'static str,
    rate: u32,
    length: Duration,
) -> anyhow::Result<usize> {
    let mut answers = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    let begun = Instant::now();
    while begun.elapsed() < length {
        tick.tick().await;
        let host = Arc::clone(host);
        match misdeed {
            NOTHING => {}
            START => {
                let version = stillborn.to_owned();
                answers.spawn(async move {
                    let path = "/admin/v1/components/faulty/versions";
                    let deployed = host.admin(Method::POST, path, "application/wasm", version);
                    let refused = deployed
                        .await
                        .err()
                        .context("a version that traps is live")?;
                    let refused = refused.to_string();
                    // While the first one is compiled the next ones may find the host busy.
                    let expected = ["step instantiate", "other versions are being deployed"];
                    ensure!(expected.iter().any(|e| refused.contains(e)), "{refused}");
                    Ok(())
                });
            }
            _ => {
                answers.spawn(async move {
                    let request = Request::get(format!("/faulty/{misdeed}"));
                    // It is to fail.
                    let _ = load::send(&host.address, request.body(Full::default())?).await;
                    Ok(())
                });
            }
        }
    }
    let mut count = 0;
    while let Some(answer) = answers.join_next().await {
        answer??;
        count += 1;
    }
    Ok(count)
}

/// Wait until nothing of a misdeed goes on.
async fn settled(host: &Host) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let path = "/admin/v1/components/faulty";
        let report = host.admin(Method::GET, path, movies::JSON, Vec::new());
        let report: Value = serde_json::from_slice(&report.await?)?;
        let in_flight = report.pointer("/versions/0/in_flight");
        if in_flight.and_then(Value::as_u64) == Some(0) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "a misdeed goes on: {report}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const NOTHING: &str = "nothing";
/// Not asked for over HTTP.
const START: &str = "start";
/// A component that traps when it is instantiated.
const STILLBORN: &str = "target/wasm32-wasip2/guest/stillborn.wasm";
const WARM: Duration = Duration::from_secs(8);
/// Longer than the default deadline.
const PATIENCE: Duration = Duration::from_secs(20);
