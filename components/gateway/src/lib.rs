//! The gateway: the public API of the movie system, over REST and over gRPC.
//!
//! Promises: every answer has the shape that the OpenAPI document tells, every error is a problem of RFC 9457; a
//! request's form is checked completely before another component hears of it. Bounded by the limits in `http` and
//! `domain`. It keeps nothing but, for some seconds, whose a token is: what it knows it asks the other components, who
//! judge what is theirs, and a rating goes to the bus.
//!
//! To read first: `routes`, where each route stands with its documentation; then `http`, what holds for all of them, and
//! `caller`, who may do what. `grpc` has the same for clients of gRPC. `upstream` is the only module that knows the other
//! components' interfaces.

mod api;
mod caller;
mod domain;
mod failure;
mod grpc;
mod http;
mod routes;
mod upstream;

use axum::{body::Body, response::Response};
use bindings::exports::marquee::health::probe;

// What the records of the other components say is what clients see.
marquee_guest::component!(Gateway, {
    path: [
        "../../wit/marquee-messaging",
        "../../wit/marquee-health",
        "../../wit/marquee-http",
        "../../wit/movie-metadata",
        "../../wit/movie-metadata-0.2",
        "../../wit/movie-metadata-0.3",
        "../../wit/movie-rating",
        "../../wit/movie-rating-0.2",
        "../../wit/movie-rating-0.3",
        "../../wit/movie-users",
        "../../wit/movie-users-0.2",
        "../../wit/movie-passwords",
        "../../wit/movie-gateway",
    ],
    world: "movie:gateway/gateway",
    generate_all,
    additional_derives: [serde::Serialize, utoipa::ToSchema],
});

struct Gateway;

impl probe::Guest for Gateway {
    /// Refuses a setting that it does not understand, and says aloud if nobody is asked who they are.
    async fn ready() -> Result<(), String> {
        http::check_settings().await?;
        caller::announce().await
    }
}

// The same as `handle`, for a small request in one piece.
marquee_guest::whole_requests!(Gateway, |request| http::answer(request.map(Body::from)));

/// The export `wasi:http/handler@0.3.0`: answers a request, whatever is wrong with it.
// The names of the exports are nothing that a native linker takes.
#[cfg_attr(target_family = "wasm", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Response {
    http::answer(request.map(Body::new)).await
}
