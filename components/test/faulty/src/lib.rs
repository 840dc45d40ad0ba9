//! A component that does what components should not; the request's path says what, and what says nothing is answered
//! with 500. For tests of what takes a bad release back, and of what others notice of it.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Full};
use spin_sdk::{
    http_service,
    wasip3::{clocks::monotonic_clock, http::types::Fields},
    wit_bindgen::yield_async,
};

marquee_guest::component!(Faulty, {
    path: "../../../wit/marquee-http",
    world: "marquee:http/service",
});

struct Faulty;

/// What was left for after an answer is done.
static DONE: AtomicBool = AtomicBool::new(false);

#[http_service]
async fn faulty(request: spin_sdk::http::Request) -> http::Response<Full<Bytes>> {
    respond("streams", request).await
}

marquee_guest::whole_requests!(Faulty, |request| respond("whole", request.map(Full::new)));

async fn respond<B: http_body::Body>(
    way: &str,
    request: http::Request<B>,
) -> http::Response<Full<Bytes>> {
    let (status, text) = answer(way, request).await;
    let length = HeaderValue::from(text.len());
    let mut response = http::Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

async fn answer<B: http_body::Body>(way: &str, request: http::Request<B>) -> (StatusCode, String) {
    let calls = request.uri().path().len();
    match request.uri().path() {
        "/faulty/way" => return (StatusCode::OK, way.to_owned()),
        "/faulty/fine" => return (StatusCode::OK, "Fine.\n".to_owned()),
        "/faulty/trap" => std::process::abort(),
        "/faulty/spin" => loop {
            black_box(calls);
        },
        "/faulty/wait" => monotonic_clock::wait_for(3_600_000_000_000).await,
        // Gives way each time, and never ends.
        "/faulty/yield" => loop {
            yield_async().await;
        },
        "/faulty/grow" => loop {
            std::mem::forget(black_box(vec![1_u8; 1 << 20]));
        },
        "/faulty/handles" => loop {
            std::mem::forget(Fields::new());
        },
        "/faulty/recurse" => drop(depth(calls)),
        "/faulty/huge" => return (StatusCode::OK, "x".repeat(20 << 20)),
        "/faulty/chatter" => chatter(),
        "/faulty/read" => {
            let read = request.into_body().collect().await;
            let read = read.map_or(0, |body| body.to_bytes().len());
            return (StatusCode::OK, read.to_string());
        }
        // Answers, and works on for a while.
        "/faulty/later" => {
            let rest = async {
                monotonic_clock::wait_for(100_000_000).await;
                DONE.store(true, Ordering::Relaxed);
            };
            // Each of the two exports has an executor of its own.
            match way {
                "whole" => wit_bindgen::spawn_local(rest),
                _ => spin_sdk::wit_bindgen::spawn(rest),
            }
            return (StatusCode::OK, "Later.\n".to_owned());
        }
        "/faulty/done" => {
            let done = DONE.swap(false, Ordering::Relaxed);
            return (StatusCode::OK, done.to_string());
        }
        _ => {}
    }
    (StatusCode::INTERNAL_SERVER_ERROR, "Oh no.\n".to_owned())
}

#[expect(clippy::print_stdout, reason = "what is printed is logged")]
fn chatter() {
    for n in 0..10_000 {
        println!("line {n}");
    }
}

#[expect(
    unconditional_recursion,
    reason = "the end of the stack is what is tried"
)]
#[inline(never)]
fn depth(above: usize) -> usize {
    let frame = black_box([above; 64]);
    depth(frame.iter().sum()) + black_box(1)
}
