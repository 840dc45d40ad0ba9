//! Errors that the host itself answers, of the catalogue that it shares with components. They say what a client can do
//! and nothing of what is inside. A client of gRPC gets them as its statuses.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request};
use http_body_util::Full;
use marquee_problem::{self as catalogue, Kind};
use marquee_runtime::CallError;

/// A problem before it is a response.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: &'static str,
    again: Again,
    reason: Reason,
}

/// Why the host answers itself, for the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Route,
    Host,
    Uri,
    Method,
    Protocol,
    BodySize,
    Rate,
    ClientShare,
    BodyRate,
    Busy,
    Stopped,
    Deadline,
    Failed,
}

/// How many there are.
pub(crate) const REASONS: usize = 13;

impl Reason {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; REASONS] = [
        Self::Route,
        Self::Host,
        Self::Uri,
        Self::Method,
        Self::Protocol,
        Self::BodySize,
        Self::Rate,
        Self::ClientShare,
        Self::BodyRate,
        Self::Busy,
        Self::Stopped,
        Self::Deadline,
        Self::Failed,
    ];

    /// In a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Host => "host",
            Self::Uri => "uri",
            Self::Method => "method",
            Self::Protocol => "protocol",
            Self::BodySize => "body_size",
            Self::Rate => "rate",
            Self::ClientShare => "client_share",
            Self::BodyRate => "body_rate",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
        }
    }
}

/// Whether, and when, it makes sense to ask again.
#[derive(Debug, Clone, Copy)]
enum Again {
    /// The same would come of it; or whoever answers adds when.
    No,
    /// Nothing was done: after so many seconds.
    After(u32),
    /// It may have been done: after so many seconds, where doing it twice is doing it once.
    IfIdempotent(u32),
}

impl Problem {
    const fn new(reason: Reason, kind: Kind, detail: &'static str, again: Again) -> Self {
        Self {
            kind,
            detail,
            again,
            reason,
        }
    }

    /// Why it is answered.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Seconds until the request may be made again.
    fn retry_after_s(&self, method: &Method) -> Option<u32> {
        match self.again {
            Again::No => None,
            Again::After(seconds) => Some(seconds),
            Again::IfIdempotent(seconds) => method.is_idempotent().then_some(seconds),
        }
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The response in a client's protocol, named by the request that it answers.
    pub(crate) fn response(
        &self,
        protocol: Protocol,
        method: &Method,
        request_id: &str,
    ) -> Response<Full<Bytes>> {
        let mut response = match protocol {
            Protocol::Http => self.over_http(request_id),
            Protocol::Grpc => self.over_grpc(),
        };
        if let Some(seconds) = self.retry_after_s(method) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
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
            // The answer to a commit that was lost may still come true.
            CallError::Deadline(_) | CallError::Unknown { .. } => DEADLINE,
            CallError::Overloaded(_) | CallError::NoRoom(_) => OVERLOADED,
            CallError::Client(_) => TOO_SLOW,
            CallError::Cancelled(_) => BROKEN_OFF,
            _ => INTERNAL,
        }
    }
}

pub(crate) const NOT_FOUND: Problem = Problem::new(
    Reason::Route,
    catalogue::NO_SUCH_RESOURCE,
    "no component serves this path",
    Again::No,
);
pub(crate) const HOST: Problem = Problem::new(
    Reason::Host,
    catalogue::BAD_REQUEST,
    "the request needs exactly one Host header, or an authority in HTTP/2",
    Again::No,
);
pub(crate) const URI_TOO_LONG: Problem = Problem::new(
    Reason::Uri,
    catalogue::URI_TOO_LONG,
    "path and query have at most 4,096 bytes together",
    Again::No,
);
pub(crate) const METHOD: Problem = Problem::new(
    Reason::Method,
    catalogue::METHOD_NOT_ALLOWED,
    "CONNECT and TRACE are not served",
    Again::No,
);
/// As gRPC's own servers answer it.
pub(crate) const GRPC_OVER_HTTP_1: Problem = Problem::new(
    Reason::Protocol,
    catalogue::HTTP_VERSION_NOT_SUPPORTED,
    "a call of gRPC needs HTTP/2; a proxy between may have made it HTTP/1.1",
    Again::No,
);
pub(crate) const TOO_LARGE: Problem = Problem::new(
    Reason::BodySize,
    catalogue::BODY_TOO_LARGE,
    "the body is larger than this server takes",
    Again::No,
);
/// Whoever answers with it adds when the client may come again.
pub(crate) const TOO_MANY: Problem = Problem::new(
    Reason::Rate,
    catalogue::TOO_MANY_REQUESTS,
    "you have asked too often; Retry-After says in how many seconds you may ask again",
    Again::No,
);
/// No rate: it ends with one of the others.
pub(crate) const TOO_MANY_AT_ONCE: Problem = Problem::new(
    Reason::ClientShare,
    catalogue::TOO_MANY_REQUESTS,
    "you have as many requests under way as one client may; ask again when one of them is answered",
    Again::After(1),
);
pub(crate) const TOO_SLOW: Problem = Problem::new(
    Reason::BodyRate,
    catalogue::BODY_TOO_SLOW,
    "the body came too slowly, and nobody waits for the rest of it",
    Again::No,
);
pub(crate) const OVERLOADED: Problem = Problem::new(
    Reason::Busy,
    catalogue::UNAVAILABLE,
    "the server is busy or stopping; nothing was done",
    Again::After(SOON_S),
);
/// The host stops, and its patience is over.
pub(crate) const BROKEN_OFF: Problem = Problem::new(
    Reason::Stopped,
    catalogue::DEADLINE_PASSED,
    "the server stopped while it was at it; what was asked for may have happened",
    Again::IfIdempotent(SOON_S),
);
pub(crate) const DEADLINE: Problem = Problem::new(
    Reason::Deadline,
    catalogue::DEADLINE_PASSED,
    "the request was not answered in time; what it asked for may have happened",
    Again::IfIdempotent(SOON_S),
);
pub(crate) const INTERNAL: Problem = Problem::new(
    Reason::Failed,
    catalogue::INTERNAL,
    "the instance of this problem finds it in the server's log",
    Again::No,
);

/// Long enough for a failover's next try, short enough for a person.
const SOON_S: u32 = 2;
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
        let response = TOO_MANY.response(Protocol::Grpc, &Method::POST, "r1");
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
            TOO_MANY_AT_ONCE,
            TOO_SLOW,
            OVERLOADED,
            BROKEN_OFF,
            DEADLINE,
            INTERNAL,
        ] {
            assert!(!problem.detail.contains('%') && problem.detail.is_ascii());
        }
    }

    #[test]
    fn only_what_can_be_done_twice_is_to_be_asked_again_where_it_may_have_been_done() {
        let check = |problem: &Problem, method: Method, seconds: Option<&str>| {
            let response = problem.response(Protocol::Http, &method, "r1");
            let told = response.headers().get(header::RETRY_AFTER);
            let told = told.map(|value| value.to_str().unwrap());
            assert_eq!(told, seconds, "{method} {}", problem.detail);
        };
        for unknown in [DEADLINE, BROKEN_OFF] {
            check(&unknown, Method::GET, Some("2"));
            check(&unknown, Method::PUT, Some("2"));
            check(&unknown, Method::POST, None);
            check(&unknown, Method::PATCH, None);
        }
        check(&OVERLOADED, Method::POST, Some("2"));
        check(&TOO_MANY_AT_ONCE, Method::POST, Some("1"));
        check(&INTERNAL, Method::GET, None);
    }
}
