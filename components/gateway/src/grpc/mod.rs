//! gRPC: the services of `proto/movie.proto`, on the port of the REST API. A request is a call if its media type says
//! so, or its path is one of a service's.
//!
//! Promises: what a call asks for goes through what a REST request goes through; every call is answered by a status of
//! gRPC, in trailers; by its deadline, if it has one. Bounds: a message of 64 KiB, one at a time, not compressed. What
//! serves a call is made for the call: a REST request pays nothing for it.

mod deadline;
mod health;
mod movies;
mod reflection;
mod status;

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::{BodyExt as _, Empty};
use marquee_problem::UNSUPPORTED_MEDIA_TYPE;
use tonic::Status;

use crate::{failure::Failure, http::check_url};

/// What is made of `proto/movie.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "made by tonic-prost-build"
)]
mod proto {
    tonic::include_proto!("_");
}

/// Is it a call, or meant to be one?
pub(crate) fn is_meant(request: &Request) -> bool {
    media_type(request.headers()).starts_with(GRPC) || service(request).is_some()
}

/// Answers it. A client that does not speak gRPC is answered over HTTP.
pub(crate) async fn answer(request: Request) -> Response {
    if request.method() != Method::POST {
        let allow = [(header::ALLOW, "POST")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    if let Err(failure) = check_url(request.uri()) {
        return failure.into_response();
    }
    if ![GRPC, "application/grpc+proto"].contains(&media_type(request.headers())) {
        let detail = "a call of gRPC has Content-Type application/grpc or application/grpc+proto";
        return Failure::from(UNSUPPORTED_MEDIA_TYPE.with(detail)).into_response();
    }
    let response = match deadline::of(request.headers()) {
        Ok(deadline) => deadline::keep(deadline, serve(request)).await,
        Err(status) => status.into_http(),
    };
    finish(status::blame(response))
}

/// Is it an answer over gRPC?
pub(crate) fn is_answer(response: &Response) -> bool {
    media_type(response.headers()) == GRPC
}

/// Whose call it is.
#[derive(Clone, Copy)]
enum Service {
    Metadata,
    Rating,
    Movie,
    Health,
    Reflection,
}

const SERVICES: [(&str, Service); 6] = [
    ("MetadataService", Service::Metadata),
    ("RatingService", Service::Rating),
    ("MovieService", Service::Movie),
    ("grpc.health.v1.Health", Service::Health),
    ("grpc.reflection.v1.ServerReflection", Service::Reflection),
    (
        "grpc.reflection.v1alpha.ServerReflection",
        Service::Reflection,
    ),
];

fn service(request: &Request) -> Option<Service> {
    let name = request.uri().path().split('/').nth(1)?;
    let found = SERVICES.iter().find(|(own, _)| *own == name);
    found.map(|(_, service)| *service)
}

async fn serve(request: Request) -> Response {
    match service(&request) {
        Some(Service::Metadata) => movies::metadata(request).await,
        Some(Service::Rating) => movies::rating(request).await,
        Some(Service::Movie) => movies::movie(request).await,
        Some(Service::Health) => health::serve(request).await,
        Some(Service::Reflection) => reflection::serve(request).await,
        None => Status::unimplemented("there is no such service").into_http(),
    }
}

/// Lets a service of tonic's answer.
async fn call<S, B>(mut service: S, request: Request) -> Response
where
    S: tower_service::Service<Request, Response = axum::http::Response<B>, Error = Infallible>,
    B: axum::body::HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    match service.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
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

/// Without its parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE);
    let text = text
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

const GRPC: &str = "application/grpc";
/// Most bytes of a message: as of a body over REST.
const MAX_BYTES: usize = 64 * 1024;
