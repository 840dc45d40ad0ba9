//! Traces: which work belongs together, from a request to what comes of its messages.
//!
//! A [`Trace`] is the place in a trace that work belongs to. It travels with the work, in a call, a header or a row, and
//! a [`Span`] is made from it for each part of the work. Spans go to a collector by OTLP, and to whatever else was named
//! when it began.
//!
//! Promise: while nobody listens a span costs a comparison: no clock is read and nothing allocated. What came with a
//! request is passed on all the same. Nobody ever waits for a collector.
//! Bounds: spans that wait to be sent; what is left then is dropped and counted. Not here: what is worth a span.

mod context;
mod export;
pub mod names;
mod queue;
pub mod ring;
mod sampler;
mod settings;
mod span;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use opentelemetry::{
    Context,
    trace::{Link, SpanBuilder, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanProcessor};

use crate::{Metric, Readings, Unit, label};
use context::By;
use queue::Tally;

pub use context::{TRACEPARENT, TRACESTATE, Trace};
pub use export::StartError;
pub use opentelemetry::trace::SpanKind;
pub use sampler::{Sampling, TRACES_A_SECOND};
pub use settings::{Export, Protocol, Queue, Settings, SettingsError};
pub use span::Span;

/// All of them.
pub static METRICS: &[&Metric] = &[&SPANS];

static SPANS: Metric = Metric::counter(
    "marquee_trace_spans",
    Unit::Of("spans"),
    &[&label::OUTCOME],
    "Spans for the collector: `exported`, `failed` (it did not take them, or not in time), or `dropped` (too many waited already).",
);

/// Where spans go. Cheap to clone; the default is nowhere.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Recorder>>);

/// Makes spans.
pub(crate) struct Recorder {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
}

impl Traces {
    /// Begin. Spans go to the collector that the settings name, if they name one, and to each of `also`, which get what is
    /// not sampled for the collector too, of [`TRACES_A_SECOND`] traces at the most. Where there are neither it is off.
    ///
    /// To be called within an async runtime, in which the collector is spoken to.
    pub fn start(
        settings: &Settings,
        also: Vec<Box<dyn SpanProcessor>>,
    ) -> Result<Self, StartError> {
        if settings.export.is_none() && also.is_empty() {
            return Ok(Self::default());
        }
        let tally = Arc::new(Tally::default());
        let provider = export::provider(settings, also, &tally)?;
        let tracer = export::tracer(&provider);
        Ok(Self(Some(Arc::new(Recorder {
            tracer,
            provider,
            tally,
        }))))
    }

    /// Whether spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Work that comes from outside begins: it goes on with the trace that it came with, or begins one.
    pub fn begin(&self, came_with: &Trace, kind: SpanKind, name: &'static str) -> Span {
        let Some(recorder) = &self.0 else {
            return Span::none(came_with.clone());
        };
        recorder.open(came_with, kind, name.into(), Vec::new())
    }

    /// Work that others caused begins, in a trace of its own that links to theirs.
    pub fn linked(
        &self,
        causes: impl IntoIterator<Item = Trace>,
        kind: SpanKind,
        name: &'static str,
    ) -> Span {
        let mut causes = causes.into_iter();
        let Some(recorder) = &self.0 else {
            // It can go on with one of them.
            let first = causes.find(|cause| cause.context().is_some());
            return Span::none(first.unwrap_or_default());
        };
        let links = causes.filter_map(|cause| cause.context().cloned());
        let links = links.map(Link::with_context);
        recorder.open(&Trace::default(), kind, name.into(), links.collect())
    }

    /// Send what waits, for so long at the most; no span is recorded any more.
    pub async fn stop(&self, within: Duration) {
        let Some(recorder) = self.0.clone() else {
            return;
        };
        let stopped =
            tokio::task::spawn_blocking(move || recorder.provider.shutdown_with_timeout(within));
        match tokio::time::timeout(within, stopped).await {
            Ok(Ok(Ok(()))) => {}
            _ => tracing::warn!("the last spans could not be sent in time"),
        }
    }

    /// What became of spans.
    pub fn read(&self, into: &mut Readings) {
        let Some(recorder) = &self.0 else {
            return;
        };
        for (outcome, spans) in recorder.tally.read() {
            into.count(&SPANS, &[outcome], spans);
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.is_on()).finish()
    }
}

impl Recorder {
    /// Open a span under `parent`. The sampler says whether it is recorded; a parent of our own has been asked about
    /// before.
    fn open(
        self: &Arc<Self>,
        parent: &Trace,
        kind: SpanKind,
        name: Cow<'static, str>,
        links: Vec<Link>,
    ) -> Span {
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        let builder = match links.is_empty() {
            true => builder,
            false => builder.with_links(links),
        };
        let within = Context::new();
        let within = match parent.context() {
            Some(context) => within.with_remote_span_context(context.clone()),
            None => within,
        };
        let span = self.tracer.build_with_context(builder, &within);
        Span::of(span, parent, self)
    }
}
