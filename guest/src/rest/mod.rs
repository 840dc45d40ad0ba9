//! An API over HTTP on axum: how a request comes in, how its parts are read, what every answer has, and its OpenAPI
//! document. A component has routes; what holds for all of them is here.
//!
//! ```
//! use axum::{Json, Router, routing::put};
//! use marquee_guest::rest::{self, Answer, Api, Failure, Path, Spec, Text};
//! use serde::Deserialize;
//! use utoipa::{IntoParams, OpenApi, ToSchema};
//!
//! static API: Api = Api::new(Spec {
//!     name: "notes",
//!     routes: || Router::new().route("/notes/{id}", put(write)),
//!     openapi: || Notes::openapi(),
//!     kinds: &[],
//!     cors_origins: "cors_origins",
//!     exposed_headers: &[],
//! });
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(write), info(title = "Notes"), servers((url = "/")), tags((name = "notes")))]
//! struct Notes;
//!
//! #[derive(Deserialize, IntoParams)]
//! #[into_params(parameter_in = Path)]
//! struct OfNote {
//!     /// Which one.
//!     id: u32,
//! }
//!
//! #[derive(Deserialize, ToSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Note {
//!     #[schema(value_type = String)]
//!     text: Text,
//! }
//!
//! /// Write a note
//! #[utoipa::path(put, path = "/notes/{id}", tag = "notes", params(OfNote), request_body = Note,
//!     responses((status = 200, description = "As it is kept.", body = String), (status = 422, description = "")))]
//! async fn write(Path(OfNote { id }): Path<OfNote>, rest::Body(note): rest::Body<Note>) -> Answer<String> {
//!     if note.text.0.is_empty() {
//!         return Err(Failure::of(&marquee_problem::OUT_OF_BOUNDS, "text", "must not be empty"));
//!     }
//!     Ok(Json(note.text.0))
//! }
//!
//! // What a component exports as `wasi:http/handler`.
//! async fn handle(request: axum::extract::Request) -> axum::response::Response {
//!     API.answer(request).await
//! }
//! # fn main() {}
//! ```
//!
//! Promises: an error is a problem of RFC 9457 whoever found it, axum's router too; every answer has the request's id, names its
//! route to the host, and is stored nowhere unless it says so; an answer with JSON to GET has a tag, and is not sent to whoever has it. Checks come
//! in this order, and the first that fails decides the status: escapes of the URL (400), path (404), method (405), Accept
//! (406), then a route's parts in the order in which it takes them; of a body its headers (415), its size (413), JSON and
//! shape (400). Bounds of values are the routes' own (422).
//!
//! Not here: who asks, and what they may do.

mod accept;
mod body;
mod client;
mod conditional;
mod cors;
mod document;
pub mod documents;
mod failure;
mod idempotency;
mod moment;
mod page;
mod recent;
mod route;
mod url;

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    body::Bytes,
    extract::Request,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use marquee_problem::Kind;
use tower_service::Service as _;

#[doc(hidden)]
pub use marquee_problem as problem;

pub use accept::{check_accept, check_json};
pub use body::{Body, List, MergePatch, Text, Whole, present};
pub use client::Client;
pub use conditional::{Expected, version_tag};
pub use failure::Failure;
pub use idempotency::IdempotencyKey;
pub use moment::{moment_ms, moment_us};
pub use page::{Limit, PageQuery};
pub use recent::Recent;
#[cfg(feature = "grpc")]
pub(crate) use route::{ROUTE, name as name_route};
pub(crate) use url::check as check_url;
pub use url::{Path, Query};

/// What most routes answer with.
pub type Answer<T> = Result<Json<T>, Failure>;

/// What an API has of its own.
#[derive(Debug)]
pub struct Spec {
    /// A word for it: the realm of `WWW-Authenticate`, and over gRPC in whose name problems are told.
    pub name: &'static str,
    /// Its routes. Made once an instance.
    pub routes: fn() -> Router,
    /// What they say of themselves. Made when an instance is first asked for it.
    pub openapi: fn() -> utoipa::openapi::OpenApi,
    /// The kinds of problems that are its own, beside [`marquee_problem::ALL`].
    pub kinds: &'static [Kind],
    /// The component's variable with the sites that may use the API from a browser: empty for none, `*` for all, or origins
    /// with commas between them.
    pub cors_origins: &'static str,
    /// Headers of answers that these sites see, beside those that are here.
    pub exposed_headers: &'static [&'static str],
}

/// An API: a `static` of the component.
#[derive(Debug)]
pub struct Api {
    own: Spec,
    router: OnceLock<Router>,
    /// As the sites that may use it see it, if there are any.
    shared: OnceLock<Option<Router>>,
    document: OnceLock<Bytes>,
}

