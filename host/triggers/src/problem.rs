//! Errors that the host itself answers, of the catalogue that it shares with components. They say what a client can do
//! and nothing of what is inside.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
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

    /// The response, named by the request it answers.
    pub(crate) fn response(&self, request_id: &str) -> Response<Full<Bytes>> {
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

impl From<&CallError> for Problem {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Deadline(_) => DEADLINE,
            CallError::Overloaded(_) | CallError::Cancelled(_) | CallError::Unknown { .. } => {
                OVERLOADED
            }
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
