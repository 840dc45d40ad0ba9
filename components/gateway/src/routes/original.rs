//! The paths of the original system, with the fields that its clients send and read.
//!
//! They do what the resource paths do; only the JSON differs. A movie's kind (`record_type`) is always `movie`, and a
//! movie without ratings has the number 0, where a resource has null.

use axum::{
    Json,
    http::{StatusCode, header},
    response::IntoResponse,
};
use marquee_guest::rest::{Answer, Body, Failure, IdempotencyKey, Query, Text, Whole};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    movies::{read, write},
    ratings::accept::{self, Accepted, Accepting},
};
use crate::{
    caller::Caller,
    domain::{self, Act, MovieId, RECORD_TYPE, UserId},
    upstream::movies::{self, Movie, NewMovie},
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ById {
    /// The movie's id.
    id: MovieId,
}

/// A movie as the original shows it.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"record_type": "movie", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "title": "Playtime",
    "description": "A day in a city of glass.", "director": "Jacques Tati"})))]
pub(super) struct OriginalMovie {
    #[schema(value_type = MovieId)]
    id: String,
    title: String,
    description: String,
    director: String,
    /// `movie`.
    record_type: &'static str,
}

/// A movie and its rating as the original shows them.
#[derive(Serialize, ToSchema)]
pub(super) struct OriginalDetails {
    /// The mean; 0 while there is no rating.
    #[schema(examples(8.5))]
    rating: f64,
    /// How many users' ratings count.
    #[schema(examples(2))]
    amount_ratings: u64,
    metadata: OriginalMovie,
}

/// A movie that is to be created, as the original takes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitMetadata {
    /// Empty, if it is there at all: the server gives it.
    #[serde(default)]
    #[schema(value_type = String, max_length = 0, examples(""))]
    id: Text,
    #[schema(value_type = String, min_length = 1, max_length = 200, examples("Playtime"))]
    title: Text,
    #[serde(default)]
    #[schema(value_type = String, max_length = 4000, examples("A day in a city of glass."))]
    description: Text,
    #[schema(value_type = String, min_length = 1, max_length = 200, examples("Jacques Tati"))]
    director: Text,
    #[schema(value_type = String, pattern = "^movie$", examples("movie"))]
    record_type: Text,
}

/// A user's rating of a movie, as the original takes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitRating {
    record_id: MovieId,
    #[schema(value_type = String, pattern = "^movie$", examples("movie"))]
    record_type: Text,
    #[schema(value_type = UserId)]
    user_id: Text,
    #[schema(value_type = u8, minimum = 1, maximum = 10, examples(9))]
    value: Whole,
}

/// One movie
///
/// As `GET /v1/movies/{id}`.
#[utoipa::path(get, path = "/v1/get-metadata", operation_id = "getMetadata", tag = "original", params(ById),
    responses((status = 200, description = "The movie.", body = OriginalMovie), (status = 404, description = "")))]
pub(super) async fn metadata(Query(ById { id }): Query<ById>) -> Answer<OriginalMovie> {
    Ok(Json(movies::one(&id).await?.into()))
}

/// One movie with its rating
///
/// As `GET /v1/movies/{id}/details`.
#[utoipa::path(get, path = "/v1/get-movie-details", operation_id = "getMovieDetailsById", tag = "original", params(ById),
    responses((status = 200, description = "The movie and its rating.", body = OriginalDetails), (status = 404, description = "")))]
pub(super) async fn details(Query(ById { id }): Query<ById>) -> Answer<OriginalDetails> {
    let (movie, aggregate) = read::of(&id).await;
    let (movie, aggregate) = (movie?, aggregate?);
    let (rating, amount_ratings) = (aggregate.average.unwrap_or_default(), aggregate.count);
    Ok(Json(OriginalDetails {
        rating,
        amount_ratings,
        metadata: movie.into(),
    }))
}

/// Create a movie
///
/// As `POST /v1/movies`.
#[utoipa::path(post, path = "/v1/submit-metadata", operation_id = "submitMetadata", tag = "original",
    params(IdempotencyKey),
    request_body = SubmitMetadata, security(("token" = [])),
    responses((status = 201, description = "Created.", body = OriginalMovie,
        headers(("Location" = String, description = "The movie's path."))), (status = 409, description = "")))]
pub(super) async fn submit_metadata(
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(new): Body<SubmitMetadata>,
) -> Result<impl IntoResponse, Failure> {
    caller.may_write()?;
    check_record_type(&new.record_type)?;
    if !new.id.0.is_empty() {
        let rule = "must be empty: the server gives it";
        return Err(Failure::out_of_bounds("id", rule));
    }
    let new = NewMovie {
        title: new.title.0,
        year: None,
        description: new.description.0,
        director: new.director.0,
    };
    let movie = write::made(&caller, key, new).await?;
    let location = (header::LOCATION, write::place(&movie.id));
    Ok((
        StatusCode::CREATED,
        [location],
        Json(OriginalMovie::from(movie)),
    ))
}

/// Rate a movie
///
/// As `PUT /v1/movies/{id}/ratings/{user}`.
#[utoipa::path(post, path = "/v1/submit-rating", operation_id = "submitRating", tag = "original",
    params(IdempotencyKey),
    request_body = SubmitRating, security(("token" = [])),
    responses((status = 202, description = "Accepted: it is durable.", body = Accepted,
        headers(("Location" = String, description = "Where to ask what became of it."))), (status = 403, description = ""),
        (status = 404, description = "")))]
pub(super) async fn submit_rating(
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(rating): Body<SubmitRating>,
) -> Accepting {
    check_record_type(&rating.record_type)?;
    let user = UserId::try_from(rating.user_id.0);
    let user = user.map_err(|rule| Failure::out_of_bounds("user_id", rule))?;
    let act = Act {
        movie: rating.record_id,
        user: caller.rates_for(user)?,
        change: accept::change(&rating.value)?,
    };
    accept::one(&caller, key.as_deref(), act).await
}

fn check_record_type(text: &Text) -> Result<(), Failure> {
    let checked = domain::check_record_type(&text.0);
    checked.map_err(|rule| Failure::out_of_bounds("record_type", rule))
}

impl From<Movie> for OriginalMovie {
    fn from(movie: Movie) -> Self {
        Self {
            id: movie.id,
            title: movie.title,
            description: movie.description,
            director: movie.director,
            record_type: RECORD_TYPE,
        }
    }
}
