//! Errors that the host itself answers, as problem+json (RFC 9457). They say what a client can do and nothing of
//! what is inside.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use marquee_runtime::CallError;

/// A problem before it is a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: &'static str,
    retry_after: bool,
}

impl Problem {
    const fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail,
            retry_after: false,
        }
    }

    const fn retry_after(mut self) -> Self {
        self.retry_after = true;
        self
    }

    /// The response, named by the request it answers.
    pub(crate) fn response(self, request_id: &str) -> Response<Full<Bytes>> {
        let body = serde_json::json!({
            "type": format!("/problems/{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": request_id,
        });
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            header::HeaderValue::from_static("nosniff"),
        );
        if self.retry_after {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
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

pub(crate) const NOT_FOUND: Problem = Problem::new(
    StatusCode::NOT_FOUND,
    "not-found",
    "Not found",
    "No component serves this path.",
);
pub(crate) const HOST: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "bad-request",
    "Bad request",
    "The request needs exactly one Host header, or an authority in HTTP/2.",
);
pub(crate) const URI_TOO_LONG: Problem = Problem::new(
    StatusCode::URI_TOO_LONG,
    "uri-too-long",
    "URI too long",
    "Path and query have at most 4,096 bytes together.",
);
pub(crate) const METHOD: Problem = Problem::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "Method not allowed",
    "CONNECT and TRACE are not served.",
);
pub(crate) const TOO_LARGE: Problem = Problem::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body-too-large",
    "Body too large",
    "The body is larger than this server takes.",
);
/// Whoever answers with it adds when the client may come again.
pub(crate) const TOO_MANY: Problem = Problem::new(
    StatusCode::TOO_MANY_REQUESTS,
    "too-many-requests",
    "Too many requests",
    "You have asked too often; Retry-After says in how many seconds you may ask again.",
);
pub(crate) const OVERLOADED: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "Unavailable",
    "The server is busy or stopping; try again.",
)
.retry_after();
pub(crate) const DEADLINE: Problem = Problem::new(
    StatusCode::GATEWAY_TIMEOUT,
    "deadline",
    "Deadline passed",
    "The request was not answered in time. What it asked for may have happened; it is safe to try again.",
);
pub(crate) const INTERNAL: Problem = Problem::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "Internal error",
    "The server failed to answer. The instance of this problem finds it in the server's log.",
);
