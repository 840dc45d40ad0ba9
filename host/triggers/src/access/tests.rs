use std::{
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};

use super::*;

/// What was written, as somebody reads it.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<Value>>>);

impl Page {
    fn lines(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.lock().expect("no panic")
    }
}

impl Sink for Page {
    fn write(&self, line: &Line<'_>) {
        let line = serde_json::to_value(line).expect("JSON");
        self.lines().push(line);
    }

    fn dropped(&self) -> u64 {
        0
    }
}

fn all() -> (Arc<AccessLog>, Page) {
    let page = Page::default();
    (AccessLog::new(Which::All, page.clone()), page)
}

/// One that came so long ago.
fn entry(log: &Arc<AccessLog>, ago: Duration) -> Box<Entry> {
    let request = Request::builder()
        .method("PUT")
        .uri("http://films.example/v1/movies/7?key=a%20secret")
        .header(header::AUTHORIZATION, "Bearer a-secret")
        .header(header::USER_AGENT, "curl/8".to_owned() + &"x".repeat(1_000));
    let came = Came {
        at: Instant::now() - ago,
        request_id: "r-1",
        client: Ipv4Addr::LOCALHOST.into(),
        trace: Some(TraceIds {
            trace: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span: "b7ad6b7169203331".to_owned(),
        }),
        progress: Arc::default(),
    };
    let request = request.body(()).expect("a request");
    Box::new(Entry::new(log, &request, came))
}

fn answer(mut entry: Box<Entry>, status: u16) -> Logged<Full<Bytes>> {
    let status = StatusCode::from_u16(status).expect("a status");
    let gateway = "gateway".parse().expect("a name");
    let answerer = Some((&gateway, None));
    entry.answered(status, &HeaderMap::new(), Some("/v1/movies/{id}"), answerer);
    Logged::new(Full::from("a secret, too"), Some(entry))
}

fn whole(entry: Box<Entry>, status: u16) {
    block_on(answer(entry, status).collect()).expect("a body");
}

#[test]
fn a_line_says_what_became_of_a_request_and_nothing_that_was_said_in_it() {
    let (log, page) = all();
    whole(entry(&log, Duration::ZERO), 200);
    let mut line = page.lines().pop().expect("a line");
    assert!(!line.to_string().contains("secret"), "{line}");
    let took = line["duration_ms"].take().as_f64().expect("a number");
    assert!((0.0..1_000.0).contains(&took), "{took}");
    let agent = line["user_agent"].take();
    assert_eq!(agent.as_str().map(str::len), Some(256));
    let expected = json!({
        "request_id": "r-1", "method": "PUT", "route": "/v1/movies/{id}", "path": "/v1/movies/7", "protocol": "HTTP/1.1",
        "status": 200, "outcome": "answered", "duration_ms": null, "bytes_in": 0, "bytes_out": 13, "component": "gateway",
        "client": "127.0.0.1", "user_agent": null, "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
    });
    assert_eq!(line, expected);
}

#[test]
fn a_request_whose_client_goes_away_has_a_line_that_says_so() {
    let (log, page) = all();
    drop(entry(&log, Duration::ZERO));
    drop(answer(entry(&log, Duration::ZERO), 200));
    let mut broken = entry(&log, Duration::ZERO);
    broken.answered(StatusCode::OK, &HeaderMap::new(), None, None);
    let pieces = futures::stream::iter([Err::<http_body::Frame<Bytes>, _>("it broke off")]);
    let body = Logged::new(StreamBody::new(pieces), Some(broken));
    block_on(body.collect()).expect_err("it breaks off");
    let lines = page.lines();
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line["outcome"].as_str(), line["status"].as_u64()))
        .collect();
    let expected = [
        (Some("abandoned"), None),
        (Some("cut_short"), Some(200)),
        (Some("cut_short"), Some(200)),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_sampled_log_has_all_that_went_wrong_or_was_slow_and_says_how_many_it_left_out() {
    let page = Page::default();
    let which = Which::Sampled {
        rate: NonZeroU32::MIN,
        slow: Duration::from_secs(1),
    };
    let log = AccessLog::new(which, page.clone());
    let statuses = |page: &Page| -> Vec<_> {
        let lines = page.lines();
        let status = |line: &Value| (line["status"].as_u64(), line["left_out"].as_u64());
        lines.iter().map(status).collect()
    };
    for status in [200, 201, 404, 500, 503] {
        whole(entry(&log, Duration::ZERO), status);
    }
    whole(entry(&log, Duration::from_secs(2)), 200);
    let expected = [
        (Some(200), None),
        (Some(500), Some(2)),
        (Some(503), None),
        (Some(200), None),
    ];
    assert_eq!(statuses(&page), expected);
    let mut readings = Readings::default();
    log.read(&mut readings);
    let said = readings.text(marquee_telemetry::Format::Prometheus);
    let said = said.expect("a text");
    for line in [
        "marquee_access_log_lines_total{outcome=\"written\"} 4",
        "marquee_access_log_lines_total{outcome=\"left_out\"} 2",
        "marquee_access_log_lines_total{outcome=\"dropped\"} 0",
    ] {
        assert!(said.lines().any(|it| it == line), "{line}: {said}");
    }
}
