//! What holds for every route: how a request comes in, how its parts are read, and what every answer has.
//!
//! Checks come in this order, and the first that fails decides the status: escapes of the URL (400), path (404), method
//! (405), Accept (406), the URL's values (400), then the body's headers (415), size (413), JSON and shape (400), bounds
//! (422). Only then is another component asked.

mod accept;
mod body;
mod url;

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use marquee_problem as problem;
use tower_service::Service as _;

use crate::{failure::Failure, routes};

pub(crate) use accept::answers_with;
pub(crate) use body::{Body, Text, Whole};
pub(crate) use url::{Path, Query};

/// Answers a request: never with an error of its own, and never without the request's id.
pub(crate) async fn answer(request: Request) -> Response {
    let id = request_id(request.headers())
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let head = request.method() == Method::HEAD;
    let response = match url::check_escapes(request.uri()) {
        Ok(()) => ROUTER
            .clone()
            .call(request)
            .await
            .unwrap_or_else(|never| match never {}),
        Err(failure) => failure.into_response(),
    };
    finish(response, &id, head)
}

/// Built once an instance.
static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let (router, _) = routes::all().split_for_parts();
    router
        .fallback(async || {
            Failure::from(problem::NO_SUCH_RESOURCE.with("see /docs for what there is"))
        })
        .method_not_allowed_fallback(wrong_method)
});

/// The router adds `Allow`, here and there.
async fn wrong_method(method: Method) -> Result<StatusCode, Failure> {
    match method {
        Method::OPTIONS => Ok(StatusCode::NO_CONTENT),
        _ => Err(problem::METHOD_NOT_ALLOWED
            .with("`Allow` says which methods this path has")
            .into()),
    }
}

/// The id that the host (or a proxy before it) gave the request, if it is one that may be repeated in a header and in
/// logs.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    only(headers, &REQUEST_ID).filter(|id| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

/// The value of a field that came exactly once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values
        .next()
        .filter(|_| values.next().is_none())?
        .to_str()
        .ok()
}

/// Adds what every answer has. What depends on the data is never stored: it changes with the next rating.
fn finish(mut response: Response, id: &str, head: bool) -> Response {
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        failure.render(&mut response, id);
    }
    if head {
        *response.body_mut() = axum::body::Body::empty();
    }
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    let allow = headers
        .get(header::ALLOW)
        .and_then(|methods| methods.to_str().ok());
    let allow = allow.map(|methods| format!("{}, OPTIONS", methods.replace(',', ", ")));
    for (name, text) in [(header::ALLOW, allow.as_deref()), (REQUEST_ID, Some(id))] {
        if let Some(Ok(value)) = text.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    response
}

/// Writes one line for operators. Escaped: it may hold what a client sent.
#[expect(clippy::print_stderr, reason = "a guest's stderr is the host's log")]
pub(crate) fn log(line: &str) {
    eprintln!("{}", line.escape_debug());
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
