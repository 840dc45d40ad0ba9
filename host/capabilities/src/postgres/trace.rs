//! Spans of statements: which database, what was asked, how many rows came of it, and why nothing did.
//!
//! Promise: no value goes along. Parameters are none of the text, and what a guest has written into it is left out
//! (`shown`).

use marquee_telemetry::traces::{Span, SpanKind, Trace, names};
use tokio_postgres::Row;

use super::{bindings::wit, shown::shown};

/// A statement is sent.
pub(super) fn statement(trace: &Trace, database: &str, sql: &str) -> Span {
    if !trace.is_recorded() {
        return Span::none(trace.clone());
    }
    let text = shown(sql);
    let mut words = text.split(|letter: char| !letter.is_ascii_alphabetic());
    let operation = words.find(|word| !word.is_empty());
    let mut span = of(trace, database, operation.unwrap_or("SQL"));
    span.set(names::DB_QUERY, text);
    span
}

/// A unit of work is about to stand.
pub fn commit(trace: &Trace, database: &str) -> Span {
    match trace.is_recorded() {
        true => of(trace, database, "COMMIT"),
        false => Span::none(trace.clone()),
    }
}

fn of(trace: &Trace, database: &str, operation: &str) -> Span {
    let operation = operation.to_ascii_uppercase();
    let mut span = trace.span(SpanKind::Client, || format!("{operation} {database}"));
    span.set(names::DB_SYSTEM, "postgresql");
    span.set(names::DB_NAMESPACE, database.to_owned());
    span.set(names::DB_OPERATION, operation);
    span
}

/// It has read this.
pub(super) fn read(span: &mut Span, result: &Result<Vec<Row>, wit::Error>) {
    let count = result.as_ref().map(Vec::len);
    ended(span, names::DB_ROWS, count);
}

/// It has changed so many rows.
pub(super) fn changed(span: &mut Span, result: &Result<u64, wit::Error>) {
    ended(span, names::DB_ROWS_CHANGED, result.as_ref().copied());
}

fn ended<N: TryInto<i64>>(span: &mut Span, rows: &'static str, result: Result<N, &wit::Error>) {
    if !span.is_recorded() {
        return;
    }
    match result {
        Ok(count) => span.set(rows, count.try_into().unwrap_or(i64::MAX)),
        Err(error) => failed(span, error),
    }
}

/// The server's message may repeat a value, so its code has to do.
fn failed(span: &mut Span, error: &wit::Error) {
    let (kind, how) = match error {
        wit::Error::QueryFailed(wit::QueryError::DbError(error)) => {
            span.set(names::DB_STATUS, error.code.clone());
            return span.fail(error.code.clone(), "the server refused it");
        }
        wit::Error::ConnectionFailed(how) => ("connection-failed", how.as_str()),
        wit::Error::QueryFailed(wit::QueryError::Text(how)) => ("query-failed", how.as_str()),
        wit::Error::BadParameter(_) => ("bad-parameter", "a parameter does not fit its place"),
        wit::Error::ValueConversionFailed(_) => ("value", "a value cannot be told to the guest"),
        wit::Error::Other(how) => ("other", how.as_str()),
    };
    span.fail(kind, how.to_owned());
}
