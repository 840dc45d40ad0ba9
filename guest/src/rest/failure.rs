//! What goes wrong in a route or a call: a problem for the client, and its cause for operators.

use std::{error::Error, fmt};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use marquee_problem::{self as problem, Kind, Problem, UNAUTHORIZED};

/// Why a route has no result. As a response it is empty until its [`Api`](super::Api) writes it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What the client is told.
    pub problem: Box<Problem>,
    /// For operators; never sent.
    pub cause: Option<String>,
    /// When it is worth trying again, where that is known better than by the kind.
    retry_after_s: Option<u32>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            cause: None,
            retry_after_s: None,
        }
    }
}

impl Failure {
    /// Something is wrong with this field or parameter.
    pub fn of(kind: &Kind, field: &str, rule: &str) -> Self {
        let mut problem = kind.with(format!("`{field}`: {rule}"));
        problem.field = Some(field.to_owned());
        problem.into()
    }

    /// The value of a body's field is outside its bounds.
    pub fn out_of_bounds(field: &str, rule: &str) -> Self {
        Self::of(&problem::OUT_OF_BOUNDS, field, rule)
    }

    /// A value that its owner refused. The text is `FIELD RULE`.
    pub fn refused(kind: &Kind, text: String) -> Self {
        let field = text.split(' ').next().map(str::to_owned);
        let mut problem = kind.with(text);
        problem.field = field;
        problem.into()
    }

    /// It is worth trying again after so many seconds.
    pub fn later(problem: Problem, seconds: u32) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..problem.into()
        }
    }

    /// Something is not there now, and nothing was done. The cause is for operators, here and below.
    pub fn unavailable(cause: String) -> Self {
        Self::of_cause(problem::UNAVAILABLE.with("try again in a moment"), cause)
    }

    /// Something did not answer.
    pub fn timeout(cause: String) -> Self {
        let detail = "what was asked for may have happened";
        Self::of_cause(problem::DEADLINE_PASSED.with(detail), cause)
    }

    /// Anything else.
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "the request id finds it in the log";
        Self::of_cause(problem::INTERNAL.with(detail), cause.into())
    }

    fn of_cause(problem: Problem, cause: String) -> Self {
        Self {
            cause: Some(cause),
            ..problem.into()
        }
    }

    /// The same of a value that stands in the URL, where everything that is wrong is 400.
    pub fn in_url(self) -> Self {
        if self.problem.kind == problem::OUT_OF_BOUNDS.uri {
            let text = self.problem.detail.into_owned();
            return Self::refused(&problem::INVALID_PARAMETER, text);
        }
        self
    }

    /// The problem, as it is told inside an answer to this request.
    pub fn told(&self, request_id: &str) -> Problem {
        let mut problem = Problem::clone(&self.problem);
        problem.instance = Some(request_id.to_owned());
        problem
    }

    /// Seconds until it is worth trying again, where it is.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s.or_else(|| self.problem.retry_after_s())
    }

    /// Tells operators what an answer does without because of this.
    pub fn log_without(&self, what: impl fmt::Display) {
        crate::log(&format!(
            "{what}: {}",
            self.cause.as_deref().unwrap_or_default()
        ));
    }

    /// Tells operators of the cause, if there is one.
    pub(crate) fn log(&self) {
        if let Some(cause) = &self.cause {
            crate::log(&format!("{}: {cause}", self.problem.kind));
        }
    }

    /// Completes the response that this failure became, and tells operators.
    pub(super) fn render(mut self, response: &mut Response, request_id: &str, realm: &str) {
        self.log();
        self.problem.instance = Some(request_id.to_owned());
        // Texts and a number always become JSON; were it otherwise, the status alone still tells.
        let body = Bytes::from(serde_json::to_vec(&self.problem).unwrap_or_default());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(problem::MEDIA_TYPE),
        );
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.problem.status == UNAUTHORIZED.status
            && let Ok(bearer) = HeaderValue::try_from(format!("Bearer realm=\"{realm}\""))
        {
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        *response.body_mut() = Body::from(body);
    }
}

/// So that `?` does with what was published.
#[cfg(feature = "messaging")]
impl From<crate::messaging::PublishError> for Failure {
    fn from(error: crate::messaging::PublishError) -> Self {
        use crate::messaging::PublishError;
        match error {
            PublishError::Unavailable(text) => Self::unavailable(text),
            PublishError::Refused(text) => Self::internal(format!("refused: {text}")),
            PublishError::Other(text) => Self::internal(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.detail)
    }
}

impl Error for Failure {}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status);
        let mut response = status
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Make a [`Failure`](crate::rest::Failure) of a component's errors, so that `?` does.
///
/// `failures!(types::Error { OWN ARMS })`: arms for the cases that are its own, and those that say the same everywhere are
/// added: `Invalid(text)`, whose text is `FIELD RULE` ([`OUT_OF_BOUNDS`](marquee_problem::OUT_OF_BOUNDS)),
/// `Unavailable(text)`, `Timeout(text)` and `Other(text)`, which have a cause.
#[macro_export]
macro_rules! failures {
    ($error:path { $($pattern:pat => $failure:expr),* $(,)? }) => {
        impl From<$error> for $crate::rest::Failure {
            fn from(error: $error) -> Self {
                type Case = $error;
                match error {
                    $($pattern => $failure,)*
                    Case::Invalid(text) => Self::refused(&$crate::rest::problem::OUT_OF_BOUNDS, text),
                    Case::Unavailable(text) => Self::unavailable(text),
                    Case::Timeout(text) => Self::timeout(text),
                    Case::Other(text) => Self::internal(text),
                }
            }
        }
    };
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
