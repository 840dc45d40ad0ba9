//! The documents: the OpenAPI document, the page that shows it, and what the types of problems mean. An API that has them
//! says so in its own document: `paths(documents::root, documents::openapi, documents::docs, documents::problem)`, with a tag
//! `documents`.

use axum::{
    Json, Router,
    http::{
        HeaderMap,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
        },
    },
    response::{Html, IntoResponse, Redirect},
    routing::get,
};
use marquee_problem::{Kind, NO_SUCH_RESOURCE};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Api, Failure, Path, check_accept};

/// The routes: `/`, `/openapi.json`, `/docs` and `/problems/{name}`.
pub fn routes(api: &'static Api) -> Router {
    Router::new()
        .route("/", get(root))
        .route(
            "/openapi.json",
            get(move |headers: HeaderMap| openapi(api, headers)),
        )
        .route("/docs", get(docs))
        .route(
            "/problems/{name}",
            get(move |name: Path<OfKind>| problem(api, name)),
        )
}

/// To the page for people
#[utoipa::path(get, path = "/", operation_id = "getRoot", tag = "documents",
    responses((status = 308, description = "It is at `/docs`.", headers(("Location" = String, description = "`/docs`")))))]
pub async fn root() -> Redirect {
    Redirect::permanent("/docs")
}

/// This document
///
/// Also sent to those who accept `application/vnd.oai.openapi+json`.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenApi", tag = "documents",
    responses((status = 200, description = "The OpenAPI document.", body = Object)))]
pub async fn openapi(api: &'static Api, headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    check_accept(
        &headers,
        &["application/json", "application/vnd.oai.openapi+json"],
    )?;
    Ok(([CACHE, (CONTENT_TYPE, "application/json")], api.document()))
}

/// This document, for people
///
/// A page without anything from elsewhere.
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "documents",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub async fn docs(headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    check_accept(&headers, &["text/html"])?;
    let own = [
        CACHE,
        (CONTENT_SECURITY_POLICY, CSP),
        (REFERRER_POLICY, "no-referrer"),
    ];
    Ok((own, Html(DOCS_PAGE)))
}

/// A kind of problem, by its name.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfKind {
    /// The last part of a problem's `type`.
    #[param(example = "title-taken")]
    name: String,
}

/// What the type of a problem means
#[utoipa::path(get, path = "/problems/{name}", operation_id = "getProblemType", tag = "documents", params(OfKind),
    responses((status = 200, description = "The type.", body = Kind), (status = 404, description = "")))]
pub async fn problem(
    api: &'static Api,
    Path(OfKind { name }): Path<OfKind>,
) -> Result<impl IntoResponse, Failure> {
    let kind = api.kinds().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| NO_SUCH_RESOURCE.with("there is no problem of this name"))?;
    Ok(([CACHE], Json(kind)))
}

/// The page at `/docs`. It needs nothing but the document.
const DOCS_PAGE: &str = include_str!("docs.html");

/// The documents change with a deployment only; a minute keeps a swap visible soon.
const CACHE: (HeaderName, &str) = (CACHE_CONTROL, "public, max-age=60");

/// What the page may do: run the one script and use the one style that stand in it, by their SHA-256, and ask this
/// server. A test says the hashes when the page has changed.
const CSP: &str = "default-src 'none'; \
    script-src 'sha256-bRCGxT6gepd7B+GDoQoTAvGT0+WmThLh5+Igy8DhqgA='; \
    style-src 'sha256-zkRQb3+1luAe9VH3FFS2dr4ocUhDZ6YQE20EuFNRCFc='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
