//! `marquee-bench swaps`: all components change their versions under load, and no acknowledged rating is lost. Two
//! hosts of its own, on the bus and databases that the environment names, or embedded ones; steps are taken through either.
//!
//! The gateway, as it was released before, is swapped for one that differs by a custom section. Metadata and rating are
//! swapped, together and as one step, for those of today: other logic, more functions, and the interfaces of then beside
//! those of now, on tables that today's migrations have expanded. Where the release before is not there
//! (`scripts/components --before`), all three are today's and differ by a custom section; the report says so.
//!
//! The same load is measured twice in one run, without swaps and with them. Each rating is of a user of its own, so the
//! counts that are served are the ratings that were applied: fewer are lost ones. Not here: that none is applied twice. A
//! rating replaces itself, so it could not show; the host's system tests have a counter for that.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use http::Method;
use marquee_registry::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    host::{self, Host},
    load::{self, Ask, Load, Report, Until},
    movies::{self, JSON},
    table::table,
};

/// Swap all components under load, and check that nothing is lost.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee-bench swaps --rounds 100 --connections 16")]
pub(crate) struct Swaps {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the movie system.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// That of the release before, which the swaps begin with
    #[arg(long, default_value = "target/before/spin.toml")]
    before: PathBuf,
    /// How often each component changes its version; every fifth time it is rolled back and changed again.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// From one round to the next, in milliseconds.
    #[arg(long, default_value_t = 200)]
    pause_ms: u64,
    /// How long the load is measured without swaps.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Requests at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
}

/// What the steps came to.
#[derive(Default)]
struct Steps {
    swaps: u32,
    rollbacks: u32,
    /// How long a step took, in microseconds.
    took_us: Vec<u128>,
}

/// Swap, and tell what came of it and whether it is as it must be.
pub(crate) async fn run(command: Swaps) -> anyhow::Result<(String, bool)> {
    let program = host::program(command.marquee.as_deref())?;
    let has_before = command.before.exists();
    let mixed = mixed(&command)?;
    let manifest = if has_before {
        mixed.path().join("spin.toml")
    } else {
        command.manifest.clone()
    };
    let host = Host::start(&program, &manifest).await?;
    let beside = Host::start_with(&program, &manifest, &host.databases()).await?;
    let known = host.admin(Method::GET, "/admin/v1/hosts", JSON, Vec::new());
    let known: Vec<Value> = serde_json::from_slice(&known.await?)?;
    ensure!(
        known.len() == 2,
        "the hosts do not know each other; where databases are given, DATABASE_URL_RELEASES is one of them"
    );
    let movies = movies::keep(&host).await?;
    let alone: &[&str] = if has_before {
        &["gateway"]
    } else {
        &COMPONENTS
    };
    for component in alone {
        deploy_other(&host, component).await?;
    }
    if has_before {
        deploy_today(&host).await?;
    }
    let connections = Load {
        connections: usize::from(command.connections),
        pause: Duration::ZERO,
    };
    let load = async |phase: &'static str, until| {
        let movies = Arc::clone(&movies);
        let ask: Ask = Arc::new(move |n| movies::ask(&movies, phase, n));
        let both = [host.address.as_str(), beside.address.as_str()];
        load::run(&both, connections, until, ask).await
    };
    // Pools, caches and the planner's statistics are warm when it is measured.
    let warm = load("warm", Until::after(WARM)).await?;
    let quiet = load("quiet", Until::after(Duration::from_secs(command.seconds))).await?;
    let figures = || {
        let hosts = [&host, &beside];
        let figures = hosts.map(|host| anyhow::Ok((host.memory_kib()?, host.handles()?)));
        figures.into_iter().collect::<anyhow::Result<Vec<_>>>()
    };
    let before = figures()?;
    // The second host joined the groups; from here on nobody may leave.
    let revoked = || {
        anyhow::Ok(
            (host.log()? + &beside.log()?)
                .matches("partition revoked")
                .count(),
        )
    };
    let joined = revoked()?;
    let over = Arc::new(AtomicBool::new(false));
    let (busy, steps) = tokio::join!(load("swaps", Until::Told(Arc::clone(&over))), async {
        let steps = steps(
            [&host, &beside],
            (alone, has_before),
            command.rounds,
            Duration::from_millis(command.pause_ms),
        )
        .await;
        over.store(true, Ordering::Relaxed);
        steps
    });
    let (busy, steps) = (busy?, steps?);

    let mut expected = BTreeMap::new();
    for report in [&warm, &quiet, &busy] {
        for n in &report.done {
            if let Some((movie, _)) = movies::rating_of(&movies, *n) {
                *expected.entry(movie.to_owned()).or_insert(0_u64) += 1;
            }
        }
    }
    let served = applied(&host, &expected).await?;
    let sent: u64 = expected.values().sum();
    let applied: u64 = served.values().sum();
    let lost: u64 = expected
        .iter()
        .map(|(movie, count)| count.saturating_sub(served.get(movie).copied().unwrap_or_default()))
        .sum();
    let after = figures()?;
    let same = live(&host).await? == live(&beside).await?;
    let rebalances = revoked()? - joined;
    let log = host.log()? + &beside.log()?;
    let ended = log
        .matches("calls that did not end in time were ended")
        .count();
    let failures = warm.failures() + quiet.failures() + busy.failures();
    let holds = failures == 0 && served == expected && rebalances == 0 && sent > 0 && same;

    let mut took = steps.took_us.clone();
    took.sort_unstable();
    let step = |percent: usize| {
        let at = (took.len() * percent).div_ceil(100).saturating_sub(1);
        took.get(at).copied().unwrap_or_default() as f64 / 1e3
    };
    let text = format!(
        "{}\n\nversions: {}\n\
         steps: {} swaps and {} rollbacks of {} components; a step took {:.1} ms (p50), {:.1} ms (p99)\n\
         ratings: {sent} acknowledged, {applied} applied, {lost} lost\n\
         requests failed: {failures}; rebalances: {rebalances}; versions with calls that had to be ended: {ended}\n\
         hosts: {} before the swaps, {} after; both have the same versions: {same}\n\
         check: {}",
        compared(&quiet, &busy),
        match has_before {
            true =>
                "metadata and rating of the release before and of today, as one step; a gateway with another section",
            false => "today's, with another section (the release before is not there)",
        },
        steps.swaps,
        steps.rollbacks,
        COMPONENTS.len(),
        step(50),
        step(99),
        told(&before),
        told(&after),
        if holds { "ok" } else { "FAILED" },
    );
    Ok((text, holds))
}

