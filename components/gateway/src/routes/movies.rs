//! Movies: one, a page, a new one.

use super::{Call, json};
use crate::{
    domain::{
        id::MovieId,
        movie::{Movie, NewMovie},
        page::{PageQuery, Prefix},
    },
    http::{Body, Response},
    problem::{Kind, Problem},
    upstream::Upstream,
};

/// `GET /v1/movies/{id}`.
pub(super) async fn one<U: Upstream, B: Body>(call: Call<'_, U, B>) -> Result<Response, Problem> {
    json(200, &of(&call).await?)
}

/// The movie that the URL names.
pub(super) async fn of<U: Upstream, B: Body>(call: &Call<'_, U, B>) -> Result<Movie, Problem> {
    let id = MovieId::parse("id", call.required("id")?).map_err(Problem::in_url)?;
    known(call, &id).await
}

/// The movie with this id, if there is one.
pub(super) async fn known<U: Upstream, B: Body>(
    call: &Call<'_, U, B>,
    id: &MovieId,
) -> Result<Movie, Problem> {
    let movie = call.upstream.movie(id).await;
    let movie = movie.map_err(|failure| Problem::of_failure(failure, Kind::InvalidParameter))?;
    movie.ok_or_else(|| unknown(id))
}

/// `GET /v1/movies`.
pub(super) async fn page<U: Upstream, B: Body>(call: Call<'_, U, B>) -> Result<Response, Problem> {
    let prefix = match call.value("prefix") {
        Some(text) => Prefix::parse(text).map_err(Problem::in_url)?,
        None => None,
    };
    let page =
        PageQuery::parse(call.value("after"), call.value("limit")).map_err(Problem::in_url)?;
    let page = call
        .upstream
        .movies(prefix.as_ref(), &page)
        .await
        .map_err(|failure| Problem::of_failure(failure, Kind::InvalidParameter))?;
    json(200, &page)
}

/// `POST /v1/movies`.
pub(super) async fn submit<U: Upstream, B: Body>(
    mut call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let object = call.object(FIELDS).await?;
    let new = NewMovie::new(
        object.text("title")?,
        object.text("description")?,
        object.text("director")?,
    )
    .map_err(Problem::in_body)?;
    let movie = create(&call, &new).await?;
    Ok(json(201, &movie)?.with("location", location(&movie)))
}

pub(super) async fn create<U: Upstream, B: Body>(
    call: &Call<'_, U, B>,
    new: &NewMovie,
) -> Result<Movie, Problem> {
    let movie = call.upstream.submit_movie(new).await;
    movie.map_err(|failure| Problem::of_failure(failure, Kind::OutOfBounds))
}

pub(super) fn location(movie: &Movie) -> String {
    format!("/v1/movies/{}", movie.id)
}

pub(super) fn unknown(id: &MovieId) -> Problem {
    Problem::new(
        Kind::UnknownMovie,
        format!("there is no movie {}", id.as_str()),
    )
}

const FIELDS: &[&str] = &["title", "description", "director"];