impl Api {
    /// The API that this tells.
    pub const fn new(own: Spec) -> Self {
        Self {
            own,
            router: OnceLock::new(),
            shared: OnceLock::new(),
            document: OnceLock::new(),
        }
    }

    /// Answers a request: never with an error of its own, and never without the request's id.
    pub async fn answer(&'static self, request: Request) -> Response {
        self.around(request, async |request| self.routed(request).await)
            .await
    }

    /// Fails where a variable that the API reads cannot be understood, with a text for operators.
    pub async fn check(&self) -> Result<(), String> {
        cors::read(self.own.cors_origins).await.map(drop)
    }

    /// Every kind of problem that a client can meet.
    pub fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        problem::ALL.iter().chain(self.own.kinds)
    }

    /// The OpenAPI document.
    pub fn document(&self) -> Bytes {
        let made = || document::made((self.own.openapi)(), || self.kinds());
        self.document.get_or_init(made).clone()
    }

    /// See [`Spec::name`].
    #[cfg(feature = "grpc")]
    pub(crate) fn name(&self) -> &'static str {
        self.own.name
    }

    /// What holds whatever the protocol is.
    pub(crate) async fn around(
        &self,
        mut request: Request,
        answer: impl AsyncFnOnce(Request) -> Response,
    ) -> Response {
        let id = request_id(request.headers()).map(str::to_owned);
        let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let method = request.method().clone();
        let subject = Subject::default();
        let extensions = request.extensions_mut();
        extensions.insert(subject.clone());
        extensions.insert(RequestId(id.clone()));
        let mut response = answer(request).await;
        if !is_call(response.headers()) {
            response = self.finish(response, &method, &id);
        }
        for (name, text) in [
            (REQUEST_ID, Some(id.as_str())),
            (SUBJECT, subject.0.get().map(String::as_str)),
        ] {
            if let Some(Ok(value)) = text.map(HeaderValue::from_str) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// The answer of a route.
    pub(crate) async fn routed(&self, mut request: Request) -> Response {
        let method = request.method().clone();
        let headers = request.headers().clone();
        // As GET to the end, so that both have the same headers; then without content.
        if method == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let router = self.router.get_or_init(|| checked((self.own.routes)()));
        let shared = match cors::is_asked(&request) {
            true => self.shared(router).await,
            false => None,
        };
        let mut router = shared.unwrap_or(router).clone();
        let response = match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        conditional::answer(&method, &headers, response).await
    }

    async fn shared(&self, router: &Router) -> Option<&Router> {
        if self.shared.get().is_none() {
            let origins = cors::read(self.own.cors_origins).await;
            let origins = origins.unwrap_or_else(|error| {
                crate::log(&format!("{error}; no site may ask"));
                None
            });
            let layer = origins.map(|origins| cors::layer(origins, self.own.exposed_headers));
            // A variable does not change while a component runs.
            self.shared
                .get_or_init(|| layer.map(|layer| router.clone().layer(layer)));
        }
        self.shared.get()?.as_ref()
    }

    /// Adds what every answer has. What says nothing else is never stored.
    fn finish(&self, mut response: Response, method: &Method, id: &str) -> Response {
        let is_preflight = response.status() == StatusCode::OK;
        if method == Method::OPTIONS
            && (is_preflight || response.status() == StatusCode::METHOD_NOT_ALLOWED)
        {
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().remove(header::CONTENT_LENGTH);
        } else if let Some(failure) = failure(&mut response) {
            failure.render(&mut response, id, self.own.name);
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
}

/// The id of a request, for what tells of problems inside an answer.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Whose the request turned out to be, for the host's rates.
#[derive(Debug, Clone, Default)]
pub struct Subject(Arc<OnceLock<String>>);

impl Subject {
    /// Tells the host, by the answer, whose the request with these extensions is: an id, and no secret.
    pub fn tell(extensions: &Extensions, subject: &str) {
        if let Some(own) = extensions.get::<Self>() {
            let _ = own.0.set(subject.to_owned());
        }
    }
}

/// The value of a field that came exactly once and is text.
pub fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values
        .next()
        .filter(|_| values.next().is_none())?
        .to_str()
        .ok()
}

/// The routes behind what is checked of every URL.
fn checked(routes: Router) -> Router {
    let routes = route::named(routes);
    Router::new().fallback(move |request: Request| async move {
        let mut routes = routes;
        match check_url(request.uri()) {
            Ok(()) => match routes.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(failure) => failure.into_response(),
        }
    })
}

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

/// Is it an answer over gRPC? It has a form of its own.
fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes() == b"application/grpc")
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells the host whose the credentials were, for its rates; the host takes it out.
const SUBJECT: HeaderName = HeaderName::from_static("marquee-subject");
