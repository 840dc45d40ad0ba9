//! Errors that the host itself answers, of the catalogue that it shares with components. They say what a client can do
//! and nothing of what is inside. A client of gRPC gets them as its statuses.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request};
use http_body_util::Full;
use marquee_problem::{self as catalogue, Kind};
use marquee_runtime::CallError;

/// A problem before it is a response.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: &'static str,
}

impl Problem {
    const fn new(kind: Kind, detail: &'static str) -> Self {
        Self { kind, detail }
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The response in a client's protocol, named by the request it answers.
    pub(crate) fn response(&self, protocol: Protocol, request_id: &str) -> Response<Full<Bytes>> {
        match protocol {
            Protocol::Http => self.over_http(request_id),
            Protocol::Grpc => self.over_grpc(),
        }
    }

    /// A status in headers, and nothing else: it stands there for what would be trailers.
    fn over_grpc(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
        let status = HeaderValue::from(u16::from(self.kind.grpc_status()));
        headers.insert("grpc-status", status);
        // Plain ASCII without a percent sign, so nothing is to be escaped.
        headers.insert("grpc-message", HeaderValue::from_static(self.detail));
        if let Some(seconds) = self.kind.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn over_http(&self, request_id: &str) -> Response<Full<Bytes>> {
        let mut problem = self.kind.with(self.detail);
        problem.instance = Some(request_id.to_owned());
        // Texts and a number always become JSON; were it otherwise, the status alone still tells.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, catalogue::MEDIA_TYPE),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(seconds) = problem.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a client speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    /// By the media type of what it sends; gRPC-Web and the like are HTTP. Over HTTP/1.1 nobody speaks gRPC.
    pub(crate) fn of(parts: &request::Parts) -> Self {
        if parts.version == Version::HTTP_2 && is_grpc(&parts.headers) {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// Whether it is meant for gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = media_type.and_then(|text| text.strip_prefix(GRPC.as_bytes()));
    matches!(
        rest.map(|rest| rest.first()),
        Some(None | Some(b'+' | b';'))
    )
}

impl From<&CallError> for Problem {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Deadline(_) | CallError::Client(_) => DEADLINE,
            CallError::Overloaded(_)
            | CallError::NoRoom(_)
            | CallError::Cancelled(_)
            | CallError::Unknown { .. } => OVERLOADED,
            _ => INTERNAL,
        }
    }
}

pub(crate) const NOT_FOUND: Problem =
    Problem::new(catalogue::NO_SUCH_RESOURCE, "no component serves this path");
pub(crate) const HOST: Problem = Problem::new(
    catalogue::BAD_REQUEST,
    "the request needs exactly one Host header, or an authority in HTTP/2",
);
pub(crate) const URI_TOO_LONG: Problem = Problem::new(
    catalogue::URI_TOO_LONG,
    "path and query have at most 4,096 bytes together",
);
pub(crate) const METHOD: Problem = Problem::new(
    catalogue::METHOD_NOT_ALLOWED,
    "CONNECT and TRACE are not served",
);
/// As gRPC's own servers answer it.
pub(crate) const GRPC_OVER_HTTP_1: Problem = Problem::new(
    catalogue::HTTP_VERSION_NOT_SUPPORTED,
    "a call of gRPC needs HTTP/2; a proxy between may have made it HTTP/1.1",
);
pub(crate) const TOO_LARGE: Problem = Problem::new(
    catalogue::BODY_TOO_LARGE,
    "the body is larger than this server takes",
);
/// Whoever answers with it adds when the client may come again.
pub(crate) const TOO_MANY: Problem = Problem::new(
    catalogue::TOO_MANY_REQUESTS,
    "you have asked too often; Retry-After says in how many seconds you may ask again",
);
pub(crate) const OVERLOADED: Problem = Problem::new(
    catalogue::UNAVAILABLE,
    "the server is busy or stopping; try again",
);
pub(crate) const DEADLINE: Problem = Problem::new(
    catalogue::DEADLINE_PASSED,
    "the request was not answered in time; what it asked for may have happened, and it is safe to try again",
);
pub(crate) const INTERNAL: Problem = Problem::new(
    catalogue::INTERNAL,
    "the instance of this problem finds it in the server's log",
);

const GRPC: &str = "application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_grpc_is_known_by_its_media_type() {
        let check = |media_type: Option<&'static str>, grpc| {
            for (version, grpc) in [(Version::HTTP_2, grpc), (Version::HTTP_11, false)] {
                let mut request = http::Request::builder().version(version);
                if let Some(media_type) = media_type {
                    request = request.header(header::CONTENT_TYPE, media_type);
                }
                let (parts, ()) = request.body(()).unwrap().into_parts();
                let found = matches!(Protocol::of(&parts), Protocol::Grpc);
                assert_eq!(found, grpc, "{media_type:?} {version:?}");
            }
        };
        for media_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;x=y",
        ] {
            check(Some(media_type), true);
        }
        for media_type in [
            "",
            "application/grpc-web",
            "application/json",
            "application/grp",
        ] {
            check(Some(media_type), false);
        }
        check(None, false);
    }

    #[test]
    fn a_client_of_grpc_gets_a_status_and_no_body() {
        let response = TOO_MANY.response(Protocol::Grpc, "r1");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(response.headers()["grpc-message"], TOO_MANY.detail);
        assert!(http_body::Body::is_end_stream(response.body()));
        for problem in [
            NOT_FOUND,
            HOST,
            URI_TOO_LONG,
            METHOD,
            TOO_LARGE,
            OVERLOADED,
            DEADLINE,
            INTERNAL,
        ] {
            assert!(!problem.detail.contains('%') && problem.detail.is_ascii());
        }
    }
}
