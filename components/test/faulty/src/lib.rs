//! A release that should not have been: it answers every request with 500. For tests of what takes it back.

use spin_sdk::{
    http::{IntoResponse, Request, StatusCode},
    http_service,
};

#[http_service]
async fn faulty(_: Request) -> impl IntoResponse {
    (StatusCode::INTERNAL_SERVER_ERROR, "Oh no.\n".to_owned())
}
