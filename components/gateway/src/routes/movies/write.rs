//! Movies that are created, changed and deleted.

use axum::{
    Extension, Json,
    http::{StatusCode, header},
    response::IntoResponse,
};
use marquee_guest::rest::{
    Body, Expected, Failure, IdempotencyKey, List, MergePatch, Path, RequestId, Text, Whole,
    present, version_tag,
};
use marquee_problem::{OUT_OF_BOUNDS, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Movie, example};
use crate::{
    caller::Caller,
    domain::MovieId,
    routes::OfMovie,
    upstream::{
        movies::{self, commands},
        ratings,
    },
};

/// A movie that is to be created. Lengths are in characters, after blanks at either end of title and director are off.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct NewMovie {
    /// Unique together with the year. Titles are compared without letter case and outer blanks.
    #[schema(value_type = String, min_length = 1, max_length = 200, examples("Playtime"))]
    title: Text,
    /// Of its release. None is a year of its own.
    #[serde(default)]
    #[schema(value_type = Option<u16>, minimum = 1870, maximum = 2200, examples(1967))]
    year: Option<Whole>,
    /// May be empty.
    #[schema(value_type = String, max_length = 4000, examples("A day in a city of glass."))]
    description: Text,
    #[schema(value_type = String, min_length = 1, max_length = 200, examples("Jacques Tati"))]
    director: Text,
}

/// What is to change of a movie. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct ChangeMovie {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, examples("Playtime"))]
    title: Option<Text>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u16>, required = false, minimum = 1870, maximum = 2200, examples(1967))]
    year: Option<Option<Whole>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, max_length = 4000)]
    description: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, examples("Jacques Tati"))]
    director: Option<Text>,
}

/// What came of one movie of a list.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct BatchEntry {
    /// As if it had been sent alone.
    #[schema(minimum = 201, maximum = 599)]
    status: u16,
    /// With 201.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Movie, required = false)]
    movie: Option<Movie>,
    /// With any other status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Problem, required = false)]
    problem: Option<Problem>,
}

/// Create a movie
///
/// Creates a movie under a new id. It may be sent again without harm: the second answer is 409 with the id of the first,
/// or, with the same `Idempotency-Key` within 24 hours, the first answer.
#[utoipa::path(post, path = "/v1/movies", operation_id = "createMovie", tag = "movies", security(("token" = [])),
    params(IdempotencyKey),
    request_body = NewMovie,
    responses((status = 201, description = "Created.", body = Movie,
        headers(("Location" = String, description = "The movie's path."), ("ETag" = String, description = "Its version.")), example = json!(example())), (status = 409, description = "")))]
pub(in crate::routes) async fn create(
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(new): Body<NewMovie>,
) -> Result<impl IntoResponse, Failure> {
    caller.may_write()?;
    let movie = made(&caller, key, new.into()).await?;
    let tag = version_tag(movie.version);
    let location = (header::LOCATION, place(&movie.id));
    Ok((
        StatusCode::CREATED,
        [location, tag],
        Json(Movie::try_from(movie)?),
    ))
}

/// Create movies
///
/// 1 to 100 at once, within the size of a body. Each is created or not by itself: the answer has an entry for each, in
/// their order. Of two with one title and year the first is created. Sent again, a movie that was created is 409 with its
/// id, or, with the same `Idempotency-Key` within 24 hours, 201 as before; a list with another movie in the place of one
/// that was created is then 422, and creates none.
#[utoipa::path(post, path = "/v1/movies/batch", operation_id = "createMovies", tag = "movies", security(("token" = [])),
    params(IdempotencyKey),
    request_body = Vec<NewMovie>,
    responses((status = 207, description = "What came of each.", body = Vec<BatchEntry>,
        example = json!([{"status": 201, "movie": example()}]))))]
