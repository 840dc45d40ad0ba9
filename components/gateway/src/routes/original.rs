//! The paths of the original system, with the fields that its clients send and read.
//!
//! They do what the resource paths do; only the JSON differs. A movie's kind (`record_type`) is always `movie`, and a
//! movie without ratings has the number 0, where a resource has null.

use serde::Serialize;

use super::{Call, details, json, movies, ratings};
use crate::{
    domain::{
        Invalid,
        id::MovieId,
        movie::{Movie, NewMovie},
        rating::{Change, RECORD_TYPE_MOVIE, UserId, Value, check_record_type},
    },
    http::{Body, Response},
    problem::Problem,
    upstream::Upstream,
};

/// `GET /v1/get-metadata?id=`.
pub(super) async fn metadata<U: Upstream, B: Body>(
    call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let movie = movies::of(&call).await?;
    json(200, &Metadata::of(&movie))
}

/// `GET /v1/get-movie-details?id=`.
pub(super) async fn details<U: Upstream, B: Body>(
    call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let (movie, rating) = details::of(&call).await?;
    let shown = Details {
        rating: rating.average.unwrap_or_default(),
        amount_ratings: rating.count,
        metadata: Metadata::of(&movie),
    };
    json(200, &shown)
}

/// `POST /v1/submit-metadata`. The original's own clients send an empty `id` with it.
pub(super) async fn submit_metadata<U: Upstream, B: Body>(
    mut call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let object = call.object(METADATA_FIELDS).await?;
    let title = object.text("title")?;
    let description = object.optional_text("description")?.unwrap_or_default();
    let director = object.text("director")?;
    check_record_type(object.text("record_type")?).map_err(Problem::in_body)?;
    if object.optional_text("id")?.is_some_and(|id| !id.is_empty()) {
        let invalid = Invalid::out_of_bounds("id", "must be empty: the server gives it");
        return Err(Problem::in_body(invalid));
    }
    let new = NewMovie::new(title, description, director).map_err(Problem::in_body)?;
    let movie = movies::create(&call, &new).await?;
    let created = json(201, &Metadata::of(&movie))?;
    Ok(created.with("location", movies::location(&movie)))
}

/// `POST /v1/submit-rating`.
pub(super) async fn submit_rating<U: Upstream, B: Body>(
    mut call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let object = call.object(RATING_FIELDS).await?;
    let record_id = object.text("record_id")?;
    let record_type = object.text("record_type")?;
    let user = object.text("user_id")?;
    let value = object.integer("value")?;
    let movie = MovieId::parse("record_id", record_id).map_err(Problem::in_body)?;
    check_record_type(record_type).map_err(Problem::in_body)?;
    let user = UserId::parse("user_id", user).map_err(Problem::in_body)?;
    let value = Value::new(value).map_err(Problem::in_body)?;
    ratings::accept(&call, movie, user, Change::Put(value)).await
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(flatten)]
    movie: &'a Movie,
    record_type: &'static str,
}

impl<'a> Metadata<'a> {
    fn of(movie: &'a Movie) -> Self {
        Self {
            movie,
            record_type: RECORD_TYPE_MOVIE,
        }
    }
}

#[derive(Serialize)]
struct Details<'a> {
    rating: f64,
    amount_ratings: u64,
    metadata: Metadata<'a>,
}

const METADATA_FIELDS: &[&str] = &["id", "title", "description", "director", "record_type"];
const RATING_FIELDS: &[&str] = &["record_id", "record_type", "user_id", "value"];
