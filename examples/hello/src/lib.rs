//! The smallest application: one component that answers HTTP.

use spin_sdk::{
    http::{IntoResponse, Request, StatusCode},
    http_service,
};

#[http_service]
async fn hello(request: Request) -> impl IntoResponse {
    match request.uri().path().trim_start_matches('/') {
        "" => (StatusCode::OK, "Hello!\n".to_owned()),
        name if name.contains('/') => (StatusCode::NOT_FOUND, "Nobody is there.\n".to_owned()),
        name => (StatusCode::OK, format!("Hello, {name}!\n")),
    }
}
