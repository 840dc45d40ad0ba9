//! `marquee-bench neighbours`: what a component's calls notice of another one that misbehaves.
//!
//! The runtime alone, so that nothing hides it: a component answers some clients, each call after the other, while
//! another one does one of the things that components should not do, again and again.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets};
use marquee_runtime::Limits;
use tokio::task::JoinSet;

use crate::{costs::job, lab::Lab};

/// Measure what others notice of a component that misbehaves.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components --tests:\n  marquee-bench neighbours --seconds 3"
)]
pub(crate) struct Neighbours {
    /// How long each misdeed goes on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Misdeeds a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// The deadline of the component that misbehaves, in milliseconds.
    #[arg(long, default_value_t = 100)]
    deadline_ms: u64,
    /// Calls of the neighbour at once.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Between two calls of a client, in milliseconds: a neighbour that takes the whole machine notices only itself.
    #[arg(long, default_value_t = 2)]
    pause_ms: u64,
    /// The component that misbehaves.
    #[arg(long, default_value = "target/wasm32-wasip2/guest/misbehave.wasm")]
    component: PathBuf,
}

/// Measure, and tell as a table.
pub(crate) async fn run(command: Neighbours) -> anyhow::Result<String> {
    let lab = Arc::new(Lab::new()?);
    lab.live("job", BTreeMap::new(), &job("")).await?;
    let bytes = std::fs::read(&command.component)
        .with_context(|| format!("{} cannot be read", command.component.display()))?;
    let limits = Limits {
        deadline: Duration::from_millis(command.deadline_ms),
        ..Limits::default()
    };
    let bad = lab
        .prepared_bytes("bad", BTreeMap::new(), &bytes, limits)
        .await?;
    lab.set_live("bad", bad)?;

    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "the other one",
        "calls",
        "p50 us",
        "p99 us",
        "p99 of quiet",
        "max us",
    ]);
    let mut quiet = None;
    for misdeed in ["", "trap", "recurse", "grow", "huge", "wait", "spin", ""] {
        let stop = Arc::new(AtomicBool::new(false));
        let mut neighbours = JoinSet::new();
        for _ in 0..command.clients {
            let (lab, stop) = (Arc::clone(&lab), Arc::clone(&stop));
            let pause = Duration::from_millis(command.pause_ms);
            neighbours.spawn(async move { client(&lab, &stop, pause).await });
        }
        let mut misdeeds = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_secs(1) / command.rate);
        for _ in 0..u64::from(command.rate) * command.seconds {
            tick.tick().await;
            if !misdeed.is_empty() {
                let lab = Arc::clone(&lab);
                // It is to fail.
                misdeeds.spawn(async move { drop(lab.call("bad", misdeed).await) });
            }
        }
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(client) = neighbours.join_next().await {
            times.extend(client??);
        }
        while misdeeds.join_next().await.is_some() {}
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
            let time: Duration = times.get(index).copied().unwrap_or_default();
            time.as_secs_f64() * 1e6
        };
        let quiet = *quiet.get_or_insert_with(|| at(99));
        let name = if misdeed.is_empty() {
            "nothing"
        } else {
            misdeed
        };
        let figures = [
            times.len().to_string(),
            format!("{:.0}", at(50)),
            format!("{:.0}", at(99)),
            format!("{:.2}", at(99) / quiet),
            format!("{:.0}", at(100)),
        ];
        let mut row = vec![Cell::new(name)];
        let right = |text| Cell::new(text).set_alignment(CellAlignment::Right);
        row.extend(figures.into_iter().map(right));
        table.add_row(row);
    }
    Ok(table.to_string())
}

async fn client(lab: &Lab, stop: &AtomicBool, pause: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        lab.call("job", "run").await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
