//! The routes. Each handler stands with its documentation, of which the OpenAPI document is made.

pub(crate) mod movies;
mod original;
pub(crate) mod ratings;
mod sessions;
mod users;

use std::fmt;

use axum::{
    Router,
    routing::{delete, get, post, put},
};
use marquee_guest::rest::{Failure, documents};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use crate::{API, domain::MovieId};

/// First the resources, then the paths of the original system, then the documents. Without the documentation: every
/// instance makes this, and few are asked for the document.
pub(crate) fn all() -> Router {
    Router::new()
        .route(
            "/v1/movies",
            get(movies::read::list).post(movies::write::create),
        )
        .route("/v1/movies/batch", post(movies::write::create_many))
        .route(
            "/v1/movies/{id}",
            get(movies::read::one)
                .patch(movies::write::change)
                .delete(movies::write::delete),
        )
        .route("/v1/movies/{id}/details", get(movies::read::details))
        .route(
            "/v1/movies/{id}/ratings/{user}",
            get(ratings::read::one)
                .put(ratings::write::put)
                .delete(ratings::write::delete),
        )
        .route("/v1/movies/{id}/ratings", get(ratings::read::of_movie))
        .route("/v1/ratings/batch", post(ratings::write::put_many))
        .route("/v1/events/{event_id}", get(ratings::events::one))
        .route("/v1/users/{user}/ratings", get(ratings::read::of_user))
        .route("/v1/users", post(users::register))
        .route(
            "/v1/users/me",
            get(users::me).patch(users::change).delete(users::delete),
        )
        .route("/v1/users/{user}/role", put(users::give_role))
        .route("/v1/sessions", post(sessions::log_in))
        .route("/v1/sessions/current", delete(sessions::log_out))
        .route("/v1/sessions/refresh", post(sessions::refresh))
        .route("/v1/get-metadata", get(original::metadata))
        .route("/v1/get-movie-details", get(original::details))
        .route("/v1/submit-metadata", post(original::submit_metadata))
        .route("/v1/submit-rating", post(original::submit_rating))
        .merge(documents::routes(&API))
}

/// What the routes say of themselves.
#[derive(OpenApi)]
#[openapi(
    paths(
        movies::read::list, movies::read::one, movies::read::details,
        movies::write::create, movies::write::create_many, movies::write::change, movies::write::delete,
        ratings::write::put, ratings::write::delete, ratings::write::put_many,
        ratings::read::one, ratings::read::of_movie, ratings::read::of_user, ratings::events::one,
        users::register, users::me, users::change, users::delete, users::give_role,
        sessions::log_in, sessions::refresh, sessions::log_out,
        original::metadata, original::details, original::submit_metadata, original::submit_rating,
        documents::root, documents::openapi, documents::docs, documents::problem,
    ),
    info(title = "Marquee movies", description = include_str!("../api.md")),
    servers((url = "/")),
    tags(
        (name = "movies", description = "What there is."),
        (name = "ratings", description = "What people think of it."),
        (name = "users", description = "Who rates, and how they say so."),
        (name = "original", description = "The paths of the original system, with its fields. Each does what a resource path does."),
        (name = "documents", description = "This document, and what the types of problems mean."),
    )
)]
pub(crate) struct Movies;

/// The movie that a path names.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfMovie {
    /// The movie's id.
    id: MovieId,
}

/// What an answer can do without: operators hear why it is not there, and the client that it is not.
fn or_warn<T>(
    result: Result<T, Failure>,
    without: fmt::Arguments<'_>,
    warning: &'static str,
    warnings: &mut Vec<&'static str>,
) -> Option<T> {
    let told = result.map_err(|failure| {
        failure.log_without(without);
        warnings.push(warning);
    });
    told.ok()
}
