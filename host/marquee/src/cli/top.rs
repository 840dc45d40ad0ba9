//! `marquee top`: what the versions and consumers of a host do, look after look.
//!
//! Rates are what came between two looks. Not here: what was before; the console has an hour of it.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use marquee_admin::client::Client;
use marquee_releases::{ComponentReport, VersionReport};
use serde_json::Value;

use super::{print, remote::RemoteFlags, text::field};
use crate::shutdown::Signals;

/// Show what a host does, again and again, until a signal.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marquee top\n  marquee top --every 10s --looks 1")]
pub(crate) struct Top {
    #[command(flatten)]
    host: RemoteFlags,
    /// How long from one look to the next, from 1s to 1h
    #[arg(long, default_value = "2s", value_parser = every)]
    every: Duration,
    /// End after so many
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    looks: Option<u32>,
}

/// What a host told at one moment.
struct Look {
    at: Instant,
    components: Vec<ComponentReport>,
    consumers: Vec<Value>,
}

impl Top {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        let mut signals = Signals::listen()?;
        // Where nobody sees it move, one stands below the other.
        let home = match std::io::stdout().is_terminal() {
            true => "\x1b[H\x1b[2J",
            false => "",
        };
        let mut before = Look::at(&remote).await?;
        for look in 1_u32.. {
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = signals.next() => return Ok(ExitCode::SUCCESS),
            }
            let now = Look::at(&remote).await?;
            print(format!("{home}{}", now.since(&before)))?;
            if self.looks == Some(look) {
                break;
            }
            before = now;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Look {
    async fn at(remote: &Client) -> anyhow::Result<Self> {
        Ok(Self {
            components: remote.get("/admin/v1/components").await?,
            consumers: remote.get("/admin/v1/consumers").await?,
            at: Instant::now(),
        })
    }

    fn versions(&self) -> impl Iterator<Item = (&ComponentReport, &VersionReport)> {
        let all = self.components.iter();
        let all =
            all.flat_map(|component| component.versions.iter().map(move |it| (component, it)));
        all.filter(|(_, version)| version.calls.is_some())
    }

    /// Two tables.
    fn since(&self, before: &Self) -> String {
        let seconds = (self.at - before.at).as_secs_f64();
        let known: BTreeMap<_, _> = before
            .versions()
            .map(|(component, it)| ((&component.component, &it.version), it))
            .collect();
        let mut versions = table([
            "component",
            "version",
            "state",
            "share",
            "calls/s",
            "errors/s",
            "p50",
            "p99",
            "in flight",
        ]);
        for (component, it) in self.versions() {
            let known = known.get(&(&component.component, &it.version));
            let rate = |of: fn(&VersionReport) -> Option<u64>| {
                // One that was loaded again counts from nothing.
                let (now, then) = (of(it)?, known.and_then(|known| of(known)).unwrap_or(0));
                let new = u32::try_from(now.checked_sub(then).unwrap_or(now)).unwrap_or(u32::MAX);
                Some(format!("{:.1}", f64::from(new) / seconds))
            };
            let name = it.labels.first();
            versions.add_row([
                component.component.to_string(),
                name.map_or_else(|| it.version.chars().take(12).collect(), String::clone),
                it.state.clone(),
                it.weight.map(|it| it.to_string()).unwrap_or_default(),
                rate(|it| it.calls).unwrap_or_default(),
                rate(|it| it.errors).unwrap_or_default(),
                ms(it.p50_us),
                ms(it.p99_us),
                it.in_flight.map(|it| it.to_string()).unwrap_or_default(),
            ]);
        }
        let mut consumers = table([
            "consumer",
            "topic",
            "",
            "",
            "lag",
            "parked",
            "dead",
            "blocked keys",
            "paused",
        ]);
        for it in &self.consumers {
            let paused = it.get("paused").is_some_and(Value::is_object);
            let field = |name| field(it, name);
            consumers.add_row([
                field("consumer"),
                field("topic"),
                String::new(),
                String::new(),
                field("lag"),
                field("parked"),
                field("dead"),
                field("blocked_keys"),
                if paused { "paused" } else { "" }.to_owned(),
            ]);
        }
        match self.consumers.is_empty() {
            true => versions.to_string(),
            false => format!("{versions}\n\n{consumers}"),
        }
    }
}

/// With figures from the fifth column on.
fn table(heads: [&str; 9]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(heads);
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn ms(us: Option<u64>) -> String {
    let ms = us.map(|us| Duration::from_micros(us).as_secs_f64() * 1e3);
    ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default()
}

fn every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    bounds
        .contains(&every)
        .then_some(every)
        .ok_or_else(|| "it is from 1s to 1h".to_owned())
}
