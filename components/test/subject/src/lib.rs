//! A component that says whose a token is, in the header `who`: `ann-1` and `ann-2` are ann's. For tests of rates that
//! count for a subject, whatever token it came with.

use spin_sdk::{
    http::{HeaderMap, HeaderValue, IntoResponse, Request, StatusCode},
    http_service,
};

#[http_service]
async fn subject(request: Request) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    let token = request.headers().get("authorization");
    let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let name = token.and_then(|token| token.split('-').next());
    if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert("who", name);
    }
    (StatusCode::OK, headers, "Welcome.\n".to_owned())
}
