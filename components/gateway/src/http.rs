//! What holds for every route: how a request comes in, how its parts are read, and what every answer has.
//!
//! Checks come in this order, and the first that fails decides the status: escapes of the URL (400), path (404), method
//! (405), Accept (406), the URL's values (400), the caller (401), then the body's headers (415), size (413), JSON and shape (400), bounds
//! (422). Only then is another component asked for more than whose a token is. What the caller may do (403) is
//! judged before the bounds.

mod accept;
mod body;
mod client;
mod conditional;
mod cors;
mod idempotency;
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

use crate::{
    caller::{Auth, Subject},
    failure::Failure,
    grpc, routes,
};

pub(crate) use accept::{check_accept, check_json};
pub(crate) use body::{Body, List, MergePatch, Text, Whole, present};
pub(crate) use client::Client;
pub(crate) use conditional::{Expected, version_tag};
pub(crate) use idempotency::IdempotencyKey;
pub(crate) use url::{Path, Query, check as check_url};

/// Answers a request: never with an error of its own, and never without the request's id.
pub(crate) async fn answer(mut request: Request) -> Response {
    let id = request_id(request.headers()).map(str::to_owned);
    let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let method = request.method().clone();
    let subject = Subject::default();
    let extensions = request.extensions_mut();
    extensions.insert(Subject::clone(&subject));
    extensions.insert(RequestId(id.clone()));
    let mut response = if grpc::is_meant(&request) {
        grpc::answer(request).await
    } else {
        answer_rest(&method, request).await
    };
    if !grpc::is_answer(&response) {
        response = finish(response, &method, &id);
    }
    let open = Auth::setting().await == Auth::Open;
    for (name, text) in [
        (REQUEST_ID, Some(id.as_str())),
        (SUBJECT, subject.get().map(String::as_str)),
        (AUTH, open.then_some("open")),
    ] {
        if let Some(Ok(value)) = text.map(HeaderValue::from_str) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn answer_rest(method: &Method, mut request: Request) -> Response {
    let headers = request.headers().clone();
    // As GET to the end, so that both have the same headers; then without content.
    if method == Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    let around = cors::around(&request, &ROUTER).await;
    let mut router = around.unwrap_or_else(|| ROUTER.clone());
    let response = match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    conditional::answer(method, &headers, response).await
}

/// Fails where a setting of this module cannot be understood.
pub(crate) async fn check_settings() -> Result<(), String> {
    cors::check().await
}

/// The id of a request, for what tells of problems inside an answer.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Made once an instance.
static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let checked = |request: Request| async move {
        match url::check(request.uri()) {
            Ok(()) => match ROUTES.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(failure) => failure.into_response(),
        }
    };
    Router::new().fallback(checked)
});
static ROUTES: LazyLock<Router> = LazyLock::new(routes::all);

/// What went wrong: what a route says, or the router by a status without more.
fn failure(response: &mut Response) -> Option<Failure> {
    let said = response.extensions_mut().remove::<Failure>();
    said.or_else(|| match response.status() {
        StatusCode::NOT_FOUND => Some(nothing()),
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = "`Allow` says which methods this path has";
            Some(problem::METHOD_NOT_ALLOWED.with(detail).into())
        }
        _ => None,
    })
}

fn nothing() -> Failure {
    problem::NO_SUCH_RESOURCE
        .with("see /docs for what there is")
        .into()
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
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values
        .next()
        .filter(|_| values.next().is_none())?
        .to_str()
        .ok()
}

/// Adds what every answer has. What says nothing else is never stored.
fn finish(mut response: Response, method: &Method, id: &str) -> Response {
    let is_preflight = response.status() == StatusCode::OK;
    if method == Method::OPTIONS
        && (is_preflight || response.status() == StatusCode::METHOD_NOT_ALLOWED)
    {
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().remove(header::CONTENT_LENGTH);
    } else if let Some(failure) = failure(&mut response) {
        failure.render(&mut response, id);
    }
    if method == Method::HEAD {
        *response.body_mut() = axum::body::Body::empty();
    }
    let headers = response.headers_mut();
    let allow = headers
        .get(header::ALLOW)
        .and_then(|methods| methods.to_str().ok());
    let allow = allow.map(|methods| format!("{}, OPTIONS", methods.replace(',', ", ")));
    if let Some(Ok(value)) = allow.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::ALLOW, value);
    }
    for (name, unless_said) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        let value = HeaderValue::from_static(unless_said);
        headers.entry(name).or_insert(value);
    }
    response
}

/// Writes one line for operators. Escaped: it may hold what a client sent.
#[expect(clippy::print_stderr, reason = "a guest's stderr is the host's log")]
pub(crate) fn log(line: &str) {
    eprintln!("{}", line.escape_debug());
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells the host whose the credentials were, for its rates; the host takes it out.
const SUBJECT: HeaderName = HeaderName::from_static("marquee-subject");
/// Says that nobody is asked who they are.
const AUTH: HeaderName = HeaderName::from_static("marquee-auth");
