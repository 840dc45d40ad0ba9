//! The documents: the OpenAPI document, the page that shows it, and what the types of problems mean.

use axum::{
    Json,
    http::{
        HeaderMap,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
        },
    },
    response::{Html, IntoResponse, Redirect},
};
use marquee_problem::{Kind, NO_SUCH_RESOURCE};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::DOCUMENT,
    failure::{Failure, kinds},
    http::{Path, check_accept},
};

/// To the page for people
#[utoipa::path(get, path = "/", operation_id = "getRoot", tag = "documents",
    responses((status = 308, description = "It is at `/docs`.", headers(("Location" = String, description = "`/docs`")))))]
pub(super) async fn root() -> Redirect {
    Redirect::permanent("/docs")
}

/// This document
///
/// Also sent to those who accept `application/vnd.oai.openapi+json`.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenApi", tag = "documents",
    responses((status = 200, description = "The OpenAPI document.", body = Object)))]
pub(super) async fn openapi(headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    check_accept(
        &headers,
        &["application/json", "application/vnd.oai.openapi+json"],
    )?;
    Ok((
        [CACHE, (CONTENT_TYPE, "application/json")],
        DOCUMENT.clone(),
    ))
}

/// This document, for people
///
/// A page without anything from elsewhere.
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "documents",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub(super) async fn docs(headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    check_accept(&headers, &["text/html"])?;
    let own = [
        CACHE,
        (CONTENT_SECURITY_POLICY, CSP),
        (REFERRER_POLICY, "no-referrer"),
    ];
    Ok((own, Html(DOCS_PAGE)))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfKind {
    /// The last part of a problem's `type`.
    #[param(example = "title-taken")]
    name: String,
}

/// What the type of a problem means
#[utoipa::path(get, path = "/problems/{name}", operation_id = "getProblemType", tag = "documents", params(OfKind),
    responses((status = 200, description = "The type.", body = Kind), (status = 404, description = "")))]
pub(super) async fn problem(
    Path(OfKind { name }): Path<OfKind>,
) -> Result<impl IntoResponse, Failure> {
    let kind = kinds().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| NO_SUCH_RESOURCE.with("there is no problem of this name"))?;
    Ok(([CACHE], Json(kind)))
}

/// The page at `/docs`. It needs nothing but the document.
const DOCS_PAGE: &str = include_str!("../docs.html");

/// The documents change with a deployment only; a minute keeps a swap visible soon.
const CACHE: (HeaderName, &str) = (CACHE_CONTROL, "public, max-age=60");

/// What the page may do: run the one script and use the one style that stand in it, by their SHA-256, and ask this
/// server. A test says the hashes when the page has changed.
const CSP: &str = "default-src 'none'; \
    script-src 'sha256-ahBed16CSpMYS5Qu4yvt71gKk3gGXGxIPQG+I6/4YTM='; \
    style-src 'sha256-zkRQb3+1luAe9VH3FFS2dr4ocUhDZ6YQE20EuFNRCFc='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
