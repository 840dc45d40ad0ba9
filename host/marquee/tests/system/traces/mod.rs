//! One trace, from a request to what comes of its messages, as a collector gets it. `--nocapture` shows it.

use marquee_testkit::{broker, eventually};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, any_value::Value},
    trace::v1::Span,
};

use self::{
    collector::Collector,
    tree::{attribute, hex, tree},
};
use crate::{
    bus::{PATIENCE, client, served},
    host::{Host, Setup},
    raw,
    releases::{done, remade},
};

mod collector;
mod tree;

const MOVIE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const RATING: &str = "0af7651916cd43dd8448eb211c80319c";
const UNSAMPLED: &str = "11111111111111111111111111111111";

/// A value as text.
fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

async fn put(host: &Host, line: &str, parent: &str, body: &str) -> raw::Answer {
    let parent = format!("traceparent: {parent}");
    let headers = ["content-type: application/json", &parent];
    raw::request(host.address(), line, &headers, body).await
}

/// Spans of these names, each a part of the one before it: the last one.
fn chain<'a>(spans: &'a [Span], trace: &str, names: &[&str]) -> Option<&'a Span> {
    let trace: Vec<&Span> = spans
        .iter()
        .filter(|span| hex(&span.trace_id) == trace)
        .collect();
    let mut within: Option<Vec<&Span>> = None;
    for name in names {
        let fits = |span: &&&Span| {
            let is_within = within.as_ref().is_none_or(|outer| {
                let mut outer = outer.iter();
                outer.any(|outer| outer.span_id == span.parent_span_id)
            });
            is_within && span.name.starts_with(name)
        };
        within = Some(trace.iter().filter(fits).copied().collect());
    }
    within?.first().copied()
}

