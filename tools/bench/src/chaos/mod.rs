//! `marquee-bench chaos`: what becomes of acknowledged events while everything that they go through fails.
//!
//! Two hosts on one database and one bus take events by HTTP, through the outbox and by the producer, and apply them with a
//! component whose effect is not idempotent. Faults come one after the other, as the seed says. Then all that was acknowledged has to be
//! there once, in the order of its key, and the audit has to agree. Bound: the minutes, and [`PATIENCE`] without progress.

mod fault;
mod load;
mod proof;
mod stage;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use self::{fault::Fault, load::Load, stage::Stage};
use crate::{host, servers::Bus, table::table};

/// Let everything fail under load, and show that no event is lost, applied twice, or out of order.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components --tests:\n  marquee-bench chaos --bus kafka --minutes 3 --seed 7"
)]
pub(crate) struct Chaos {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the counter
    #[arg(long, default_value = "examples/counter/spin.toml")]
    manifest: PathBuf,
    /// Over which bus
    #[arg(long, value_enum, default_value_t = Bus::Embedded)]
    bus: Bus,
    /// How long faults come
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// Which faults, and when [default: another each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults of this kind; may be given several times [default: all that there are on the bus]
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
    /// What is released on one host is released on both
    #[arg(long)]
    shared: bool,
}

/// Run, and tell as a table; whether everything held.
pub(crate) async fn run(command: Chaos) -> anyhow::Result<(String, bool)> {
    let program = host::program(command.marquee.as_deref())?;
    let seed = command
        .seed
        .unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let mut play = Play::set(Setting {
        program,
        manifest: command.manifest,
        bus: command.bus,
        shared: command.shared,
        length: Duration::from_secs(60 * command.minutes),
        faults: command.faults,
        seed,
        environment: Vec::new(),
    })
    .await?;
    // What is lost or doubled is told, although it does not go on.
    let stuck = play.run().await;
    let (mut found, course) = play.prove().await?;
    if let Err(error) = stuck {
        // What it left behind would hide it.
        found.findings.insert(0, format!("{error:#}"));
    }
    let Course {
        begun,
        faults,
        ready,
        ..
    } = course;
    let held = found.holds() && ready <= READY_WITHIN;
    let faults = faults
        .into_iter()
        .map(|(name, times)| (name.to_owned(), vec![times.to_string()]));
    let faults = table(["Fault", "Times"], faults);
    let mut rows = found.rows();
    rows.push((
        "seconds after a fault until both hosts are ready, at the most".to_owned(),
        format!("{:.1}", ready.as_secs_f64()),
    ));
    let rows = rows.into_iter().map(|(name, figure)| (name, vec![figure]));
    let result = table(["What", "Figure"], rows);
    let verdict = if held {
        "Everything held."
    } else {
        "SOMETHING DID NOT HOLD."
    };
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let head = format!("{:?} bus, seed {seed}, {minutes:.1} minutes", command.bus);
    let shown = found.findings.iter().take(SHOWN);
    let mut findings: String = shown.map(|it| format!("\n{it}")).collect();
    if let Some(more @ 1..) = found.findings.len().checked_sub(SHOWN) {
        findings.push_str(&format!("\n... and {more} more"));
    }
    Ok((
        format!("{head}\n\n{faults}\n\n{result}\n\n{verdict}{findings}"),
        held,
    ))
}

/// The first thing that is found to be wrong, if anything is. What is seen meanwhile ends it.
pub(crate) async fn first_finding(setting: Setting) -> anyhow::Result<Option<String>> {
    let mut play = Play::set(setting).await?;
    match play.run().await {
        Err(error) => Ok(Some(format!("{error:#}"))),
        Ok(()) => Ok(play.prove().await?.0.first()),
    }
}

/// What is played, and how long.
pub(crate) struct Setting {
    /// The host's.
    pub(crate) program: PathBuf,
    /// That of the counter.
    pub(crate) manifest: PathBuf,
    pub(crate) bus: Bus,
    /// Whether the hosts share what is live.
    pub(crate) shared: bool,
    pub(crate) length: Duration,
    /// None: all that there are on the bus.
    pub(crate) faults: Vec<Fault>,
    pub(crate) seed: u64,
    /// More variables of the hosts.
    pub(crate) environment: Vec<(String, String)>,
}

/// Servers, hosts and a load, all under way.
struct Play {
    stage: Stage,
    load: Load,
    course: Course,
    random: StdRng,
}

impl Play {
    async fn set(setting: Setting) -> anyhow::Result<Self> {
        let begun = Instant::now();
        say(begun, &format!("seed {}", setting.seed));
        let Setting {
            program,
            manifest,
            bus,
            shared,
            environment,
            mut faults,
            ..
        } = setting;
        if faults.is_empty() {
            faults = fault::all(bus);
        }
        let stage = Stage::set(program, manifest, (bus, shared), environment).await?;
        Ok(Self {
            load: Load::start(&stage),
            stage,
            course: Course {
                begun,
                length: setting.length,
                kinds: faults,
                faults: BTreeMap::new(),
                ready: Duration::ZERO,
            },
            random: StdRng::seed_from_u64(setting.seed),
        })
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let course = &mut self.course;
        course
            .run(&mut self.stage, &self.load, &mut self.random)
            .await
    }

    async fn prove(self) -> anyhow::Result<(proof::Found, Course)> {
        let sent = self.load.end().await.context("the load does not end")?;
        Ok((proof::proved(&self.stage, &sent).await?, self.course))
    }
}

/// What fails one after the other.
struct Course {
    begun: Instant,
    length: Duration,
    kinds: Vec<Fault>,
    faults: BTreeMap<&'static str, u32>,
    /// The longest that the hosts took.
    ready: Duration,
}

impl Course {
    async fn run(
        &mut self,
        stage: &mut Stage,
        load: &Load,
        random: &mut StdRng,
    ) -> anyhow::Result<()> {
        // Each kind once, in an order of the seed's, and then as it comes.
        let mut first = self.kinds.clone();
        load.goes_on(stage).await?;
        proof::so_far(stage).await?;
        while self.begun.elapsed() < self.length || !first.is_empty() {
            let fault = if first.is_empty() {
                self.kinds
                    .choose(random)
                    .copied()
                    .unwrap_or(Fault::KillHost)
            } else {
                first.swap_remove(random.random_range(0..first.len()))
            };
            let (what, since) = fault.carry_out(stage, random).await?;
            load.is_served_by(stage);
            say(self.begun, &what);
            *self.faults.entry(fault.name()).or_default() += 1;
            // One in four comes while they have not recovered from the one before.
            if random.random_range(0..4) > 0 {
                self.recovers(stage, load, since).await?;
            }
        }
        self.recovers(stage, load, Instant::now()).await
    }

    async fn recovers(&mut self, stage: &Stage, load: &Load, since: Instant) -> anyhow::Result<()> {
        self.ready = self.ready.max(stage.ready(since).await?);
        load.goes_on(stage).await?;
        proof::so_far(stage).await
    }
}

fn say(begun: Instant, what: &str) {
    let seconds = begun.elapsed().as_secs_f64();
    // Whoever does not look misses nothing.
    let _ = writeln!(std::io::stderr(), "{seconds:6.1} s  {what}");
}

/// A dead host's share is taken over after 15 s; a second death begins anew.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of what was found: enough to begin with.
const SHOWN: usize = 40;
const READY_WITHIN: Duration = Duration::from_secs(20);
