//! gRPC on the port of an API: services of `tonic`'s, beside health and reflection. A request is a call if its media type
//! says so, or its path is one of a service's.
//!
//! ```
//! # mod proto {
//! #     pub(crate) const DESCRIPTORS: &[u8] = &[];
//! # }
//! use axum::{extract::Request, response::Response};
//! use marquee_guest::{grpc::{self, Service, Services}, rest::Api};
//!
//! static SERVICES: Services = Services {
//!     own: &[
//!         // A server of tonic-prost-build's for each:
//!         // Service::new("notes.Notes", |request| {
//!         //     grpc::call(NotesServer::new(Notes).max_decoding_message_size(grpc::MAX_BYTES), request)
//!         // }),
//!     ],
//!     descriptors: proto::DESCRIPTORS,
//!     resource: "Note",
//! };
//!
//! // What a component exports as `wasi:http/handler`.
//! async fn handle(api: &'static Api, request: Request) -> Response {
//!     grpc::answer(api, &SERVICES, request).await
//! }
//! # fn main() {}
//! ```
//!
//! A call fails by a [`Failure`], whose problem becomes the status that the catalogue names, with
//! details of `google.rpc`.
//!
//! Promises: every call is answered by a status, in trailers; by its deadline, if it has one. Bounds: a message of 64 KiB,
//! one at a time, not compressed. What serves a call is made for the call: another request pays nothing for it. A deadline
//! needs the executor of spin-sdk's `http_service`: a call comes in over HTTP/2, which `marquee:http/handler` is not for.

mod deadline;
mod health;
mod reflection;
mod status;

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use marquee_problem::UNSUPPORTED_MEDIA_TYPE;
use tonic::{Code, Status};

use crate::rest::{Api, Failure, ROUTE, check_url, name_route};

/// A service, by its full name.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    name: &'static str,
    serve: Serve,
}

/// How a call is answered; see [`call`].
pub type Serve = fn(Request) -> BoxFuture<'static, Response>;

impl Service {
    /// One of this name (`package.Service`), whose calls this answers.
    pub const fn new(name: &'static str, serve: Serve) -> Self {
        Self { name, serve }
    }
}

/// What a component serves.
#[derive(Debug)]
pub struct Services {
    /// Its own services. Health and reflection are there anyway.
    pub own: &'static [Service],
    /// The files of these, for reflection: a `google.protobuf.FileDescriptorSet`.
    pub descriptors: &'static [u8],
    /// The type of what a problem's `existing_id` names, for `google.rpc.ResourceInfo`.
    pub resource: &'static str,
}

impl Services {
    fn named(&self, name: &str) -> bool {
        [HEALTH, REFLECTION, REFLECTION_BEFORE].contains(&name) || self.own(name).is_some()
    }

    fn own(&self, name: &str) -> Option<&Service> {
        self.own.iter().find(|own| own.name == name)
    }

    async fn serve(&'static self, request: Request) -> Response {
        let method = request.uri().path().to_owned();
        let name = service(&request);
        let mut response = match (self.own(name), name) {
            (Some(own), _) => (own.serve)(request).await,
            (None, HEALTH) => health::serve(self, request).await,
            (None, REFLECTION | REFLECTION_BEFORE) => reflection::serve(self, request).await,
            (None, _) => Status::unimplemented("there is no such service").into_http(),
        };
        // What is not there has a name that the client made up.
        let status = response.headers().get(Status::GRPC_STATUS);
        if status.is_none_or(|code| Code::from_bytes(code.as_bytes()) != Code::Unimplemented) {
            name_route(&mut response, &method);
        }
        response
    }

    /// A client that does not speak gRPC is answered over HTTP.
    async fn answer(&'static self, request: Request, domain: &str) -> Response {
        if request.method() != Method::POST {
            let allow = [(header::ALLOW, "POST")];
            return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
        }
        if let Err(failure) = check_url(request.uri()) {
            return failure.into_response();
        }
        if ![GRPC, "application/grpc+proto"].contains(&media_type(request.headers())) {
            let detail =
                "a call of gRPC has Content-Type application/grpc or application/grpc+proto";
            return Failure::from(UNSUPPORTED_MEDIA_TYPE.with(detail)).into_response();
        }
        let response = match deadline::of(request.headers()) {
            Ok(deadline) => deadline::keep(deadline, self.serve(request)).await,
            Err(status) => status.into_http(),
        };
        let route = response.headers().get(ROUTE).cloned();
        let mut response = finish(status::blame(response, domain, self.resource));
        if let Some(route) = route {
            response.headers_mut().insert(ROUTE, route);
        }
        response
    }
}

/// Answers a call by these services, and every other request by the API.
pub async fn answer(api: &'static Api, services: &'static Services, request: Request) -> Response {
    api.around(request, async |request| {
        let named = services.named(service(&request));
        match named || media_type(request.headers()).starts_with(GRPC) {
            true => services.answer(request, api.name()).await,
            false => api.routed(request).await,
        }
    })
    .await
}

/// Lets a server of tonic's answer.
pub fn call<S, B>(mut server: S, request: Request) -> BoxFuture<'static, Response>
where
    S: tower_service::Service<
            Request,
            Response = axum::http::Response<B>,
            Error = Infallible,
            Future: Send,
        > + Send
        + 'static,
    B: axum::body::HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    Box::pin(async move {
        match server.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    })
}

/// A status that stands in headers goes to trailers: it could stand there only in an answer without any body, and what
/// a component answers always has one, if an empty one.
fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut trailers = HeaderMap::new();
    for name in [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ] {
        if let Some(value) = headers.remove(&name) {
            trailers.insert(name, value);
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
    if !trailers.is_empty() {
        let trailers = std::future::ready(Some(Ok(trailers)));
        *response.body_mut() = Body::new(Empty::new().with_trailers(trailers));
    }
    response
}

/// The name of the service that the path names.
fn service(request: &Request) -> &str {
    request.uri().path().split('/').nth(1).unwrap_or_default()
}

/// Without its parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE);
    let text = text
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

const GRPC: &str = "application/grpc";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
/// It has the same messages under another name.
const REFLECTION_BEFORE: &str = "grpc.reflection.v1alpha.ServerReflection";
/// Most bytes of a message: as of a body over REST.
pub const MAX_BYTES: usize = 64 * 1024;
