//! Spans of requests that go out, and what they tell whoever is asked.

use http::{HeaderMap, HeaderValue, Request, Response};
use marquee_telemetry::traces::{Span, SpanKind, TRACEPARENT, TRACESTATE, Trace, names};
use wasmtime_wasi_http::Error;

/// A request is sent.
pub(super) fn request<B>(trace: &Trace, request: &Request<B>) -> Span {
    let mut span = trace.span(SpanKind::Client, || request.method().to_string());
    if span.is_recorded() {
        let uri = request.uri();
        span.set(names::HTTP_METHOD, request.method().to_string());
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // Whoever is named before the host is a secret, and so may be what is behind the path.
        let host = authority.rsplit('@').next().unwrap_or_default();
        span.set(names::URL_FULL, format!("{scheme}://{host}{}", uri.path()));
        span.set(
            names::SERVER_ADDRESS,
            uri.host().unwrap_or_default().to_owned(),
        );
        let usual = if scheme == "https" { 443 } else { 80 };
        span.set(
            names::SERVER_PORT,
            i64::from(uri.port_u16().unwrap_or(usual)),
        );
    }
    span
}

/// Whoever is asked learns what it is part of, unless the guest has said so itself.
pub(super) fn pass_on(trace: &Trace, headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    for (name, value) in [
        (TRACEPARENT, trace.traceparent()),
        (TRACESTATE, trace.tracestate()),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
}

/// What came of it.
pub(super) fn answered<B, I>(span: &mut Span, sent: &Result<(Response<B>, I), Error>) {
    if !span.is_recorded() {
        return;
    }
    match sent {
        Ok((answer, _)) => {
            let status = answer.status();
            span.set(names::HTTP_STATUS, i64::from(status.as_u16()));
            if status.is_client_error() || status.is_server_error() {
                span.fail(status.as_str().to_owned(), "");
            }
        }
        Err(error) => span.fail("connection", error.to_string()),
    }
}
