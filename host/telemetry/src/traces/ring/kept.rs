//! One trace: its spans so far, and what is known of it without looking at them again.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue, Value,
    trace::{SpanId, Status, TraceId},
};
use opentelemetry_sdk::trace::SpanData;
use serde::{Deserialize, Serialize};

use crate::traces::names;

/// A trace in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id: 32 hexadecimal digits.
    pub trace: String,
    /// What began it: method and path of a request, else what its span is called.
    pub name: String,
    /// The route of the request that began it.
    pub route: Option<String>,
    /// The components that did something in it, in the order in which they began.
    pub components: Vec<String>,
    /// When it began, in milliseconds since 1970.
    pub start_ms: u64,
    /// How long the span that began it took, in microseconds.
    pub took_us: u64,
    /// The status that a request was answered with.
    pub status: Option<i64>,
    /// Whether that span failed.
    pub failed: bool,
    /// How many of its spans failed.
    pub errors: usize,
    /// How many spans there are.
    pub spans: usize,
    /// Whether the span that began it has ended.
    pub whole: bool,
}

/// A trace that is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    spans: Vec<SpanData>,
    /// Where the span that began it is among them, as far as is known.
    first: usize,
    errors: usize,
    /// The components, and when each began.
    components: Vec<(SystemTime, Value)>,
    /// The traces that its spans are linked to.
    pub(super) links: HashSet<TraceId>,
    /// Spans that found no room.
    pub(super) left_out: usize,
    /// What it takes in memory, roughly.
    pub(super) bytes: usize,
}

impl Kept {
    /// One span more, if there is room for it. Returns how many bytes it takes.
    pub(super) fn take(&mut self, span: SpanData, most: usize) -> usize {
        if self.spans.len() >= most {
            self.left_out += 1;
            return 0;
        }
        if is_failed(&span) {
            self.errors += 1;
        }
        if let Some(component) = attribute(&span, names::COMPONENT) {
            let known = self.components.iter_mut().find(|(_, it)| it == component);
            match known {
                Some((began, _)) => *began = span.start_time.min(*began),
                None => self.components.push((span.start_time, component.clone())),
            }
        }
        let own = span.span_context.trace_id();
        let others = span.links.iter().map(|link| link.span_context.trace_id());
        self.links.extend(others.filter(|other| *other != own));
        let mut bytes = size(&span);
        if self.spans.is_empty() {
            bytes += size_of::<Self>();
        }
        if self.first().is_none_or(|first| begins(&span, first)) {
            self.first = self.spans.len();
        }
        self.spans.push(span);
        self.bytes += bytes;
        bytes
    }

    pub(super) fn spans(&self) -> &[SpanData] {
        &self.spans
    }

    /// The span that began it, as far as is known.
    fn first(&self) -> Option<&SpanData> {
        self.spans.get(self.first)
    }

    /// The name of what began it, which many have.
    pub(super) fn name(&self) -> &str {
        self.first().map_or("", |first| &first.name)
    }

    /// When it began.
    pub(super) fn began(&self) -> SystemTime {
        self.first()
            .map_or(SystemTime::UNIX_EPOCH, |it| it.start_time)
    }

    /// How long what began it took.
    pub(super) fn took(&self) -> Duration {
        self.first().map(took).unwrap_or_default()
    }

    /// Whether what began it failed.
    pub(super) fn failed(&self) -> bool {
        self.first().is_some_and(is_failed)
    }

    /// How many of its spans did.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn route(&self) -> Option<&str> {
        text(self.first()?, names::HTTP_ROUTE)
    }

    pub(super) fn has_part(&self, component: &str) -> bool {
        self.components
            .iter()
            .any(|(_, it)| it.as_str() == component)
    }

    pub(super) fn summary(&self) -> Summary {
        let first = self.first();
        // What was called ends first, and began later.
        let mut components: Vec<_> = self.components.iter().collect();
        components.sort_by_key(|(began, _)| *began);
        Summary {
            trace: first.map_or_else(String::new, |it| it.span_context.trace_id().to_string()),
            name: first.map(title).unwrap_or_default(),
            route: self.route().map(str::to_owned),
            components: components.iter().map(|(_, it)| it.to_string()).collect(),
            start_ms: ms(self.began()),
            took_us: us(self.took()),
            status: first.and_then(|it| match attribute(it, names::HTTP_STATUS)? {
                Value::I64(status) => Some(*status),
                _ => None,
            }),
            failed: self.failed(),
            errors: self.errors,
            spans: self.spans.len(),
            whole: first.is_some_and(is_root),
        }
    }
}

/// Of which request it was, or else its name.
fn title(span: &SpanData) -> String {
    match (text(span, names::HTTP_METHOD), text(span, names::URL_PATH)) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        _ => span.name.to_string(),
    }
}

/// Whether a span began more of the trace than the one that is known: what came from elsewhere comes before what it led to,
/// and the earlier one before the later.
fn begins(span: &SpanData, known: &SpanData) -> bool {
    match (is_root(span), is_root(known)) {
        (true, false) => true,
        (false, true) => false,
        _ => span.start_time < known.start_time,
    }
}

/// Nothing of this host led to it.
pub(super) fn is_root(span: &SpanData) -> bool {
    span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote
}

pub(super) fn is_failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

pub(super) fn took(span: &SpanData) -> Duration {
    since(span.end_time, span.start_time)
}

/// A clock that was set back makes no time.
pub(super) fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

pub(super) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn ms(at: SystemTime) -> u64 {
    u64::try_from(since(at, SystemTime::UNIX_EPOCH).as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn attribute<'a>(span: &'a SpanData, name: &str) -> Option<&'a Value> {
    let found = span.attributes.iter().find(|it| it.key.as_str() == name);
    found.map(|it| &it.value)
}

/// The same, where it is a text.
pub(super) fn text<'a>(span: &'a SpanData, name: &str) -> Option<&'a str> {
    match attribute(span, name)? {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    }
}

/// What it takes in memory, roughly: names of attributes are static.
fn size(span: &SpanData) -> usize {
    let events = span.events.iter();
    let events = events.map(|it| size_of_val(it) + it.name.len() + size_of_all(&it.attributes));
    let links = span.links.iter();
    let links = links.map(|it| size_of_val(it) + size_of_all(&it.attributes));
    size_of_val(span) + size_of_all(&span.attributes) + events.sum::<usize>() + links.sum::<usize>()
}

fn size_of_all(attributes: &[KeyValue]) -> usize {
    let texts = attributes.iter().map(|it| match &it.value {
        Value::String(text) => text.as_str().len(),
        _ => 0,
    });
    size_of_val(attributes) + texts.sum::<usize>()
}
