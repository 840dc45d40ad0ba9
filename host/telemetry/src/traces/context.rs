//! A place in a trace, and its form in headers (W3C Trace Context).

use std::{borrow::Cow, fmt, str::FromStr as _, sync::Arc};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};

use super::{Recorder, Span};

/// The place in a trace that work belongs to, if it belongs to any. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Place>>);

pub(super) struct Place {
    pub(super) context: SpanContext,
    pub(super) by: By,
}

/// Whose span it is.
pub(super) enum By {
    /// Somebody else's, or one of ours that was read from where it was written.
    Others,
    /// Ours, and nobody keeps it.
    Nobody,
    /// Ours.
    Us(Arc<Recorder>),
}

impl Trace {
    /// What a `traceparent` and a `tracestate` say. One that is malformed is as good as none.
    pub fn came_with(traceparent: &str, tracestate: Option<&str>) -> Self {
        let Some((trace_id, span_id, flags)) = parse(traceparent) else {
            return Self::default();
        };
        let state = tracestate.filter(|text| text.len() <= STATE_BYTES);
        let state = state.and_then(|text| TraceState::from_str(text).ok());
        let state = state.unwrap_or_default();
        Self::of(&SpanContext::new(trace_id, span_id, flags, true, state))
    }

    /// Whether spans of it are kept.
    pub fn is_recorded(&self) -> bool {
        matches!(&self.0, Some(place) if matches!(place.by, By::Us(_)))
    }

    /// A part of the work at this place begins. `name` is asked for only where it is recorded.
    pub fn span<N: Into<Cow<'static, str>>>(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> N,
    ) -> Span {
        match &self.0 {
            Some(place) => match &place.by {
                By::Us(recorder) => recorder.open(self, kind, name().into(), Vec::new()),
                By::Nobody | By::Others => Span::none(self.clone()),
            },
            None => Span::none(Self::default()),
        }
    }

    /// For whom the work is handed on to. None: it belongs to no trace.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.context()?;
        Some(format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags() & TraceFlags::SAMPLED
        ))
    }

    /// What else goes along, where there is anything.
    pub fn tracestate(&self) -> Option<String> {
        let state = self.context()?.trace_state().header();
        (!state.is_empty()).then_some(state)
    }

    /// The trace, in hexadecimal.
    pub fn trace_id(&self) -> Option<impl fmt::Display + use<>> {
        self.context().map(SpanContext::trace_id)
    }

    /// The span, in hexadecimal, if it is kept.
    pub fn span_id(&self) -> Option<impl fmt::Display + use<>> {
        let context = self.context().filter(|_| self.is_recorded());
        context.map(SpanContext::span_id)
    }

    /// Of somebody else.
    pub(super) fn of(context: &SpanContext) -> Self {
        Self::at(context.clone(), By::Others)
    }

    pub(super) fn at(context: SpanContext, by: By) -> Self {
        Self(Some(Arc::new(Place { context, by })))
    }

    pub(super) fn context(&self) -> Option<&SpanContext> {
        self.0.as_deref().map(|place| &place.context)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.traceparent()).finish()
    }
}

/// Ids and flags of a `traceparent`, checked for its form. Later versions begin as this one does.
fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let hex = |part: &str, length| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        part.len() == length && part.bytes().all(digit)
    };
    let mut parts = text.splitn(5, '-');
    let version = parts.next().filter(|part| hex(part, 2) && *part != "ff")?;
    let trace_id = parts.next().filter(|part| hex(part, 32))?;
    let span_id = parts.next().filter(|part| hex(part, 16))?;
    let flags = parts.next().filter(|part| hex(part, 2))?;
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let trace_id = TraceId::from_hex(trace_id).ok()?;
    let span_id = SpanId::from_hex(span_id).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let is_one = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    is_one.then_some((trace_id, span_id, flags))
}

/// The header in which a trace travels, with requests and with messages: W3C's.
pub const TRACEPARENT: &str = "traceparent";
/// What else goes along with a request, of those who keep traces.
pub const TRACESTATE: &str = "tracestate";
/// As much of a `tracestate` as everybody has to pass on.
const STATE_BYTES: usize = 512;
