//! Spans of rows on their way to the bus, each in the trace that it was published in.
//!
//! A row keeps its trace as a header. The message goes out with the span of its sending in that place, so that whoever
//! reads it goes on from there.

use bytes::Bytes;
use marquee_bus::{Bus, Error, Outgoing};
use marquee_telemetry::traces::{Span, SpanKind, TRACEPARENT, Trace, Traces, names};

/// The sending of a run: of each row that is recorded its place in the run, and its span.
#[derive(Default)]
pub(super) struct Sending(Vec<(usize, Span)>);

/// A run is about to be published. Each that is recorded gets the place of its sending.
pub(super) fn sending(traces: &Traces, bus: &dyn Bus, run: &mut [Outgoing]) -> Sending {
    let mut sending = Sending::default();
    if !traces.is_on() {
        return sending;
    }
    for (place, outgoing) in run.iter_mut().enumerate() {
        let headers = &mut outgoing.record.headers;
        let Some((_, header)) = headers.iter_mut().find(|(name, _)| name == TRACEPARENT) else {
            continue;
        };
        let came_with = Trace::came_with(std::str::from_utf8(header).unwrap_or_default(), None);
        // What is malformed is the publisher's, and goes on as it is.
        if came_with.trace_id().is_none() {
            continue;
        }
        let mut span = traces.begin(&came_with, SpanKind::Producer, "send");
        if !span.is_recorded() {
            continue;
        }
        span.rename(format!("send {}", outgoing.topic));
        if let Some(traceparent) = span.trace().traceparent() {
            *header = Bytes::from(traceparent);
        }
        span.set(names::MESSAGING_SYSTEM, bus.system());
        span.set(names::MESSAGING_DESTINATION, outgoing.topic.clone());
        span.set(names::MESSAGING_OPERATION, "send");
        span.set(names::MESSAGING_OPERATION_TYPE, "send");
        sending.0.push((place, span));
    }
    sending
}

impl Sending {
    /// What the bus said of the run. A row without an answer may be there, or not.
    pub(super) fn ended(self, results: &[Result<(), Error>]) {
        for (place, mut span) in self.0 {
            match results.get(place) {
                Some(Ok(())) => {}
                Some(Err(error)) => span.fail(kind(error), error.to_string()),
                None => span.fail("unanswered", "the bus gave no answer"),
            }
        }
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Refused(_) => "refused",
        _ => "unavailable",
    }
}
