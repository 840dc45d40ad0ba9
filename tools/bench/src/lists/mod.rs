//! `marquee-bench lists`: how fast lists, searches and details are among a million movies with ten million ratings.
//!
//! A host of its own, on a PostgreSQL of its own; the rows are made in the databases, by the tables of the migrations,
//! with the triggers off. Titles have 2 to 6 words of 125,000, the lower its number the more frequent a word.

mod fill;
mod plans;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use http::Request;
use http_body_util::Full;
use marquee_embedded::{Options, Server};
use serde_json::Value;

use crate::{
    host::{self, Host},
    load::{self, Ask, Load, Report, Until},
    servers,
    table::table,
};

/// Measure lists, searches and details among many movies.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, after scripts/components:\n  marquee-bench lists --movies 100000 --ratings 1000000"
)]
pub(crate) struct Lists {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the movie system.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// How many movies there are.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    movies: u32,
    /// How many ratings there are; each movie has as many as any other.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    ratings: u32,
    /// How long each kind of request is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Requests at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
}

/// Fill, measure, and tell as a table with the plans below.
pub(crate) async fn run(command: Lists) -> anyhow::Result<String> {
    let program = host::program(command.marquee.as_deref())?;
    let folder = host::data()?;
    let server = Server::start(Options::new(folder.path().join("postgres"))).await?;
    let measured = measure(&command, &program, &server).await;
    // Before the folder goes.
    server.stop().await?;
    measured
}

async fn measure(
    command: &Lists,
    program: &std::path::Path,
    server: &Server,
) -> anyhow::Result<String> {
    let environment = servers::movie_databases(server).await?;
    let host = Host::start_with(program, &command.manifest, &environment).await?;
    let metadata = server.url("metadata");
    let filled = fill::metadata(&metadata, command.movies).await?;
    let rated = fill::rating(&server.url("rating"), command.movies, command.ratings).await?;
    let load = Load {
        connections: usize::from(command.connections),
        pause: Duration::ZERO,
    };
    let mut reports = Vec::new();
    for (name, ask) in kinds(&host.address, command.movies).await? {
        let length = Duration::from_secs(command.seconds);
        let report = load::run(&[&host.address], load, Until::after(length), ask).await?;
        reports.push((name, report));
    }
    Ok(format!(
        "{} movies in {:.0} s, {} ratings in {:.0} s; {} requests at once\n\n{}\n\n{}",
        command.movies,
        filled.as_secs_f64(),
        command.ratings,
        rated.as_secs_f64(),
        command.connections,
        told(&reports),
        plans::all(&metadata).await?
    ))
}

async fn kinds(address: &str, movies: u32) -> anyhow::Result<Vec<(&'static str, Ask)>> {
    let mut kinds: Vec<(&'static str, Ask)> = Vec::new();
    for (name, query) in [
        ("20 movies by title", ""),
        ("20 movies by year", "sort=year"),
        ("20 movies, the newest first", "sort=-created"),
        ("20 movies, the best first", "sort=-average"),
        ("20 movies of a year", "year=1967"),
    ] {
        let pages = Arc::new(walk(address, query).await?);
        kinds.push((name, Arc::new(move |n| get(pick(&pages, n)))));
    }
    let queries: [(&str, Path); 8] = [
        ("20 movies with a prefix of two letters", |n| {
            let word = fill::word(n % 2_500 * 50 + 7);
            format!("/v1/movies?prefix={}", word.get(..2).unwrap_or_default())
        }),
        ("a search: one frequent word", |n| {
            format!("/v1/movies?q={}", fill::word(n % 50))
        }),
        ("a search: one rare word", |n| {
            format!("/v1/movies?q={}", fill::word(20_000 + n * 31 % 100_000))
        }),
        ("a search: a frequent and a rare word", |n| {
            let (one, other) = (fill::word(n % 50), fill::word(5_000 + n * 31 % 100_000));
            format!("/v1/movies?q={one}+{other}")
        }),
        ("a search: a frequent word and a letter", |n| {
            let (one, other) = (fill::word(n % 50), fill::word(n * 31 % 125_000));
            format!("/v1/movies?q={one}+{}", other.get(..1).unwrap_or_default())
        }),
        ("a search: the first three letters of a word", |n| {
            let word = fill::word(n * 31 % 125_000);
            format!("/v1/movies?q={}", word.get(..3).unwrap_or_default())
        }),
        ("a search: a word with a typing error", |n| {
            let mut word = fill::word(100 + n * 31 % 120_000);
            word.remove(3);
            format!("/v1/movies?q={word}")
        }),
        ("a search by year: one frequent word", |n| {
            format!("/v1/movies?sort=year&q={}", fill::word(n % 50))
        }),
    ];
    for (name, path) in queries {
        kinds.push((name, Arc::new(move |n| get(&path(n)))));
    }
    let any = move |n: u64| fill::id(1 + n * 7_919 % u64::from(movies));
    kinds.push((
        "one movie",
        Arc::new(move |n| get(&format!("/v1/movies/{}", any(n)))),
    ));
    kinds.push((
        "details of a movie",
        Arc::new(move |n| get(&format!("/v1/movies/{}/details", any(n)))),
    ));
    Ok(kinds)
}

/// The first pages of a list.
async fn walk(address: &str, query: &str) -> anyhow::Result<Vec<String>> {
    let mut pages = vec![format!("/v1/movies?{query}")];
    while pages.len() < PAGES {
        let last = pages.last().map_or("", String::as_str);
        let page = load::fetch(address, last).await?;
        let page: Value = serde_json::from_slice(&page).context("a page is no JSON")?;
        let Some(next) = page.get("next").and_then(Value::as_str) else {
            break;
        };
        pages.push(format!("/v1/movies?{query}&after={next}"));
    }
    Ok(pages)
}

fn pick(pages: &[String], n: u64) -> &str {
    let index = usize::try_from(n).unwrap_or(0) % pages.len().max(1);
    pages.get(index).map_or("", String::as_str)
}

fn get(path: &str) -> Request<Full<bytes::Bytes>> {
    Request::get(path).body(Full::default()).unwrap_or_default()
}

fn told(reports: &[(&str, Report)]) -> String {
    let header = ["request", "a second", "p50 ms", "p99 ms", "failed"];
    table(
        header,
        reports.iter().map(|(name, report)| {
            let figures = vec![
                format!("{:.0}", report.rate()),
                format!("{:.2}", report.percentile_ms(50.0)),
                format!("{:.2}", report.percentile_ms(99.0)),
                report.failures().to_string(),
            ];
            ((*name).to_owned(), figures)
        }),
    )
}

/// The path of request `n`.
type Path = fn(u64) -> String;

/// Pages of a list that are asked for.
const PAGES: usize = 100;