pub(in crate::routes) async fn create_many(
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Extension(RequestId(request_id)): Extension<RequestId>,
    List(new): List<NewMovie>,
) -> Result<impl IntoResponse, Failure> {
    caller.may_write()?;
    if !(1..=BATCH_MAX).contains(&new.len()) {
        let detail = "the list must have 1 to 100 movies";
        return Err(OUT_OF_BOUNDS.with(detail).into());
    }
    let new = new.into_iter().map(Into::into).collect();
    let mut entries = Vec::new();
    for result in commands::create_many(new, movies::own(&caller, key)).await? {
        let movie = result.map_err(Failure::from).and_then(Movie::try_from);
        let problem = movie.as_ref().err();
        let problem = problem.map(|failure| failure.told(&request_id));
        entries.push(BatchEntry {
            status: problem.as_ref().map_or(201, |problem| problem.status),
            movie: movie.ok(),
            problem,
        });
    }
    Ok((StatusCode::MULTI_STATUS, Json(entries)))
}

/// Change a movie
///
/// A merge patch (RFC 7396), as `application/merge-patch+json` or `application/json`. With `If-Match` only in the version
/// that was seen. For moderators.
#[utoipa::path(patch, path = "/v1/movies/{id}", operation_id = "changeMovie", tag = "movies", security(("token" = [])),
    params(OfMovie, Expected),
    request_body(content((ChangeMovie = "application/merge-patch+json"), (ChangeMovie = "application/json"))),
    responses((status = 200, description = "The movie as it is now.", body = Movie,
        headers(("ETag" = String, description = "Its version.")), example = json!(example())), (status = 403, description = ""), (status = 404, description = ""), (status = 409, description = ""),
        (status = 412, description = "")))]
pub(in crate::routes) async fn change(
    Path(OfMovie { id }): Path<OfMovie>,
    caller: Caller,
    expected: Expected,
    MergePatch(patch): MergePatch<ChangeMovie>,
) -> Result<impl IntoResponse, Failure> {
    caller.may_edit()?;
    let expected = version(&id, &expected).await?;
    let changed = commands::update(id.0.clone(), expected, patch.into()).await;
    let movie = changed.map_err(|error| movies::unchanged(error, &id))?;
    let tag = version_tag(movie.version);
    Ok(([tag], Json(Movie::try_from(movie)?)))
}

/// Delete a movie
///
/// It is gone from every answer, and its title is free again. With `If-Match` only in the version that was seen. For
/// moderators.
#[utoipa::path(delete, path = "/v1/movies/{id}", operation_id = "deleteMovie", tag = "movies", security(("token" = [])),
    params(OfMovie, Expected),
    responses((status = 204, description = "Deleted."), (status = 403, description = ""),
        (status = 404, description = ""), (status = 412, description = "")))]
pub(in crate::routes) async fn delete(
    Path(OfMovie { id }): Path<OfMovie>,
    caller: Caller,
    expected: Expected,
) -> Result<StatusCode, Failure> {
    caller.may_edit()?;
    let expected = version(&id, &expected).await?;
    let deleted = commands::delete(id.0.clone(), expected).await;
    deleted.map_err(|error| movies::unchanged(error, &id))?;
    ratings::remove(&id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a movie, once a key of its caller's.
pub(crate) async fn made(
    caller: &Caller,
    key: Option<String>,
    movie: movies::NewMovie,
) -> Result<movies::Movie, Failure> {
    Ok(commands::create(movie, movies::own(caller, key)).await?)
}

/// Where a movie is.
pub(in crate::routes) fn place(id: &str) -> String {
    format!("/v1/movies/{id}")
}

/// The version that is expected: the movie's own, if it is one of those that the client names.
async fn version(id: &MovieId, expected: &Expected) -> Result<Option<u64>, Failure> {
    if expected.is_any() {
        return Ok(None);
    }
    let version = movies::one(id).await?.version;
    if expected.is(version) {
        return Ok(Some(version));
    }
    Err(movies::changed(version))
}

impl From<NewMovie> for movies::NewMovie {
    fn from(new: NewMovie) -> Self {
        Self {
            title: new.title.0,
            year: new.year.map(year),
            description: new.description.0,
            director: new.director.0,
        }
    }
}

impl From<ChangeMovie> for movies::Patch {
    fn from(change: ChangeMovie) -> Self {
        Self {
            title: change.title.map(|text| text.0),
            year: change.year.map(|given| given.map(year)),
            description: change.description.map(|text| text.0),
            director: change.director.map(|text| text.0),
        }
    }
}

/// What no year can be becomes the nearest number that its owner is asked about, and refuses.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, which is what is wanted"
)]
fn year(number: Whole) -> u16 {
    number.0 as u16
}

const BATCH_MAX: usize = 100;