/// Memory and handles of each host.
fn told(figures: &[(u64, usize)]) -> String {
    let figures = figures.iter().map(|(kib, handles)| {
        let mb = mb(*kib);
        format!("{mb:.0} MB and {handles} handles")
    });
    figures.collect::<Vec<_>>().join(", ")
}

/// The live versions of a host.
async fn live(host: &Host) -> anyhow::Result<Vec<Value>> {
    let path = "/admin/v1/components";
    let reports = host.admin(Method::GET, path, JSON, Vec::new()).await?;
    let reports: Vec<Value> = serde_json::from_slice(&reports)?;
    let live = reports
        .iter()
        .map(|report| report.pointer("/versions/0/version").cloned());
    Ok(live.flatten().collect())
}

fn compared(quiet: &Report, busy: &Report) -> String {
    let row = |name: &str, report: &Report| {
        let figures = vec![
            report.statuses.values().sum::<u64>().to_string(),
            format!("{:.0}", report.rate()),
            format!("{:.2}", report.percentile_ms(50.0)),
            format!("{:.2}", report.percentile_ms(99.0)),
            report.failures().to_string(),
        ];
        (name.to_owned(), figures)
    };
    let ratio = |percentile| busy.percentile_ms(percentile) / quiet.percentile_ms(percentile);
    let ratios = vec![
        String::new(),
        format!("{:.2}", busy.rate() / quiet.rate()),
        format!("{:.2}", ratio(50.0)),
        format!("{:.2}", ratio(99.0)),
        String::new(),
    ];
    table(
        ["load", "requests", "a second", "p50 ms", "p99 ms", "failed"],
        [
            row("without swaps", quiet),
            row("with swaps", busy),
            ("ratio".to_owned(), ratios),
        ],
    )
}

/// Change every component's version, again and again, through one host and the other: some alone, and two as one step.
async fn steps(
    hosts: [&Host; 2],
    (alone, together): (&[&str], bool),
    rounds: u32,
    pause: Duration,
) -> anyhow::Result<Steps> {
    let mut steps = Steps::default();
    let mut next = tokio::time::interval(pause.max(Duration::from_millis(1)));
    for round in 0..rounds {
        next.tick().await;
        let [even, odd] = hosts;
        let host = if round % 2 == 0 { even } else { odd };
        let label = if round % 2 == 0 { OTHER } else { OWN };
        let mut taken: Vec<(String, Value, &str)> = Vec::new();
        for component in alone {
            let path = format!("/admin/v1/components/{component}/promote");
            taken.push((path, json!({ "version": label }), component));
        }
        if together {
            let part = json!({ "version": label });
            let both = json!({ "components": { "metadata": part, "rating": part }, "widen": true });
            // The step that brought both goes back as one, whichever is named.
            taken.push(("/admin/v1/steps".to_owned(), both, "rating"));
        }
        for (path, wanted, named) in taken {
            let swap = async || {
                let body = wanted.to_string().into_bytes();
                host.admin(Method::POST, &path, JSON, body).await
            };
            let begun = Instant::now();
            swap().await?;
            steps.took_us.push(begun.elapsed().as_micros());
            steps.swaps += 1;
            if round % 5 == 4 {
                let back = format!("/admin/v1/components/{named}/rollback");
                let begun = Instant::now();
                host.admin(Method::POST, &back, JSON, Vec::new()).await?;
                steps.took_us.push(begun.elapsed().as_micros());
                steps.rollbacks += 1;
                swap().await?;
                steps.swaps += 1;
            }
        }
    }
    Ok(steps)
}

