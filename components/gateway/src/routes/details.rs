//! A movie together with what its ratings come to.

use futures::future;
use serde::Serialize;

use super::{Call, json, movies};
use crate::{
    domain::{id::MovieId, movie::Movie, rating::Aggregate},
    http::{Body, Response},
    problem::{Kind, Problem},
    upstream::Upstream,
};

/// `GET /v1/movies/{id}/details`.
pub(super) async fn one<U: Upstream, B: Body>(call: Call<'_, U, B>) -> Result<Response, Problem> {
    let (metadata, rating) = of(&call).await?;
    json(200, &Details { metadata, rating })
}

/// Both components are asked at once.
pub(super) async fn of<U: Upstream, B: Body>(
    call: &Call<'_, U, B>,
) -> Result<(Movie, Aggregate), Problem> {
    let id = MovieId::parse("id", call.required("id")?).map_err(Problem::in_url)?;
    // Joined, not raced: a call that is under way is never dropped.
    let (movie, rating) =
        future::join(movies::known(call, &id), call.upstream.aggregate(&id)).await;
    let rating = rating.map_err(|failure| Problem::of_failure(failure, Kind::InvalidParameter));
    Ok((movie?, rating?))
}

#[derive(Serialize)]
struct Details {
    metadata: Movie,
    rating: Aggregate,
}
