//! The gateway: the public API of the movie system, over REST and over gRPC.
//!
//! Promises: every answer has the shape that the OpenAPI document tells, every error is a problem of RFC 9457; a
//! request's form is checked completely before another component hears of it, but for whose a token is. Bounded by the
//! limits of `marquee_guest::rest`, which holds for every route, and of `domain`. It keeps nothing but, for some seconds,
//! whose a token is: what it knows it asks the other components, who judge what is theirs, and a rating goes to the bus.
//!
//! To read first: `routes`, where each route stands with its documentation; then `caller`, who may do what. `grpc` has the
//! same for clients of gRPC. `upstream` is what the gateway asks of others.

mod caller;
mod domain;
mod grpc;
mod kinds;
mod routes;
mod upstream;

use axum::{body::Body, extract::Request, http::HeaderValue, response::Response};
use bindings::exports::marquee::health::probe;
use marquee_guest::rest::{Api, Spec};
use utoipa::OpenApi as _;

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
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
    additional_derives: [serde::Serialize, utoipa::ToSchema],
});

struct Gateway;

static API: Api = Api::new(Spec {
    name: "movies",
    routes: routes::all,
    openapi: routes::Movies::openapi,
    kinds: kinds::ALL,
    cors_origins: "cors_origins",
    exposed_headers: &[AUTH],
});

impl probe::Guest for Gateway {
    /// Refuses a setting that it does not understand, and says aloud if nobody is asked who they are.
    async fn ready() -> Result<(), String> {
        API.check().await?;
        caller::announce().await
    }
}

// The same as `handle`, for a small request in one piece.
marquee_guest::whole_requests!(Gateway, |request| answer(request.map(Body::from)));

/// The export `wasi:http/handler@0.3.0`: answers a request, whatever is wrong with it.
// The names of the exports are nothing that a native linker takes.
#[cfg_attr(target_family = "wasm", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Response {
    answer(request.map(Body::new)).await
}

async fn answer(request: Request) -> Response {
    let mut response = marquee_guest::grpc::answer(&API, &grpc::SERVICES, request).await;
    if caller::is_open().await {
        let open = HeaderValue::from_static("open");
        response.headers_mut().insert(AUTH, open);
    }
    response
}

/// Says that nobody is asked who they are.
const AUTH: &str = "marquee-auth";
