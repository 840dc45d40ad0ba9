use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter},
};
use tokio::sync::{Notify, Semaphore};

use super::{
    queue::{Counted, Gate},
    *,
};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// All spans that ended.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<SpanData>>>);

impl Seen {
    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

impl SpanProcessor for Seen {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().expect("not poisoned").push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn settings(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let known: HashMap<&str, &str> = variables.iter().copied().collect();
    let asked = |name: &str| known.get(name).map(|value| (*value).to_owned());
    Settings::parse("movies", asked).map_err(|error| error.to_string())
}

fn listening() -> (Traces, Seen) {
    let seen = Seen::default();
    let settings = settings(&[]).expect("they are right");
    let traces = Traces::start(&settings, vec![Box::new(seen.clone())]);
    (traces.expect("it starts"), seen)
}

#[test]
fn while_nobody_listens_what_came_with_a_request_is_passed_on_as_it_came() {
    let off = Traces::start(&settings(&[]).expect("they are right"), Vec::new());
    let off = off.expect("it starts");
    assert!(!off.is_on());
    let request = off.begin(
        &Trace::came_with(CALLER, None),
        SpanKind::Server,
        "GET /...",
    );
    let part = request.trace().span(SpanKind::Internal, || -> String {
        panic!("nobody asks for its name")
    });
    assert!(!part.is_recorded());
    assert_eq!(part.trace().traceparent().as_deref(), Some(CALLER));
    let alone = off.begin(&Trace::default(), SpanKind::Server, "GET /...");
    assert_eq!(alone.trace().traceparent(), None);
    let batch = off.linked(
        [request.trace().clone()],
        SpanKind::Consumer,
        "process ratings",
    );
    assert_eq!(batch.trace().traceparent().as_deref(), Some(CALLER));
}

#[test]
fn what_is_no_traceparent_is_as_good_as_none() {
    let check = |text: &str, is_one: bool| {
        let known = Trace::came_with(text, None).traceparent();
        assert_eq!(known.is_some(), is_one, "{text}");
    };
    check(CALLER, true);
    check(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        true,
    );
    // A later version may say more.
    check(
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        true,
    );
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é",
    ] {
        check(text, false);
    }
}

#[test]
fn parts_of_work_are_children_and_say_what_they_were() {
    let (traces, seen) = listening();
    let came = Trace::came_with(CALLER, Some("vendor=1"));
    let mut request = traces.begin(&came, SpanKind::Server, "GET /...");
    let mut part = request.trace().span(SpanKind::Client, || "select rating");
    part.set(names::DB_QUERY, "x".repeat(5_000));
    part.fail("40001", "it was in the way of another");
    assert_eq!(part.trace().tracestate().as_deref(), Some("vendor=1"));
    let mut event = traces.linked(
        [part.trace().clone()],
        SpanKind::Consumer,
        "process ratings",
    );
    event.link(&came);
    drop(part);
    request.set(names::HTTP_STATUS, 503_i64);
    drop(request);
    drop(event);
    let [part, request, event] = &seen.take()[..] else {
        panic!("three spans")
    };
    let trace = |span: &SpanContext| span.trace_id().to_string();
    assert_eq!(
        trace(&part.span_context),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(part.parent_span_id, request.span_context.span_id());
    assert!(!part.parent_span_is_remote && request.parent_span_is_remote);
    assert_eq!(request.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(part.attributes[0].value.as_str().len(), 2_048);
    assert_eq!(part.attributes[1].key.as_str(), names::ERROR_TYPE);
    assert_ne!(trace(&event.span_context), trace(&request.span_context));
    let links = event.links.iter().map(|link| link.span_context.span_id());
    assert_eq!(
        links.collect::<Vec<_>>(),
        [part.span_context.span_id(), request.parent_span_id]
    );
}

#[test]
fn beside_a_collector_so_many_traces_are_told_and_whoever_asked_is_not_told_otherwise() {
    let (traces, seen) = listening();
    for _ in 0..1_000 {
        let request = traces.begin(&Trace::default(), SpanKind::Server, "GET /...");
        let parent = request.trace().traceparent().expect("it has one");
        assert!(parent.ends_with("-00"), "nobody samples it: {parent}");
        let sampled = traces.begin(
            &Trace::came_with(CALLER, None),
            SpanKind::Server,
            "GET /...",
        );
        let parent = sampled.trace().traceparent().expect("it has one");
        assert!(parent.ends_with("-01"), "somebody samples it: {parent}");
    }
    let told = seen.take().len();
    // Time passes meanwhile.
    assert!((50..200).contains(&told), "{told}");
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_as_that_and_no_part_of_it_is_kept() {
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ]);
    let traces = Traces::start(&settings.expect("they are right"), Vec::new());
    let traces = traces.expect("it starts");
    let mine = traces.begin(&Trace::default(), SpanKind::Server, "GET /...");
    assert!(!mine.is_recorded());
    let part = mine.trace().span(SpanKind::Internal, || "a part");
    assert!(!part.is_recorded());
    let passed_on = part.trace().traceparent().expect("it has one");
    assert!(passed_on.ends_with("-00"), "{passed_on}");
    let theirs = traces.begin(
        &Trace::came_with(CALLER, None),
        SpanKind::Server,
        "GET /...",
    );
    assert!(theirs.is_recorded(), "whoever asked wants it");
    let event = traces.linked(
        [theirs.trace().clone(), mine.trace().clone()],
        SpanKind::Consumer,
        "process t",
    );
    assert!(event.is_recorded(), "what it caused too");
}

#[tokio::test]
async fn spans_that_nobody_takes_are_counted() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    for protocol in ["http/protobuf", "grpc"] {
        let settings = settings(&[
            endpoint,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ]);
        let settings = settings.expect("they are right");
        let traces = Traces::start(&settings, Vec::new()).expect("it starts");
        for _ in 0..3 {
            drop(traces.begin(&Trace::default(), SpanKind::Server, "GET /..."));
        }
        traces.stop(Duration::from_secs(20)).await;
        let mut readings = Readings::default();
        traces.read(&mut readings);
        let text = readings.text(crate::Format::Prometheus).expect("a text");
        assert!(
            text.contains("marquee_trace_spans_total{outcome=\"failed\"} 3"),
            "{protocol}: {text}"
        );
        let late = traces.begin(&Trace::default(), SpanKind::Server, "GET /...");
        assert!(!late.is_recorded());
    }
}

/// A collector that takes a batch only when it may.
#[derive(Debug, Clone)]
struct Slow {
    asked: Arc<Notify>,
    may: Arc<Semaphore>,
}

impl SpanExporter for Slow {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        self.asked.notify_one();
        self.may.acquire().await.expect("it is open").forget();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_spans_than_may_wait_are_dropped_and_counted() {
    let slow = Slow {
        asked: Arc::default(),
        may: Arc::new(Semaphore::new(0)),
    };
    let tally = Arc::new(Tally::default());
    let exporter = Counted::new(slow.clone(), Duration::from_secs(30), &tally);
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(2)
        .with_max_export_batch_size(1)
        .with_scheduled_delay(Duration::from_secs(600));
    let gate = Gate {
        inner: BatchSpanProcessor::new(exporter, batches.build()),
        places: 2,
        tally: Arc::clone(&tally),
    };
    let span = {
        let (traces, seen) = listening();
        let came = Trace::came_with(CALLER, None);
        drop(traces.begin(&came, SpanKind::Server, "GET /..."));
        seen.take().remove(0)
    };
    gate.on_end(span.clone());
    slow.asked.notified().await;
    for _ in 0..5 {
        gate.on_end(span.clone());
    }
    slow.may.add_permits(10);
    let stopped =
        tokio::task::spawn_blocking(move || gate.shutdown_with_timeout(Duration::from_secs(20)));
    stopped.await.expect("it ends").expect("in time");
    assert_eq!(
        tally.read(),
        [("exported", 3), ("failed", 0), ("dropped", 3)]
    );
}

#[test]
fn the_standard_variables_say_where_spans_go() {
    assert_eq!(settings(&[]).expect("right").export, None);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let off = settings(&[endpoint, (name, value)]);
        assert_eq!(off.expect("right").export, None, "{name}");
    }
    let all = settings(&[
        endpoint,
        ("OTEL_SERVICE_NAME", "films"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=a%20b,service.name=other",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20x=,tenant=1",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ]);
    let all = all.expect("right");
    assert_eq!(all.service, "films");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(all.attributes, [pair("deployment.environment.name", "a b")]);
    let export = all.export.expect("a collector");
    assert_eq!(export.endpoint.as_str(), "http://collector:4318/v1/traces");
    assert_eq!(
        export.headers,
        [pair("authorization", "Bearer x="), pair("tenant", "1")]
    );
    assert_eq!(export.timeout, Duration::from_millis(500));
    let sampling = Sampling {
        by_parent: true,
        ratio: 0.25,
    };
    assert_eq!(export.sampling, sampling);
    let queue = Queue {
        spans: 100,
        batch: 100,
        delay: Duration::from_millis(200),
        ..Queue::default()
    };
    assert_eq!(export.queue, queue);
    let own = settings(&[
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "https://traces:4318/x",
        ),
        endpoint,
    ]);
    let own = own.expect("right").export.expect("a collector");
    assert_eq!(own.endpoint.as_str(), "https://traces:4318/x");
    let grpc = settings(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    let grpc = grpc.expect("right").export.expect("a collector");
    assert_eq!(grpc.protocol, Protocol::Grpc);
    assert_eq!(grpc.endpoint.as_str(), "http://collector:4318/");
}

#[test]
fn a_variable_that_says_nothing_that_can_be_done_is_refused() {
    let check = |name: &str, value: &str, message: &str| {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let error = settings(&[endpoint, (name, value)]).expect_err(name);
        assert_eq!(error, message);
    };
    check(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/json",
        r#"OTEL_EXPORTER_OTLP_PROTOCOL is "http/json", and has to be http/protobuf or grpc"#,
    );
    check(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "collector:4318",
        r#"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is "collector:4318", and has to be an address such as http://127.0.0.1:4318"#,
    );
    check(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "secret",
        r#"OTEL_EXPORTER_OTLP_HEADERS is "...", and has to be pairs such as a=1,b=2, with what else is in a value percent-encoded"#,
    );
    check(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "gzip",
        r#"OTEL_EXPORTER_OTLP_COMPRESSION is "gzip", and has to be none"#,
    );
    for (name, value) in [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
    ] {
        assert!(
            settings(&[(name, value), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")]).is_err(),
            "{name}"
        );
    }
    let ratio = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    assert!(settings(&ratio).is_err());
}
