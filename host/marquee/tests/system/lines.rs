//! The host's log, as programs read it: each line is of the schema, and none has what was said in a request.

use std::{
    sync::{LazyLock, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use jsonschema::Validator;
use marquee_testkit::eventually;
use serde_json::{Value, json};

use crate::{
    api::users::Guarded,
    host::{Host, Setup},
    raw,
};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/log.schema.json");
    let text = std::fs::read_to_string(path).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a schema");
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.build(&schema).expect("a schema")
});

/// Every line that a host has written, each held against the schema.
pub(crate) fn read(lines: &[String]) -> Vec<Value> {
    let read = |text: &String| {
        let line: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let wrong: Vec<_> = SCHEMA.iter_errors(&line).map(|it| it.to_string()).collect();
        assert!(wrong.is_empty(), "{text}: {wrong:?}");
        line
    };
    lines.iter().map(read).collect()
}

/// A line of the access log that fits, as soon as it is written. All others are held against the schema, too.
pub(crate) async fn until(host: &Host, fits: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    eventually(Duration::from_secs(10), "a line is written", async || {
        let lines = read(&host.lines().all());
        let mut access = lines.into_iter().filter(|line| line["target"] == "access");
        found = access.find(|line| fits(line));
        found.is_some()
    })
    .await;
    found.expect("it was found")
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_line_is_of_the_schema_and_none_has_what_was_said_in_a_request() {
    let setup = Setup::databases().await;
    let setup = setup.with("MARQUEE_ACCESS_LOG", "all");
    let setup = setup.with("SPIN_VARIABLE_AUTH", "required");
    let host = setup.start().await;
    let guarded = Guarded { host, setup };
    let member = guarded.member("ada").await;
    let known = json!({"login": "ada", "password": "hidden-password"});
    let refused = guarded.ask("POST /v1/sessions", None, &known).await;
    assert_eq!(refused.status, 401, "{refused:?}");

    let host = &guarded.host;
    let ask = async |line: &str, id: &str, status: u16| {
        let token = format!("authorization: Bearer {}", member.access);
        let id = format!("x-request-id: {id}");
        let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let headers = [
            token.as_str(),
            id.as_str(),
            trace,
            "cookie: session=hidden-cookie",
            "user-agent: marquee-test/1",
        ];
        let answer = raw::request(host.address(), line, &headers, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(
            answer.header("marquee-route"),
            None,
            "it is for the host: {answer:?}"
        );
        answer
    };
    let query = "GET /v1/movies?q=hidden-query";
    let one = ask(query, "one", 200).await;
    ask("GET /v1/movies/no-such-id", "two", 400).await;
    ask("GET /nowhere", "three", 404).await;
    ask("PUT /v1/movies", "four", 405).await;
    let done = AtomicUsize::new(0);
    // Nobody's: a user may not ask that often.
    let client = async || {
        while done.fetch_add(1, Ordering::Relaxed) < REQUESTS {
            let headers = ["x-request-id: load"];
            let answer = raw::request(host.address(), query, &headers, "").await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    join_all((0..8).map(|_| client())).await;

    let line = until(host, |line| line["request_id"] == "one").await;
    for (name, value) in [
        ("method", json!("GET")),
        ("route", json!("/v1/movies")),
        ("path", json!("/v1/movies")),
        ("status", json!(200)),
        ("outcome", json!("answered")),
        ("component", json!("gateway")),
        ("client", json!("127.0.0.1")),
        ("user_agent", json!("marquee-test/1")),
        ("bytes_in", json!(0)),
        ("bytes_out", json!(one.body.len())),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    assert!(line["version"].is_string(), "{line}");
    assert_eq!(
        line["trace_id"], "0af7651916cd43dd8448eb211c80319c",
        "{line}"
    );
    for (id, route) in [
        ("two", "/v1/movies/{id}"),
        ("three", "/..."),
        ("four", "/v1/movies"),
    ] {
        let line = until(host, |line| line["request_id"] == id).await;
        assert_eq!(line["route"], route, "{line}");
    }
    let lines = host.lines();
    let (status, _) = guarded.host.stop("TERM").await;
    assert!(status.success());
    let mut of_load = 0;
    eventually(
        Duration::from_secs(10),
        "each request has its line",
        async || {
            let lines = read(&lines.all());
            of_load = lines
                .iter()
                .filter(|line| line["request_id"] == "load")
                .count();
            of_load >= REQUESTS
        },
    )
    .await;
    assert_eq!(of_load, REQUESTS);
    for line in lines.all() {
        for secret in ["hidden", "a quiet harbour", member.access.as_str()] {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
    }
}

/// Beside those of other tests on the same machine.
const REQUESTS: usize = 400;
