//! What movie systems are asked: half looks at movies, half ratings by users of whom each rates once.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{host::Host, load};

/// Keep some movies. Their ids.
pub(crate) async fn keep(host: &Host) -> anyhow::Result<Arc<Vec<String>>> {
    let mut ids = Vec::new();
    for n in 0..MOVIES {
        let movie =
            json!({ "title": format!("Reel {n}"), "description": "", "director": "Nobody" });
        let request = Request::post("/v1/movies")
            .header(header::CONTENT_TYPE, JSON)
            .body(Full::new(Bytes::from(movie.to_string())))?;
        let kept = load::send(&host.address, request).await?;
        let kept: Value = serde_json::from_slice(&kept)?;
        let id = kept.get("id").and_then(Value::as_str);
        ids.push(id.context("a movie has no id")?.to_owned());
    }
    Ok(Arc::new(ids))
}

/// Request `n`. In each phase the users are others.
pub(crate) fn ask(movies: &[String], phase: &str, n: u64) -> Request<Full<Bytes>> {
    let request = match rating_of(movies, n) {
        Some((movie, value)) => Request::put(format!("/v1/movies/{movie}/ratings/{phase}-{n}"))
            .header(header::CONTENT_TYPE, JSON)
            .body(Full::new(Bytes::from(
                json!({ "value": value }).to_string(),
            ))),
        None => {
            Request::get(format!("/v1/movies/{}/details", pick(movies, n))).body(Full::default())
        }
    };
    request.unwrap_or_default()
}

/// The movie and value of request `n`, if it is a rating.
pub(crate) fn rating_of(movies: &[String], n: u64) -> Option<(&str, u64)> {
    // Not n % 2: with an even number of connections each would do only the one or the other.
    (n / 7)
        .is_multiple_of(2)
        .then(|| (pick(movies, n), n % 10 + 1))
}

/// One of them.
pub(crate) fn pick(movies: &[String], n: u64) -> &str {
    let index = usize::try_from(n).unwrap_or(0) % movies.len().max(1);
    movies.get(index).map_or("", String::as_str)
}

const MOVIES: usize = 50;
pub(crate) const JSON: &str = "application/json";
