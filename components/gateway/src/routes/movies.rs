//! Movies: one, a page, a new one, one with its rating.

use axum::{
    Json,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
};
use futures::future;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, OfMovie, PageQuery};
use crate::{
    caller::Caller,
    domain::MovieId,
    failure::Failure,
    http::{Body, Path, Query, Text},
    upstream::{self, Aggregate, Movie},
};

/// A movie that is to be created. Lengths are in characters, after blanks at either end of title and director are off.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMovie {
    /// Titles are compared without letter case and outer blanks.
    #[schema(value_type = String, min_length = 1, max_length = 200, examples("Playtime"))]
    title: Text,
    /// May be empty.
    #[schema(value_type = String, max_length = 4000, examples("A day in a city of glass."))]
    description: Text,
    #[schema(value_type = String, min_length = 1, max_length = 200, examples("Jacques Tati"))]
    director: Text,
}

/// A part of the movies.
#[derive(Serialize, ToSchema)]
pub(super) struct MoviePage {
    #[schema(max_items = 100)]
    movies: Vec<Movie>,
    /// Where the next page begins, for `after`; null on the last one. Opaque.
    #[schema(required)]
    next: Option<String>,
}

/// A movie and its rating.
#[derive(Serialize, ToSchema)]
pub(super) struct Details {
    metadata: Movie,
    rating: Aggregate,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// How the titles begin, in any letter case; every character means itself. Empty: no matter.
    #[param(max_length = 200, example = "play")]
    prefix: Option<String>,
}

/// A page of movies
///
/// Movies in the order of their titles, without regard to letter case. With `prefix`, those whose titles begin so.
#[utoipa::path(get, path = "/v1/movies", operation_id = "listMovies", tag = "movies", params(Search, PageQuery),
    responses((status = 200, description = "The page.", body = MoviePage, example = json!({"movies": [example()], "next": null}))))]
pub(super) async fn list(
    Query(search): Query<Search>,
    Query(page): Query<PageQuery>,
) -> Answer<MoviePage> {
    let (movies, next) = upstream::movies(search.prefix, page.after, page.limit.0).await?;
    Ok(Json(MoviePage { movies, next }))
}

/// Create a movie
///
/// Creates a movie under a new id. A submission may be repeated without harm: the second answer is 409 with the id of
/// the first.
#[utoipa::path(post, path = "/v1/movies", operation_id = "createMovie", tag = "movies", security(("token" = [])),
    request_body = NewMovie,
    responses((status = 201, description = "Created.", body = Movie,
        headers(("Location" = String, description = "The movie's path.")), example = json!(example())), (status = 401, description = ""), (status = 409, description = "")))]
pub(super) async fn create(
    caller: Caller,
    Body(new): Body<NewMovie>,
) -> Result<impl IntoResponse, Failure> {
    caller.may_write()?;
    let (location, movie) = created(new.title, new.description, new.director).await?;
    Ok((StatusCode::CREATED, [location], Json(movie)))
}

/// Creates a movie, and says where it is.
pub(super) async fn created(
    title: Text,
    description: Text,
    director: Text,
) -> Result<((HeaderName, String), Movie), Failure> {
    let new = upstream::NewMovie {
        title: title.0,
        description: description.0,
        director: director.0,
    };
    let movie = upstream::create(new).await?;
    Ok((
        (header::LOCATION, format!("/v1/movies/{}", movie.id)),
        movie,
    ))
}

/// One movie
#[utoipa::path(get, path = "/v1/movies/{id}", operation_id = "getMovie", tag = "movies", params(OfMovie),
    responses((status = 200, description = "The movie.", body = Movie, example = json!(example())), (status = 404, description = "")))]
pub(super) async fn one(Path(OfMovie { id }): Path<OfMovie>) -> Answer<Movie> {
    Ok(Json(upstream::movie(&id).await?))
}

/// One movie with its rating
///
/// The movie, and what its ratings come to at this moment.
#[utoipa::path(get, path = "/v1/movies/{id}/details", operation_id = "getMovieDetails", tag = "movies", params(OfMovie),
    responses((status = 200, description = "The movie and its rating.", body = Details,
        example = json!({"metadata": example(), "rating": {"average": 8.5, "count": 2}})), (status = 404, description = "")))]
pub(super) async fn details(Path(OfMovie { id }): Path<OfMovie>) -> Answer<Details> {
    let (metadata, rating) = of(&id).await?;
    Ok(Json(Details { metadata, rating }))
}

/// Both components are asked at once.
pub(super) async fn of(id: &MovieId) -> Result<(Movie, Aggregate), Failure> {
    // Joined, not raced: a call that is under way is never dropped.
    let (movie, rating) = future::join(upstream::movie(id), upstream::aggregate(id)).await;
    Ok((movie?, rating?))
}

/// A movie, for the document.
pub(super) fn example() -> Value {
    json!({"id": "0192f0c1-2345-7abc-8def-0123456789ab", "title": "Playtime",
        "description": "A day in a city of glass.", "director": "Jacques Tati"})
}
