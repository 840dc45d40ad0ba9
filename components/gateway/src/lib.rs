//! The gateway: the public API of the movie system, over REST and over gRPC.
//!
//! Promises: every answer has the shape that the OpenAPI document tells, every error is a problem of RFC 9457; a
//! request's form is checked completely before another component hears of it. Bounded by the limits in `http` and
//! `domain`. It keeps nothing: what it knows it asks the metadata and rating components, who judge what is theirs, and
//! a rating goes to the bus.
//!
//! To read first: `routes`, where each route stands with its documentation; then `http`, what holds for all of them.
//! `grpc` has the same for clients of gRPC. `upstream` is the only module that knows the other components' interfaces.

mod api;
mod bindings;
mod domain;
mod failure;
mod grpc;
mod http;
mod routes;
mod upstream;

use axum::{body::Body, response::Response};

/// The export `wasi:http/handler@0.3.0`: answers a request, whatever is wrong with it.
// The names of the exports are nothing that a native linker takes.
#[cfg_attr(target_family = "wasm", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Response {
    http::answer(request.map(Body::new)).await
}
