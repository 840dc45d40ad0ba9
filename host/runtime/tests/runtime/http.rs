//! Requests, their answers, and clients that do not do their part.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use marquee_runtime::{Call, CallError, HANDLER, Limits, Request, Response, Spec};

use crate::support::{Bench, IT, guest, id};

async fn faulty() -> Bench {
    let bench = Bench::empty(Limits::default());
    let entry_points = [(HANDLER.to_owned(), "its routes".to_owned())];
    let spec = Spec {
        entry_points: entry_points.into(),
        ..bench.spec(IT)
    };
    let prepared = bench.prepare(spec, &guest("faulty")).await;
    bench.go_live(IT, prepared.expect("prepared"));
    bench
}

async fn send(bench: &Bench, request: Request, time: Duration) -> Result<Response, CallError> {
    let call = Call::new("test", Instant::now() + time);
    bench.runtime.handle_http(&id(IT), request, call).await
}

fn get(path: &str) -> Request {
    let request = http::Request::get(format!("http://localhost/faulty/{path}"));
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    request.body(body).expect("a request")
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.expect("a body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

fn post(path: &str, bytes: usize) -> Request {
    let request = http::Request::post(format!("http://localhost/faulty/{path}"));
    let body = Full::from(vec![b'x'; bytes]).map_err(|never| match never {});
    request.body(body.boxed_unsync()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_goes_in_one_piece_and_a_large_one_as_a_stream() {
    let bench = faulty().await;
    for (request, way) in [
        (get("way"), "whole"),
        (post("way", 64 * 1024), "whole"),
        (post("way", 64 * 1024 + 1), "streams"),
        (slow(Duration::ZERO), "2"),
    ] {
        let answer = send(&bench, request, Duration::from_secs(10)).await;
        assert_eq!(text(answer.expect("an answer")).await, way);
    }
    let read = send(&bench, post("read", 1_000), Duration::from_secs(10)).await;
    assert_eq!(text(read.expect("an answer")).await, "1000");
    let failed = send(&bench, get("unknown"), Duration::from_secs(10)).await;
    assert_eq!(failed.expect("an answer").status(), 500);
    ended(&bench).await;
    assert_eq!(bench.figures(IT).errors, 1);
}

/// Until no call is under way: an answer comes before its call has ended.
async fn ended(bench: &Bench) {
    let until = Instant::now() + Duration::from_secs(10);
    while bench.figures(IT).in_flight > 0 {
        assert!(Instant::now() < until, "it never ends");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One byte of a body at once, and the second one after so long.
fn slow(pause: Duration) -> Request {
    let bytes = futures::stream::unfold(0, move |sent| async move {
        match sent {
            0 => {}
            1 => tokio::time::sleep(pause).await,
            _ => return None,
        }
        Some((Ok(Frame::data(Bytes::from_static(b"x"))), sent + 1))
    });
    let request = http::Request::post("http://localhost/faulty/read");
    let body = StreamBody::new(bytes).boxed_unsync();
    request.body(body).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_send_what_it_promised_does_not_speak_against_the_version() {
    let bench = faulty().await;
    for _ in 0..3 {
        let slow = slow(Duration::from_secs(60));
        let answer = send(&bench, slow, Duration::from_millis(200)).await;
        let error = answer.map(drop);
        assert!(matches!(error, Err(CallError::Client(_))), "{error:?}");
    }
    let figures = bench.figures(IT);
    assert_eq!((figures.calls, figures.errors, figures.excused), (3, 0, 3));
    let p99 = figures.percentile(99).expect("calls");
    assert!(
        p99 < Duration::from_millis(150),
        "{p99:?} of it is the component's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_a_client_takes_is_not_the_components() {
    let bench = faulty().await;
    let slow = slow(Duration::from_millis(500));
    let answer = send(&bench, slow, Duration::from_secs(10)).await;
    assert_eq!(text(answer.expect("an answer")).await, "2");
    // It ends a moment after its answer.
    while bench.figures(IT).in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = bench.figures(IT).percentile(100).expect("a call");
    assert!(took < Duration::from_millis(400), "{took:?}");
}

/// As a server of HTTP/1.1 does it: it takes what the length says, and never asks for the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_does_after_its_answer_is_done_whether_or_not_the_client_is_gone() {
    let ways = [0, 100_000].map(|bytes| [(bytes, false), (bytes, true)]);
    for (bytes, with_length) in ways.into_iter().flatten() {
        let bench = faulty().await;
        let answer = send(&bench, post("later", bytes), Duration::from_secs(10)).await;
        let mut answer = answer.expect("an answer");
        if with_length {
            let mut left: usize = answer.headers()["content-length"]
                .to_str()
                .expect("digits")
                .parse()
                .expect("a length");
            while left > 0 {
                let frame = answer.body_mut().frame().await.expect("more");
                left -= frame.expect("a frame").data_ref().map_or(0, Bytes::len);
            }
            drop(answer);
        } else {
            assert_eq!(text(answer).await, "Later.\n");
        }
        ended(&bench).await;
        let done = send(&bench, get("done"), Duration::from_secs(10)).await;
        assert_eq!(
            text(done.expect("an answer")).await,
            "true",
            "{bytes} {with_length}"
        );
    }
}
