//! `marquee-bench seeded`: bugs that are put in on purpose, to see that each is found, by what, and how soon.
//!
//! The detectors, the cheapest first: delivery's model (rules and simulation, no server), the tests of delivery, buses
//! and units of work on real servers, and chaos. Bound: [`tests::LIMIT`] a program of tests, the minutes of chaos. A run
//! without a bug has to stay silent.

mod build;
mod tests;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};
use clap::{Args, ValueEnum};
use marquee_database::seeded::{Bug, VARIABLE};
use rand::RngExt as _;

use self::build::Built;
use crate::{chaos, servers::Bus, table::table};

/// Put bugs in on purpose, and show that each is found.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components --tests:\n  marquee-bench seeded --bug relay-deletes-first --detector chaos"
)]
pub(crate) struct Seeded {
    /// Only this one [default: all]
    #[arg(long = "bug", value_parser = bug)]
    bugs: Vec<Bug>,
    /// Only by this [default: all, until one finds it]
    #[arg(long = "detector", value_enum)]
    detectors: Vec<Detector>,
    /// Ask all detectors, though one has found it
    #[arg(long)]
    all_detectors: bool,
    /// Without the run that has no bug
    #[arg(long)]
    no_control: bool,
    /// The manifest of the counter
    #[arg(long, default_value = "examples/counter/spin.toml")]
    manifest: PathBuf,
    /// How long chaos tries to find one; each kind of fault comes at least once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    minutes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Detector {
    /// Delivery's rules and simulation, without a server
    Model,
    /// The tests of delivery, the buses and units of work
    Tests,
    /// Two hosts, while everything fails
    Chaos,
}

fn bug(name: &str) -> anyhow::Result<Bug> {
    let found = Bug::ALL.iter().find(|bug| bug.name() == name).copied();
    let names = || {
        Bug::ALL
            .iter()
            .map(|bug| bug.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    found.ok_or_else(|| anyhow!("there is no such bug, but {}", names()))
}

/// What one detector said.
enum Said {
    NotAsked,
    Nothing,
    Found(Duration, String),
}

/// Run, and tell as a table; whether each was found and nothing else.
pub(crate) async fn run(command: Seeded) -> anyhow::Result<(String, bool)> {
    ensure!(
        Path::new("Cargo.toml").exists(),
        "to be run where the workspace is: it builds it"
    );
    let detectors = if command.detectors.is_empty() {
        vec![Detector::Model, Detector::Tests, Detector::Chaos]
    } else {
        command.detectors
    };
    let servers = if detectors.contains(&Detector::Tests) {
        let kafka = marquee_testkit::broker().await;
        Some((marquee_testkit::for_a_run().await, kafka))
    } else {
        None
    };
    let for_tests = servers.as_ref().map(|((url, _), kafka)| {
        [
            ("DATABASE_URL_TEST".to_owned(), url.clone()),
            ("KAFKA_BROKERS_TEST".to_owned(), kafka.brokers().to_owned()),
        ]
    });
    let lab = Lab {
        built: build::build().await?,
        for_tests: for_tests.into_iter().flatten().collect(),
        manifest: command.manifest,
        length: Duration::from_secs(60 * command.minutes),
    };
    let bugs = if command.bugs.is_empty() {
        Bug::ALL.to_vec()
    } else {
        command.bugs
    };
    let control = (!command.no_control).then_some(None);
    let mut rows = Vec::new();
    let mut holds = true;
    for bug in control.into_iter().chain(bugs.into_iter().map(Some)) {
        let name = bug.map_or("none", Bug::name);
        let mut told = [Said::NotAsked, Said::NotAsked, Said::NotAsked];
        let mut is_found = false;
        for detector in &detectors {
            if is_found && !command.all_detectors {
                break;
            }
            let said = lab.ask(*detector, bug).await?;
            say(&format!("{name}, {detector:?}: {}", in_words(&said)));
            is_found |= matches!(said, Said::Found(..));
            if let Some(place) = told.get_mut(*detector as usize) {
                *place = said;
            }
        }
        holds &= is_found == bug.is_some();
        rows.push(row(bug, &told));
    }
    drop(servers);
    let header = ["Bug", "What it breaks", "Model", "Tests", "Chaos", "Found"];
    let verdict = if holds {
        "Each was found, and nothing without a bug."
    } else {
        "SOMETHING WAS NOT FOUND, OR SOMETHING WITHOUT A BUG."
    };
    Ok((format!("{}\n\n{verdict}", table(header, rows)), holds))
}

fn row(bug: Option<Bug>, told: &[Said]) -> (String, Vec<String>) {
    let breaks = bug.map_or("Nothing: nothing may be found.", Bug::breaks);
    let mut cells = vec![breaks.to_owned()];
    cells.extend(told.iter().map(|said| match said {
        Said::NotAsked => String::new(),
        Said::Nothing => "-".to_owned(),
        Said::Found(after, _) => format!("{:.0} s", after.as_secs_f64().ceil()),
    }));
    let found = told.iter().find_map(|said| match said {
        Said::Found(_, what) => Some(what.clone()),
        _ => None,
    });
    cells.push(found.unwrap_or_default());
    (bug.map_or("none", Bug::name).to_owned(), cells)
}

fn in_words(said: &Said) -> String {
    match said {
        Said::Found(after, what) => format!("{:.1} s, {what}", after.as_secs_f64()),
        Said::Nothing | Said::NotAsked => "nothing is found".to_owned(),
    }
}

/// Programs with the feature, and what they are given.
struct Lab {
    built: Built,
    /// Where the servers of the tests are.
    for_tests: Vec<(String, String)>,
    manifest: PathBuf,
    length: Duration,
}

impl Lab {
    async fn ask(&self, detector: Detector, bug: Option<Bug>) -> anyhow::Result<Said> {
        let mut environment = self.for_tests.clone();
        let variable = bug.map(|bug| (VARIABLE.to_owned(), bug.name().to_owned()));
        let begun = Instant::now();
        let (after, found) = match detector {
            Detector::Model => {
                environment.extend(variable);
                tests::first_failure(&self.built.model, &environment).await?
            }
            Detector::Tests => {
                environment.extend(variable);
                tests::first_failure(&self.built.tests, &environment).await?
            }
            Detector::Chaos => {
                let found = chaos::first_finding(chaos::Setting {
                    program: self.built.host.clone(),
                    manifest: self.manifest.clone(),
                    bus: bus(bug),
                    shared: false,
                    length: self.length,
                    faults: Vec::new(),
                    seed: rand::rng().random_range(0..1_000_000),
                    environment: variable.into_iter().collect(),
                })
                .await?;
                (begun.elapsed(), found)
            }
        };
        Ok(match found {
            Some(what) => Said::Found(after, first_line(&what)),
            None => Said::Nothing,
        })
    }
}

/// The bus that has the bug.
fn bus(bug: Option<Bug>) -> Bus {
    match bug {
        Some(Bug::AckAtSend | Bug::RelayDeletesFirst | Bug::FailureForgotten) => Bus::Kafka,
        _ => Bus::Embedded,
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(160).collect()
}

fn say(what: &str) {
    // Whoever does not look misses nothing.
    let _ = writeln!(std::io::stderr(), "{what}");
}
