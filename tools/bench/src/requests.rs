//! `marquee-bench requests`: how fast a running movie system answers, next to a bare hyper server in the same run.
//!
//! Machines differ and are noisy; the ratio to the baseline is what can be compared. The baseline is measured before and
//! after everything else: where the two differ much, so does the rest.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    bare,
    load::{self, Ask, Load, Report, Until},
    movies::pick,
    table::table,
};

/// Measure a running movie system next to a bare HTTP server.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, beside `make up` and after `make demo`:\n  marquee-bench requests --seconds 10 --connections 32"
)]
pub(crate) struct Requests {
    /// Where the movie system serves.
    #[arg(long, default_value = "127.0.0.1:3000")]
    address: String,
    /// How long each kind of request is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Requests at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
}

pub(crate) async fn run(command: Requests) -> anyhow::Result<String> {
    let movies = movies(&command.address).await?;
    let sample = fetch(
        &command.address,
        &format!("/v1/movies/{}/details", pick(&movies, 0)),
    )
    .await?;
    let (bare, server) = bare::serve(sample).await?;
    let bare = bare.to_string();
    let length = Duration::from_secs(command.seconds);
    let load = Load {
        connections: usize::from(command.connections),
        pause: Duration::ZERO,
    };

    let get = |path: String| Request::get(path).body(Full::default()).unwrap_or_default();
    let details = Arc::clone(&movies);
    let rated = Arc::clone(&movies);
    let kinds: [(&str, &str, Ask); 5] = [
        (
            "a bare hyper server",
            &bare,
            Arc::new(move |_| get("/".to_owned())),
        ),
        (
            "details of a movie (two components, two databases)",
            &command.address,
            Arc::new(move |n| get(format!("/v1/movies/{}/details", pick(&details, n)))),
        ),
        (
            "a page of 20 movies (one component)",
            &command.address,
            Arc::new(move |_| get("/v1/movies?limit=20".to_owned())),
        ),
        (
            "a rating (onto the bus)",
            &command.address,
            Arc::new(move |n| rating(pick(&rated, n), n)),
        ),
        (
            "a bare hyper server, again",
            &bare,
            Arc::new(move |_| get("/".to_owned())),
        ),
    ];
    let mut reports = Vec::new();
    for (name, address, ask) in kinds {
        let report = load::run(&[address], load, Until::after(length), ask).await?;
        reports.push((name, report));
    }
    server.abort();
    Ok(compared(&reports))
}

fn compared(reports: &[(&str, Report)]) -> String {
    let bare = reports.first().map_or(1.0, |(_, report)| report.rate());
    let header = [
        "request", "a second", "of bare", "p50 ms", "p99 ms", "failed",
    ];
    table(
        header,
        reports.iter().map(|(name, report)| {
            let figures = vec![
                format!("{:.0}", report.rate()),
                format!("{:.2}", report.rate() / bare),
                format!("{:.2}", report.percentile_ms(50.0)),
                format!("{:.2}", report.percentile_ms(99.0)),
                report.failures().to_string(),
            ];
            ((*name).to_owned(), figures)
        }),
    )
}

/// The ids of some movies.
async fn movies(address: &str) -> anyhow::Result<Arc<Vec<String>>> {
    let page = fetch(address, "/v1/movies?limit=100").await?;
    let page: Value = serde_json::from_slice(&page).context("the list of movies is no JSON")?;
    let ids: Vec<String> = page
        .get("movies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|movie| Some(movie.get("id")?.as_str()?.to_owned()))
        .collect();
    anyhow::ensure!(
        !ids.is_empty(),
        "there are no movies; run `make demo` first"
    );
    Ok(Arc::new(ids))
}

fn rating(movie: &str, n: u64) -> Request<Full<Bytes>> {
    let body = json!({ "value": n % 10 + 1 }).to_string();
    let user = n / 7 % 5_000;
    Request::builder()
        .method(Method::PUT)
        .uri(format!("/v1/movies/{movie}/ratings/bench-{user}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap_or_default()
}

async fn fetch(address: &str, path: &str) -> anyhow::Result<Bytes> {
    load::fetch(address, path)
        .await
        .with_context(|| format!("http://{address}{path}"))
}
