//! A component that does what components should not; the request's path says what, and what says nothing is answered
//! with 500. For tests of what takes a bad release back, and of what others notice of it.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
};

use spin_sdk::{
    http::{HeaderMap, HeaderValue, IntoResponse, Request, StatusCode, body::IncomingBodyExt as _},
    http_service,
    wasip3::{clocks::monotonic_clock, http::types::Fields},
    wit_bindgen::{self, yield_async},
};

/// What was left for after an answer is done.
static DONE: AtomicBool = AtomicBool::new(false);

#[http_service]
async fn faulty(request: Request) -> impl IntoResponse {
    let (status, text) = answer(request).await;
    let length = HeaderValue::from(text.len());
    let mut headers = HeaderMap::new();
    headers.insert("content-length", length);
    (status, headers, text)
}

async fn answer(request: Request) -> (StatusCode, String) {
    let calls = request.uri().path().len();
    match request.uri().path() {
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
            let read = request.into_body().bytes().await;
            return (
                StatusCode::OK,
                read.map_or(0, |body| body.len()).to_string(),
            );
        }
        // Answers, and works on for a while.
        "/faulty/later" => {
            wit_bindgen::spawn(async {
                monotonic_clock::wait_for(100_000_000).await;
                DONE.store(true, Ordering::Relaxed);
            });
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
