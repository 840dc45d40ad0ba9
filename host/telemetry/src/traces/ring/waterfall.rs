//! A trace as people read it: its spans in the order of what led to what, each with its place in time.
//!
//! What goes on with a message in a trace of its own, since many messages came together or it was tried again, stands below
//! the span that it is linked to. A parent that is not there (it was not recorded here, or found no room) is no reason to leave
//! a span out: it begins a tree of its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::SystemTime,
};

use opentelemetry::{
    Array, KeyValue, Value,
    trace::{SpanId, SpanKind, Status, TraceId},
};
use opentelemetry_sdk::trace::SpanData;
use serde::{Deserialize, Serialize};

use super::kept::{Summary, is_root, ms, since, text, took, us};
use crate::traces::names;

/// One trace, and those that go on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waterfall {
    /// The trace that was asked for.
    pub trace: Summary,
    /// When the first of all began, in milliseconds since 1970. Rows count from it.
    pub start_ms: u64,
    /// From there to the end of the last, in microseconds.
    pub took_us: u64,
    /// Each span behind the one that led to it.
    pub rows: Vec<Row>,
    /// Spans that found no room, in memory or here.
    pub left_out: usize,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How many rows above led to it.
    pub depth: usize,
    /// Whether it is below its row by a link, and not as a part of it.
    pub linked: bool,
    /// Its trace's id.
    pub trace: String,
    /// Its own, 16 hexadecimal digits.
    pub span: String,
    /// What it is.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: String,
    /// The component that did it, or for which it was done.
    pub component: Option<String>,
    /// When it began, in microseconds since the first of all.
    pub at_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What else is known of it, by OpenTelemetry's names.
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// What happened in it.
    pub events: Vec<Event>,
    /// Spans of other traces that it belongs to.
    pub links: Vec<Other>,
}

/// What happened at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it was.
    pub name: String,
    /// When, in microseconds since the first span of all.
    pub at_us: u64,
    /// What else is known of it.
    pub attributes: BTreeMap<String, serde_json::Value>,
}

/// A span somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its trace's id.
    pub trace: String,
    /// Its own.
    pub span: String,
}

impl Waterfall {
    /// Of spans in any order.
    pub(super) fn of(trace: Summary, mut left_out: usize, mut spans: Vec<SpanData>) -> Self {
        spans.sort_by_key(|span| span.start_time);
        left_out += spans.len().saturating_sub(ROWS);
        spans.truncate(ROWS);
        let start = spans
            .first()
            .map_or(SystemTime::UNIX_EPOCH, |it| it.start_time);
        let end = spans.iter().map(|it| it.end_time).max().unwrap_or(start);
        let rows = Tree::of(&spans).rows(start);
        Self {
            trace,
            start_ms: ms(start),
            took_us: us(since(end, start)),
            rows,
            left_out,
        }
    }
}

/// Which spans led to which, by their places in `spans`.
struct Tree<'a> {
    spans: &'a [SpanData],
    /// Of each; whether by a link.
    above: Vec<Option<(usize, bool)>>,
    below: Vec<Vec<usize>>,
}

impl<'a> Tree<'a> {
    fn of(spans: &'a [SpanData]) -> Self {
        let own = |it: &SpanData| (it.span_context.trace_id(), it.span_context.span_id());
        let places: HashMap<(TraceId, SpanId), usize> = { spans.iter().enumerate() }
            .map(|(at, span)| (own(span), at))
            .collect();
        let above = |span: &SpanData| {
            let (trace, _) = own(span);
            if let Some(parent) = places.get(&(trace, span.parent_span_id)) {
                return Some((*parent, false));
            }
            let mut links = span.links.iter().filter(|_| is_root(span));
            links.find_map(|link| {
                let to = (link.span_context.trace_id(), link.span_context.span_id());
                places.get(&to).map(|linked| (*linked, true))
            })
        };
        let above: Vec<_> = spans.iter().map(above).collect();
        let mut below = vec![Vec::new(); spans.len()];
        for (at, above) in above.iter().enumerate() {
            if let Some((parent, _)) = above
                && let Some(below) = below.get_mut(*parent)
            {
                below.push(at);
            }
        }
        Self {
            spans,
            above,
            below,
        }
    }

