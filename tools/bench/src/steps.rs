//! `marquee-bench steps`: what the movie system takes for a request, in steps that do not depend on how quick the machine is:
//! round trips to PostgreSQL, switches between threads, pages of fresh memory, CPU.
//!
//! Every database stands behind a proxy that counts. What the host does without requests is measured for as long before each
//! kind, and taken off. A database's answer to several statements that were sent together is one round trip.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::Full;
use marquee_embedded::{Options, Server};
use marquee_testkit::{Proxy, proxy};
use serde_json::json;

use crate::{
    host::{self, Host},
    load::{self, Ask, Load, Until},
    movies::{self, JSON, pick},
    servers,
    table::table,
};

/// Count what a request takes.
#[derive(Debug, Args)]
#[command(after_help = "Example, after scripts/components:\n  marquee-bench steps")]
pub(crate) struct Steps {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the movie system.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// How long each kind of request is counted.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Requests at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
}

/// Counted since the host began.
#[derive(Clone, Copy)]
struct Counts {
    round_trips: u64,
    /// Of all its threads: they waited, or had to make way.
    switches: u64,
    /// Pages that it had to be given.
    faults: u64,
    /// In hundredths of a second.
    ticks: u64,
}

pub(crate) async fn run(command: Steps) -> anyhow::Result<String> {
    let folder = host::data()?;
    // A socket in the file system has no room for a proxy before it.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port();
    let options = Options::new(folder.path().join("postgres")).with_port(port);
    let server = Server::start(options).await?;
    let counted = count(&command, &server, port).await;
    // Before the folder goes.
    server.stop().await?;
    counted
}

async fn count(command: &Steps, server: &Server, port: u16) -> anyhow::Result<String> {
    let marquee = host::program(command.marquee.as_deref())?;
    let mut environment = servers::movie_databases(server).await?;
    let mut proxies = Vec::new();
    for (_, url) in &mut environment {
        let between = proxy(([127, 0, 0, 1], port).into()).await;
        let own = format!(":{}/", between.addr().port());
        *url = url.replace(&format!(":{port}/"), &own);
        anyhow::ensure!(url.contains(&own), "the proxy is not in the URL");
        proxies.push(between);
    }
    let host = Host::start_with(&marquee, &command.manifest, &environment).await?;
    let movies = movies::keep(&host).await?;

    let get = |path: String| Request::get(path).body(Full::default()).unwrap_or_default();
    let own = || Arc::clone(&movies);
    let (one, details, rated) = (own(), own(), own());
    let kinds: [(&str, Ask); 5] = [
        (
            "no such path",
            Arc::new(move |_| get("/v1/nothing".to_owned())),
        ),
        (
            "one movie",
            Arc::new(move |n| get(format!("/v1/movies/{}", pick(&one, n)))),
        ),
        (
            "details of a movie",
            Arc::new(move |n| get(format!("/v1/movies/{}/details", pick(&details, n)))),
        ),
        (
            "a page of 20 movies",
            Arc::new(move |_| get("/v1/movies?limit=20".to_owned())),
        ),
        (
            "a rating, on to the bus and applied",
            Arc::new(move |n| rating(pick(&rated, n), n)),
        ),
    ];
    let length = Duration::from_secs(command.seconds);
    let load = Load {
        connections: usize::from(command.connections),
        pause: Duration::ZERO,
    };
    let mut rows = Vec::new();
    for (name, ask) in kinds {
        // What was idle is awake, statements are prepared.
        let warm = Until::after(Duration::from_secs(1));
        load::run(&[&host.address], load, warm, Arc::clone(&ask)).await?;
        let begin = Counts::of(&host, &proxies)?;
        tokio::time::sleep(length).await;
        let idle = Counts::of(&host, &proxies)?;
        let report = load::run(&[&host.address], load, Until::after(length), ask).await?;
        let end = Counts::of(&host, &proxies)?;
        let answers: u64 = report.statuses.values().sum();
        rows.push((name.to_owned(), figures(begin, idle, end, answers)));
    }
    let header = [
        "a request of",
        "answers",
        "round trips",
        "switches",
        "page faults",
        "CPU us",
    ];
    Ok(table(header, rows))
}

fn figures(begin: Counts, idle: Counts, end: Counts, answers: u64) -> Vec<String> {
    let each = |of: fn(Counts) -> u64| {
        let taken = |before: Counts, after: Counts| of(after).saturating_sub(of(before));
        let own = taken(idle, end).saturating_sub(taken(begin, idle));
        load::precise(own) / load::precise(answers.max(1))
    };
    vec![
        answers.to_string(),
        format!("{:.2}", each(|counts| counts.round_trips)),
        format!("{:.1}", each(|counts| counts.switches)),
        format!("{:.2}", each(|counts| counts.faults)),
        format!("{:.0}", each(|counts| counts.ticks) * TICK_US),
    ]
}

impl Counts {
    fn of(host: &Host, proxies: &[Proxy]) -> anyhow::Result<Self> {
        let process = PathBuf::from(format!("/proc/{}", host.id()));
        let mut switches = 0;
        for thread in fs::read_dir(process.join("task"))? {
            // One that ended meanwhile is none of those that answer.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            let counts = status
                .lines()
                .filter(|line| line.contains("ctxt_switches:"));
            let counts =
                counts.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            switches += counts.sum::<u64>();
        }
        let stat = fs::read_to_string(process.join("stat"))?;
        // The name before may hold anything, its closing bracket is the last (`man 5 proc`).
        let (_, rest) = stat.rsplit_once(')').context("no name")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |n: usize| -> anyhow::Result<u64> {
            let field = fields.get(n - 3).context("a field is missing")?;
            Ok(field.parse()?)
        };
        Ok(Self {
            round_trips: proxies.iter().map(Proxy::round_trips).sum(),
            switches,
            faults: field(10)?,
            ticks: field(14)? + field(15)?,
        })
    }
}

fn rating(movie: &str, n: u64) -> Request<Full<Bytes>> {
    let body = json!({ "value": n % 10 + 1 }).to_string();
    Request::put(format!("/v1/movies/{movie}/ratings/steps-{n}"))
        .header(header::CONTENT_TYPE, JSON)
        .body(Full::new(Bytes::from(body)))
        .unwrap_or_default()
}

/// Of Linux's clock for processes, the same on every machine that this runs on.
const TICK_US: f64 = 10_000.0;