/// A folder with the manifest of the release before, its components, and the migrations of today.
fn mixed(command: &Swaps) -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    if !command.before.exists() {
        return Ok(folder);
    }
    let text = fs::read_to_string(&command.before)?;
    let text = text.replace("source = \"", "source = \"before/");
    fs::write(folder.path().join("spin.toml"), text)?;
    let of = |manifest: &Path| {
        let manifest = fs::canonicalize(manifest)?;
        anyhow::Ok(manifest.parent().map(Path::to_owned).unwrap_or_default())
    };
    symlink(of(&command.before)?, folder.path().join("before"))?;
    let today = of(&command.manifest)?.join("migrations");
    for component in ["metadata", "rating"] {
        let place = folder.path().join("migrations").join(component);
        fs::create_dir_all(&place)?;
        for file in fs::read_dir(today.join(component))? {
            let file = file?;
            let name = file.file_name();
            // The audit lies beside them, of which the manifest of then says nothing.
            let is_numbered = name.as_encoded_bytes().first();
            if is_numbered.is_some_and(u8::is_ascii_digit) {
                fs::copy(file.path(), place.join(&name))?;
            }
        }
    }
    Ok(folder)
}

/// Today's metadata and rating, as one step, and back to those of the release before; both have labels then.
async fn deploy_today(host: &Host) -> anyhow::Result<()> {
    let mut own = serde_json::Map::new();
    let mut other = serde_json::Map::new();
    for component in ["metadata", "rating"] {
        let at = format!("/admin/v1/components/{component}");
        let report = host.admin(Method::GET, &at, JSON, Vec::new()).await?;
        let report: Value = serde_json::from_slice(&report)?;
        let version = report.pointer("/versions/0/version");
        let version = version.cloned().context("nothing is live")?;
        let part = json!({ "version": version, "label": OWN });
        own.insert(component.to_owned(), part);

        let file = format!("target/wasm32-wasip2/guest/{component}.wasm");
        let bytes = fs::read(&file).with_context(|| format!("{file} cannot be read"))?;
        let digest = format!("{:#}", Digest::of(&bytes));
        let kept = format!("{at}/versions/{digest}");
        host.admin(Method::PUT, &kept, "application/wasm", bytes)
            .await?;
        let part = json!({ "version": digest, "label": OTHER });
        other.insert(component.to_owned(), part);
    }
    for components in [other, own] {
        let step = json!({ "components": components, "widen": true });
        let step = step.to_string().into_bytes();
        host.admin(Method::POST, "/admin/v1/steps", JSON, step)
            .await?;
    }
    Ok(())
}

/// A version that differs from the live one by a custom section; the live one gets its label back.
async fn deploy_other(host: &Host, component: &str) -> anyhow::Result<()> {
    let at = |rest: &str| format!("/admin/v1/components/{component}{rest}");
    let report = host.admin(Method::GET, &at(""), JSON, Vec::new()).await?;
    let report: Value = serde_json::from_slice(&report)?;
    let version = report
        .pointer("/versions/0/version")
        .and_then(Value::as_str)
        .context("nothing is live")?;
    let own = host
        .admin(
            Method::GET,
            &at(&format!("/versions/{version}")),
            JSON,
            Vec::new(),
        )
        .await?;
    let mut other = own.to_vec();
    // A custom section of three bytes: its name's length, and the name.
    other.extend(*b"\0\x03\x02v2");
    for (bytes, label) in [(other, OTHER), (own.to_vec(), OWN)] {
        let path = at(&format!("/versions?label={label}"));
        host.admin(Method::POST, &path, "application/wasm", bytes)
            .await?;
    }
    Ok(())
}

/// The counts that are served, once they are as expected or do not change any more.
async fn applied(
    host: &Host,
    expected: &BTreeMap<String, u64>,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut last = BTreeMap::new();
    let mut moved = Instant::now();
    loop {
        let mut reads = JoinSet::new();
        for movie in expected.keys() {
            let (address, movie) = (host.address.clone(), movie.clone());
            reads.spawn(async move {
                let path = format!("/v1/movies/{movie}/details");
                let body = load::fetch(&address, &path).await?;
                let details: Value = serde_json::from_slice(&body)?;
                let count = details.pointer("/rating/count").and_then(Value::as_u64);
                anyhow::Ok((movie, count.context("a movie has no count")?))
            });
        }
        let mut served = BTreeMap::new();
        while let Some(read) = reads.join_next().await {
            let (movie, count) = read??;
            served.insert(movie, count);
        }
        if served == *expected {
            return Ok(served);
        }
        if served != last {
            last = served;
            moved = Instant::now();
        } else if moved.elapsed() > STILL {
            return Ok(last);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mb(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

const COMPONENTS: [&str; 3] = ["gateway", "metadata", "rating"];
const OWN: &str = "v1";
const OTHER: &str = "v2";
const WARM: Duration = Duration::from_secs(3);
/// Longer than a parked rating waits for its first retry.
const STILL: Duration = Duration::from_secs(30);
