//! Movies: one, a page, a new one.

use super::{Call, json};
use crate::{
    domain::{
        id::MovieId,
        movie::NewMovie,
        page::{PageQuery, Prefix},
    },
    http::{Body, Response},
    problem::{Kind, Problem},
    upstream::Upstream,
};

/// `GET /v1/get-metadata?id=` and `GET /v1/movies/{id}`.
pub(super) async fn one<U: Upstream, B: Body>(call: Call<'_, U, B>) -> Result<Response, Problem> {
    let id = MovieId::parse("id", call.required("id")?).map_err(Problem::in_url)?;
    let movie = call
        .upstream
        .movie(&id)
        .await
        .map_err(|failure| Problem::of_failure(failure, Kind::InvalidParameter))?;
    json(200, &movie.ok_or_else(|| unknown(&id))?)
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

/// `POST /v1/submit-metadata` and `POST /v1/movies`.
pub(super) async fn submit<U: Upstream, B: Body>(
    mut call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let object = call.object(FIELDS).await?;
    let movie = NewMovie::new(
        object.text("title")?,
        object.text("description")?,
        object.text("director")?,
    )
    .map_err(Problem::in_body)?;
    let movie = call
        .upstream
        .submit_movie(&movie)
        .await
        .map_err(|failure| Problem::of_failure(failure, Kind::OutOfBounds))?;
    let location = format!("/v1/movies/{}", movie.id);
    Ok(json(201, &movie)?.with("location", location))
}

pub(super) fn unknown(id: &MovieId) -> Problem {
    Problem::new(
        Kind::UnknownMovie,
        format!("there is no movie {}", id.as_str()),
    )
}

const FIELDS: &[&str] = &["title", "description", "director"];