    /// Which component did it. A delivery is of the one that it gives messages to, and not of the one that published them.
    fn component(&self, at: usize) -> Option<&str> {
        let of = |at: usize| text(self.spans.get(at)?, names::COMPONENT);
        let delivery = |span: &SpanData| span.span_kind == SpanKind::Consumer;
        let given = || self.below.get(at)?.iter().find_map(|at| of(*at));
        of(at).or_else(|| {
            self.spans
                .get(at)
                .filter(|it| delivery(it))
                .and_then(|_| given())
        })
    }

    /// From what nothing led to. Then what is left: spans that led to each other in a circle, if somebody sent such.
    fn rows(&self, start: SystemTime) -> Vec<Row> {
        let shown: HashSet<TraceId> = { self.spans.iter() }
            .map(|span| span.span_context.trace_id())
            .collect();
        let alone = self.above.iter().enumerate();
        let alone = alone.filter(|(_, above)| above.is_none()).map(|(at, _)| at);
        let mut seen = vec![false; self.spans.len()];
        let mut rows: Vec<Row> = Vec::with_capacity(self.spans.len());
        for first in alone.chain(0..self.spans.len()) {
            let mut line: Vec<(usize, usize, Option<String>)> = vec![(first, 0, None)];
            while let Some((at, depth, component)) = line.pop() {
                let (Some(span), Some(seen)) = (self.spans.get(at), seen.get_mut(at)) else {
                    continue;
                };
                if std::mem::replace(seen, true) {
                    continue;
                }
                let component = match self.component(at) {
                    Some(own) => Some(own.to_owned()),
                    None => component.filter(|_| span.span_kind != SpanKind::Consumer),
                };
                let linked = self.above.get(at).copied().flatten();
                rows.push(Row {
                    depth,
                    linked: depth > 0 && linked.is_some_and(|(_, linked)| linked),
                    component: component.clone(),
                    ..row(span, start, &shown)
                });
                let below = self.below.get(at).into_iter().flatten().rev();
                line.extend(below.map(|at| (*at, depth + 1, component.clone())));
            }
        }
        rows
    }
}

fn row(span: &SpanData, start: SystemTime, shown: &HashSet<TraceId>) -> Row {
    let at = |moment| us(since(moment, start));
    let events = span.events.iter();
    let links = span.links.iter().map(|link| &link.span_context);
    Row {
        depth: 0,
        linked: false,
        trace: span.span_context.trace_id().to_string(),
        span: span.span_context.span_id().to_string(),
        name: span.name.to_string(),
        kind: kind(&span.span_kind).to_owned(),
        component: None,
        at_us: at(span.start_time),
        took_us: us(took(span)),
        error: match &span.status {
            Status::Error { description } if description.is_empty() => {
                Some(text(span, names::ERROR_TYPE).unwrap_or("failed").to_owned())
            }
            Status::Error { description } => Some(description.to_string()),
            Status::Ok | Status::Unset => None,
        },
        attributes: object(&span.attributes),
        events: events
            .map(|it| Event {
                name: it.name.to_string(),
                at_us: at(it.timestamp),
                attributes: object(&it.attributes),
            })
            .collect(),
        links: links
            .filter(|other| !shown.contains(&other.trace_id()))
            .map(|other| Other {
                trace: other.trace_id().to_string(),
                span: other.span_id().to_string(),
            })
            .collect(),
    }
}

fn kind(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    }
}

fn object(all: &[KeyValue]) -> BTreeMap<String, serde_json::Value> {
    let one = |it: &KeyValue| (it.key.to_string(), value(&it.value));
    all.iter().map(one).collect()
}

fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(it) => (*it).into(),
        Value::I64(it) => (*it).into(),
        Value::F64(it) => (*it).into(),
        Value::String(it) => it.as_str().into(),
        Value::Array(Array::String(all)) => all.iter().map(|it| it.as_str()).collect(),
        Value::Array(Array::Bool(all)) => all.iter().copied().collect(),
        Value::Array(Array::I64(all)) => all.iter().copied().collect(),
        Value::Array(Array::F64(all)) => all.iter().copied().collect(),
        // What the crate may have in its next version.
        other => other.as_str().into(),
    }
}

/// More would be a page that no browser likes, and nobody reads.
const ROWS: usize = 2_000;
