//! A trace as an indented text, as a person reads it.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};

/// What is worth reading of a span, in this order.
const SHOWN: [&str; 12] = [
    "http.response.status_code",
    "marquee.version",
    "marquee.role",
    "marquee.label",
    "db.query.text",
    "db.response.returned_rows",
    "marquee.db.changed_rows",
    "messaging.system",
    "messaging.batch.message_count",
    "marquee.schedule",
    "marquee.attempt",
    "error.type",
];

/// A span's attribute.
pub(super) fn attribute(span: &Span, name: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|pair| pair.key == name)?;
    Some(super::text(found.value.clone()))
}

/// A trace from its beginning here, its parts in the order in which they began.
pub(super) fn tree(spans: &[Span], trace: &str) -> String {
    let trace = spans.iter().filter(|span| hex(&span.trace_id) == trace);
    let mut trace: Vec<&Span> = trace.collect();
    trace.sort_by_key(|span| span.start_time_unix_nano);
    let is_root = |span: &&&Span| trace.iter().all(|it| it.span_id != span.parent_span_id);
    let mut text = String::new();
    for root in trace.iter().filter(is_root) {
        draw(&trace, root, 0, &mut text);
    }
    text
}

fn draw(trace: &[&Span], span: &Span, depth: usize, text: &mut String) {
    let took = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    let kind = SpanKind::try_from(span.kind).map_or("", |kind| kind.as_str_name());
    let kind = kind.trim_start_matches("SPAN_KIND_").to_lowercase();
    let _ = write!(
        text,
        "{}{} ({kind}, {} us)",
        "  ".repeat(depth),
        span.name,
        took / 1_000
    );
    for name in SHOWN {
        if let Some(value) = attribute(span, name) {
            let short = name.rsplit('.').next().unwrap_or(name);
            let value: String = value.chars().take(100).collect();
            let _ = write!(text, " {short}={value}");
        }
    }
    let failed = span.status.as_ref();
    if let Some(status) = failed.filter(|status| status.code() == StatusCode::Error) {
        let _ = write!(text, " FAILED {}", status.message);
    }
    for link in &span.links {
        let _ = write!(text, " links to {}", hex(&link.trace_id));
    }
    text.push('\n');
    let own = trace.iter().filter(|it| it.parent_span_id == span.span_id);
    for part in own {
        draw(trace, part, depth + 1, text);
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