/// A movie and its rating; the rating is applied by another version than the one that was live when it was sent.
async fn is_one_trace_from_request_to_effect(setup: Setup, collector: &Collector, system: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .with("OTEL_EXPORTER_OTLP_HEADERS", "tenant=films%20and%20more")
        .with("OTEL_SERVICE_NAME", "films")
        .with("OTEL_BSP_SCHEDULE_DELAY", "100");
    let host = setup.start().await;
    let client = client(&host.url);
    let parent = format!("00-{MOVIE}-b7ad6b7169203331-01");
    let heat = r#"{"title":"Heat","year":1995,"description":"secret","director":"Michael Mann"}"#;
    let movie = put(&host, "POST /v1/movies", &parent, heat).await;
    assert_eq!(movie.status, 201, "{movie:?}");
    let id = movie.json()["id"].as_str().expect("an id").to_owned();

    done(&setup, &["consumers", "pause", "rating", "ratings"]);
    let line = format!("PUT /v1/movies/{id}/ratings/ann");
    let parent = format!("00-{RATING}-b7ad6b7169203331-01");
    let rated = put(&host, &line, &parent, r#"{"value":8}"#).await;
    assert_eq!(rated.status, 202, "{rated:?}");
    let next = remade("rating", "next", folder.path());
    done(&setup, &["deploy", "rating", &next, "--label", "next"]);
    done(&setup, &["consumers", "resume", "rating", "ratings"]);
    served(&client, &id, 1, 8.0).await;
    let line = format!("PUT /v1/movies/{id}/ratings/bob");
    let parent = format!("00-{UNSAMPLED}-b7ad6b7169203331-00");
    let rated = put(&host, &line, &parent, r#"{"value":6}"#).await;
    assert_eq!(rated.status, 202, "{rated:?}");
    served(&client, &id, 2, 7.0).await;

    let of_movie = [
        "POST /v1/movies",
        "gateway handle",
        "metadata movie:metadata/",
        "",
        "send metadata",
        "process metadata",
        "rating handle messages",
    ];
    let of_rating = [
        "PUT /v1/movies/{id}/ratings/{user}",
        "gateway handle",
        "send ratings",
        "process ratings",
        "rating handle messages",
    ];
    let mut spans = Vec::new();
    eventually(PATIENCE, "both traces have come", async || {
        spans = collector.spans();
        let committed = |of: &[&'static str]| {
            let mut names = of.to_vec();
            names.pop();
            names.push("COMMIT rating");
            names
        };
        [(MOVIE, &of_movie[..]), (RATING, &of_rating)]
            .iter()
            .all(|(trace, of)| chain(&spans, trace, &committed(of)).is_some())
    })
    .await;
    let shown = [MOVIE, RATING].map(|trace| tree(&spans, trace));
    eprintln!("--- a movie, over {system}\n{}", shown[0]);
    eprintln!("--- a rating, over {system}\n{}", shown[1]);

    let request = chain(&spans, RATING, &of_rating[..1]).expect("the request");
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!(
        attribute(request, "http.route").as_deref(),
        Some("/v1/movies/{id}/ratings/{user}")
    );
    let status = attribute(request, "http.response.status_code");
    assert_eq!(status.as_deref(), Some("202"));
    let sent = chain(&spans, RATING, &of_rating[..3]).expect("its sending");
    assert_eq!(attribute(sent, "messaging.system").as_deref(), Some(system));

    let asked = chain(
        &spans,
        RATING,
        &[
            "PUT /v1/movies/{id}/ratings/{user}",
            "gateway handle",
            "metadata ",
            "SELECT",
        ],
    );
    let asked = asked.expect("whether there is such a movie");
    assert_eq!(
        attribute(asked, "db.namespace").as_deref(),
        Some("metadata")
    );
    assert!(attribute(asked, "db.response.returned_rows").is_some());

    let applied = chain(&spans, RATING, &of_rating).expect("what applied it");
    assert_eq!(attribute(applied, "marquee.label").as_deref(), Some("next"));
    assert_eq!(
        attribute(applied, "marquee.role").as_deref(),
        Some("stable")
    );
    let before = chain(&spans, MOVIE, &of_movie).expect("what knew of the movie");
    assert_eq!(attribute(before, "marquee.label"), None);
    assert_ne!(
        attribute(applied, "marquee.version"),
        attribute(before, "marquee.version"),
        "the version changed in between"
    );
    let written = [&of_rating[..], &[""]].concat();
    let written = chain(&spans, RATING, &written).expect("its SQL");
    assert_eq!(
        attribute(written, "db.system.name").as_deref(),
        Some("postgresql")
    );

    let all = format!("{spans:?}");
    assert!(
        !all.contains("secret") && !all.contains("Michael Mann"),
        "a value went along"
    );
    assert_eq!(tree(&spans, UNSAMPLED), "", "whoever asked did not want it");
    assert!(
        collector
            .services()
            .iter()
            .all(|service| service == "films")
    );
    let tenants = collector.tenants();
    assert!(
        tenants.iter().all(|tenant| tenant == "films and more"),
        "{tenants:?}"
    );
    let admin = host.admin.trim_start_matches("http://").to_owned();
    let metrics = raw::request(&admin, "GET /metrics", &[], "").await.body;
    assert!(metrics.contains("marquee_trace_spans_total{outcome=\"exported\"}"));
    assert!(
        metrics.contains("marquee_trace_spans_total{outcome=\"dropped\"} 0"),
        "{metrics}"
    );
    host.stop("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_is_one_trace_over_the_embedded_bus_and_through_a_swap() {
    let collector = Collector::start().await;
    let setup = Setup::databases().await;
    is_one_trace_from_request_to_effect(setup, &collector, "marquee").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_is_one_trace_over_kafka_and_through_a_swap() {
    let collector = Collector::start().await;
    let server = broker().await;
    let setup = Setup::kafka(server.brokers()).await;
    let setup = setup.with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    is_one_trace_from_request_to_effect(setup, &collector, "kafka").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_settings_of_traces_that_cannot_be_does_not_start_and_says_why() {
    let setup = Setup::databases()
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318");
    let said = setup.refused().await;
    assert!(
        said.contains(
            "OTEL_EXPORTER_OTLP_ENDPOINT is \"collector:4318\", and has to be an address"
        ),
        "{said}"
    );
}
