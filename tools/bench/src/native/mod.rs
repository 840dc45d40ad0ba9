//! `marquee-bench native`: a movie's details from a host, next to a native program that sends the same statements, on the
//! same PostgreSQL in one run; the same from a host that keeps answers for a second; and the least that HTTP costs on either.
//!
//! Everything shares the machine with `wrk`, which asks for one movie again and again. All programs are up all the time and
//! are asked in turn, so what the machine does meanwhile meets them alike.

mod cached;
mod process;
mod program;
mod wrk;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use marquee_embedded::{Options, Server};
use serde_json::Value;

pub(crate) use self::program::{Program, run as serve};
use self::{process::Cpu, wrk::Answers};
use crate::{
    host::{self, Host},
    load, movies, servers,
    table::table,
};

/// Measure the details of a movie next to a native program.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components:\n  marquee-bench native --seconds 8\nNeeds wrk (Debian: apt-get install wrk)."
)]
pub(crate) struct Native {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the movie system.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// The manifest of an application that answers a few bytes and asks nobody.
    #[arg(long, default_value = "examples/hello/spin.toml")]
    tiny: PathBuf,
    /// How long each is asked with each number of connections.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections at once; may be said several times.
    #[arg(long, default_values_t = [1, 16, 64], value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: Vec<u16>,
}

/// One of those that are compared.
struct Candidate {
    name: &'static str,
    url: String,
    /// Its process.
    pid: u32,
}

/// Start all, measure, and tell as tables.
pub(crate) async fn run(command: Native) -> anyhow::Result<String> {
    let folder = host::data()?;
    let server = Server::start(Options::new(folder.path().join("postgres"))).await?;
    let measured = measure(&command, folder.path(), &server).await;
    // Before the folder goes.
    server.stop().await?;
    measured
}

async fn measure(
    command: &Native,
    folder: &std::path::Path,
    server: &Server,
) -> anyhow::Result<String> {
    let own = std::env::current_exe()?;
    let marquee = host::program(command.marquee.as_deref())?;
    let environment = servers::movie_databases(server).await?;
    let host = Host::start_with(&marquee, &command.manifest, &environment).await?;
    let folder_of_cached = tempfile::tempdir()?;
    let with_cache = cached::manifest(&command.manifest, folder_of_cached.path())?;
    let with_cache = Host::start_with(&marquee, &with_cache, &environment).await?;
    let movies = movies::keep(&host).await?;
    let path = format!("/v1/movies/{}/details", movies::pick(&movies, 0));
    let sample = load::fetch(&host.address, &path).await?;

    let databases = [server.url("metadata"), server.url("rating")];
    let [metadata, rating] = &databases;
    let databases = ["--metadata", metadata, "--rating", rating];
    let pooled = process::start(&own, &databases)?;
    let pipelined = process::start(&own, &[&databases[..], &["--pipelined"]].concat())?;
    for native in [&pooled, &pipelined] {
        let same = load::fetch(&native.address, &path).await?;
        anyhow::ensure!(
            told(&same)? == told(&sample)?,
            "the native program answers otherwise: {same:?}"
        );
    }
    let postgres = process::postmaster(&folder.join("postgres"))?;
    let details = [
        candidate("native, pooled", &pooled.address, &path, pooled.id()),
        candidate(
            "native, pipelined",
            &pipelined.address,
            &path,
            pipelined.id(),
        ),
        candidate("marquee", &host.address, &path, host.id()),
        candidate(
            "marquee, cached",
            &with_cache.address,
            &path,
            with_cache.id(),
        ),
    ];
    let details = compare(command, &details, Some(postgres)).await?;
    let resident = host.memory_kib()? / 1024;

    let tiny = Host::start(&marquee, &command.tiny).await?;
    let sample = load::fetch(&tiny.address, "/world").await?;
    let sample = String::from_utf8(sample.to_vec())?;
    let none = ["--metadata", "", "--rating", "", "--bare", &sample];
    let bare = process::start(&own, &none)?;
    let few_bytes = [
        candidate("bare hyper", &bare.address, "/world", bare.id()),
        candidate("marquee", &tiny.address, "/world", tiny.id()),
    ];
    let few_bytes = compare(command, &few_bytes, None).await?;
    Ok(format!(
        "Details of a movie: two statements in two databases\n\n{details}\n\nThe host has {resident} MiB resident after it.\n\nA few bytes, no database\n\n{few_bytes}"
    ))
}

/// What both tell of the movie, whatever else they do.
fn told(answer: &[u8]) -> anyhow::Result<[Value; 3]> {
    let answer: Value = serde_json::from_slice(answer)?;
    Ok(["/metadata/id", "/metadata/title", "/rating"]
        .map(|place| answer.pointer(place).cloned().unwrap_or_default()))
}

fn candidate(name: &'static str, address: &str, path: &str, pid: u32) -> Candidate {
    Candidate {
        name,
        url: format!("http://{address}{path}"),
        pid,
    }
}

/// Ask all with each number of connections. The first is what the others are compared with.
async fn compare(
    command: &Native,
    candidates: &[Candidate],
    postgres: Option<u32>,
) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for &connections in &command.connections {
        let mut first = None;
        for candidate in candidates {
            let length = Duration::from_secs(command.seconds);
            // What was idle is awake again, and connections to the database are there.
            wrk::ask(&candidate.url, connections, Duration::from_secs(1)).await?;
            // Until the connections before are known to be gone: a client may not have more at once.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let before = Cpu::of(candidate.pid, postgres)?;
            let answers = wrk::ask(&candidate.url, connections, length).await?;
            let taken = Cpu::of(candidate.pid, postgres)?.since(&before);
            let base = *first.get_or_insert(answers.a_second);
            rows.push(row(candidate.name, connections, &answers, base, taken));
        }
    }
    let header = [
        "asked",
        "connections",
        "a second",
        "of the first",
        "p50 ms",
        "p99 ms",
        "CPU us",
        "of PostgreSQL us",
    ];
    Ok(table(header, rows))
}

fn row(
    name: &str,
    connections: u16,
    answers: &Answers,
    base: f64,
    taken: Cpu,
) -> (String, Vec<String>) {
    let each = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e6 / answers.all.max(1.0));
    let figures = vec![
        connections.to_string(),
        format!("{:.0}", answers.a_second),
        format!("{:.2}", answers.a_second / base),
        format!("{:.2}", answers.p50_ms),
        format!("{:.2}", answers.p99_ms),
        each(taken.own),
        each(taken.postgres),
    ];
    (name.to_owned(), figures)
}
