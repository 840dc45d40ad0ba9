//! The smallest application: one component that answers HTTP. One way in is enough; Marquee takes the second one for small
//! requests, which it spares the streams for their bodies.

use http::{Request, Response, StatusCode};

marquee_guest::component!(Hello, {
    path: "../../wit/marquee-http",
    world: "marquee:http/service",
});

struct Hello;

#[spin_sdk::http_service]
async fn streamed(request: spin_sdk::http::Request) -> Response<String> {
    hello(&request)
}

marquee_guest::whole_requests!(Hello, |request| std::future::ready(hello(&request)));

fn hello<B>(request: &Request<B>) -> Response<String> {
    let (status, text) = match request.uri().path().trim_start_matches('/') {
        "" => (StatusCode::OK, "Hello!\n".to_owned()),
        name if name.contains('/') => (StatusCode::NOT_FOUND, "Nobody is there.\n".to_owned()),
        name => (StatusCode::OK, format!("Hello, {name}!\n")),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
}
