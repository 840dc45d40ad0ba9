//! The documents: the OpenAPI document, the page that shows it, and what the types of problems mean.

use serde::Serialize;

use super::json;
use crate::{
    http::{Response, negotiate::JSON},
    problem::{Kind, Problem},
};

/// The OpenAPI document. Written by hand, and checked against the code by a test.
pub const OPENAPI: &str = include_str!("../openapi.json");
/// The page at `/docs`. It needs nothing but the document.
pub const DOCS_PAGE: &str = include_str!("../docs.html");

/// `GET /openapi.json`.
pub(super) fn openapi() -> Response {
    Response::new(200, JSON, OPENAPI.as_bytes()).with("cache-control", CACHE)
}

/// `GET /docs`.
pub(super) fn docs() -> Response {
    Response::new(200, "text/html; charset=utf-8", DOCS_PAGE.as_bytes())
        .with("cache-control", CACHE)
        .with("content-security-policy", CSP)
        .with("referrer-policy", "no-referrer")
}

/// `GET /problems/{name}`: what a problem's `type` means.
pub(super) fn problem(name: &str) -> Result<Response, Problem> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| Problem::new(Kind::NoSuchResource, "there is no problem of this name"))?;
    let described = Described {
        r#type: kind.uri(),
        title: kind.title(),
        status: kind.status(),
    };
    Ok(json(200, &described)?.with("cache-control", CACHE))
}

#[derive(Serialize)]
struct Described {
    r#type: String,
    title: &'static str,
    status: u16,
}

/// The documents change with a deployment only; a minute keeps a swap visible soon.
const CACHE: &str = "public, max-age=60";

/// What the page may do: run the one script and use the one style that stand in it, by their SHA-256, and ask
/// this server. A test says the hashes when the page has changed.
const CSP: &str = "default-src 'none'; \
    script-src 'sha256-4x6vmgaE2GRRj+lSq6KLiTEDzA/Ss360AvDRjuIqnX0='; \
    style-src 'sha256-zkRQb3+1luAe9VH3FFS2dr4ocUhDZ6YQE20EuFNRCFc='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
