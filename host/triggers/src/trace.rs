//! Spans of what comes from outside: requests, messages, and what is due.
//!
//! A request goes on with the trace that it came with, and so does a message that is delivered alone. A batch belongs to as
//! many traces as it has messages: it has one of its own, which links to each. So has a retry: what happened before is over.

use http::{HeaderMap, Method, Request, StatusCode};
use marquee_delivery::{Message, partition::Delivered};
use marquee_telemetry::traces::{Span, SpanKind, TRACEPARENT, TRACESTATE, Trace, Traces, names};

use crate::work::Refusal;

/// A request comes in.
pub(crate) fn request<B>(traces: &Traces, request: &Request<B>) -> Span {
    let method = request.method();
    let came_with = came_with(request.headers());
    let mut span = traces.begin(&came_with, SpanKind::Server, "HTTP");
    if span.is_recorded() {
        span.rename(known(method).to_owned());
        span.set(names::HTTP_METHOD, known(method));
        span.set(names::URL_PATH, request.uri().path().to_owned());
    }
    span
}

/// Where it goes.
pub(crate) fn routed(span: &mut Span, method: &Method, route: &str) {
    if span.is_recorded() {
        span.rename(format!("{} {route}", known(method)));
    }
}

/// What is answered, and by which route. What the client did wrong is no failure of the host's.
pub(crate) fn answered(span: &mut Span, route: Option<&str>, request_id: &str, status: StatusCode) {
    if !span.is_recorded() {
        return;
    }
    if let Some(route) = route {
        span.set(names::HTTP_ROUTE, route.to_owned());
    }
    span.set(names::REQUEST_ID, request_id.to_owned());
    span.set(names::HTTP_STATUS, i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned(), "");
    }
}

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// From this partition, for the first time.
    Fresh(i32),
    /// They were parked, and are due.
    Again,
}

/// Messages are given to a component.
pub(crate) fn messages(
    traces: &Traces,
    system: &'static str,
    consumer: &str,
    coming: Coming,
    messages: &[Message],
) -> Span {
    let mut span = match (coming, messages) {
        (Coming::Fresh(_), [one]) => traces.begin(&cause(one), SpanKind::Consumer, "process"),
        _ => traces.linked(messages.iter().map(cause), SpanKind::Consumer, "process"),
    };
    if !span.is_recorded() {
        return span;
    }
    if let Some(first) = messages.first() {
        span.rename(format!("process {}", first.topic));
        span.set(names::MESSAGING_DESTINATION, first.topic.clone());
        span.set(names::ATTEMPT, i64::from(first.attempt));
    }
    span.set(names::MESSAGING_SYSTEM, system);
    span.set(names::MESSAGING_OPERATION, "process");
    span.set(names::MESSAGING_OPERATION_TYPE, "process");
    span.set(names::MESSAGING_GROUP, consumer.to_owned());
    if let Coming::Fresh(partition) = coming {
        span.set(names::MESSAGING_PARTITION, partition.to_string());
    }
    match messages {
        [one] => span.set(names::MESSAGING_MESSAGE_ID, one.event_id.to_string()),
        many => span.set(
            names::MESSAGING_BATCH,
            i64::try_from(many.len()).unwrap_or(i64::MAX),
        ),
    }
    span
}

/// What became of them.
pub(crate) fn settled(span: &mut Span, settled: &Result<Delivered, Refusal>) {
    match settled {
        Err(refusal) => refused(span, refusal),
        Ok(Delivered::Split(_)) => span.fail("split", "it goes on in smaller parts"),
        Ok(_) => {}
    }
}

/// A job is due.
pub(crate) fn job(traces: &Traces, component: &str, job: &str, attempt: u32) -> Span {
    let mut span = traces.linked([], SpanKind::Internal, "job");
    if span.is_recorded() {
        span.rename(format!("job {job}"));
        span.set(names::COMPONENT, component.to_owned());
        span.set(names::SCHEDULE, job.to_owned());
        span.set(names::ATTEMPT, i64::from(attempt));
    }
    span
}

/// Work came to nothing.
pub(crate) fn refused(span: &mut Span, refusal: &Refusal) {
    if !span.is_recorded() {
        return;
    }
    match refusal {
        Refusal::Conflict => span.fail("conflict", "another transaction was in the way"),
        Refusal::Failed(how) => span.fail("failed", how.clone()),
        Refusal::Error(error) => span.fail("unavailable", marquee_runtime::chain(error)),
    }
}

fn cause(message: &Message) -> Trace {
    let mut headers = message.headers.iter();
    let header = headers.find(|(name, _)| name == TRACEPARENT);
    header.map_or_else(Trace::default, |(_, text)| Trace::came_with(text, None))
}

fn came_with(headers: &HeaderMap) -> Trace {
    let Some(parent) = headers.get(TRACEPARENT) else {
        return Trace::default();
    };
    let states = headers.get_all(TRACESTATE).iter();
    let states: Vec<&str> = states.filter_map(|state| state.to_str().ok()).collect();
    let states = (!states.is_empty()).then(|| states.join(","));
    Trace::came_with(parent.to_str().unwrap_or_default(), states.as_deref())
}

/// One that nobody knows could be anything.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}
