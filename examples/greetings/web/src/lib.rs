//! Answers HTTP with words that another component finds, whatever language that one is in.

use bindings::example::greetings::words;
use spin_sdk::{
    http::{IntoResponse, Request, StatusCode},
    http_service,
};

marquee_guest::component!({
    path: "../wit",
    world: "example:greetings/web",
});

#[http_service]
async fn web(request: Request) -> impl IntoResponse {
    match request.uri().path().trim_start_matches('/') {
        "" => (StatusCode::NOT_FOUND, "Whom? Try /Ada.\n".to_owned()),
        name => (StatusCode::OK, format!("{}\n", words::greet(name))),
    }
}
