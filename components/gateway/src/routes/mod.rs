//! The routes. Each stands with its documentation, of which the OpenAPI document is made.

mod documents;
mod movies;
mod original;
mod ratings;

use axum::Json;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi as _};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::Api, domain::MovieId, failure::Failure, http::answers_with};

/// What most routes have.
type Answer<T> = Result<Json<T>, Failure>;

/// First the resources, then the paths of the original system, then the documents.
pub(crate) fn all() -> OpenApiRouter {
    let json = OpenApiRouter::new()
        .routes(routes!(movies::list, movies::create))
        .routes(routes!(movies::one))
        .routes(routes!(movies::details))
        .routes(routes!(ratings::put, ratings::delete))
        .routes(routes!(ratings::of_user))
        .routes(routes!(original::metadata))
        .routes(routes!(original::details))
        .routes(routes!(original::submit_metadata))
        .routes(routes!(original::submit_rating))
        .routes(routes!(documents::problem));
    let openapi = OpenApiRouter::new().routes(routes!(documents::openapi));
    let docs = OpenApiRouter::new().routes(routes!(documents::docs));
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(answers_with(&["application/json"], json))
        .merge(answers_with(
            &["application/json", "application/vnd.oai.openapi+json"],
            openapi,
        ))
        .merge(answers_with(&["text/html"], docs))
        .routes(routes!(documents::root))
}

/// The movie that a path names.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfMovie {
    /// The movie's id.
    id: MovieId,
}

/// A part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// The `next` of the page before, for the same query. One that this query did not make is 400.
    #[param(min_length = 1, max_length = 2048)]
    after: Option<String>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 20, required = false)]
    limit: Limit,
}

/// How many entries a page has. Digits only; its bounds are their owner's.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Limit(u32);

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl TryFrom<String> for Limit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // `parse` alone would take "+5".
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or("must be a number from 1 to 100")
    }
}
