//! The gateway: the public REST API of the movie system.
mod bindings;

use spin_sdk::http::{IntoResponse, Request, StatusCode};

#[spin_sdk::http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let id = request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("id="))
        .unwrap_or_default()
        .to_owned();
    match bindings::movie::metadata::queries::movie_by_id(id).await {
        Ok(Some(movie)) => (StatusCode::OK, serde_json::json!({"id": movie.id, "title": movie.title, "description": movie.description, "director": movie.director}).to_string()),
        Ok(None) => (StatusCode::NOT_FOUND, String::new()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:?}")),
    }
}
