//! What goes wrong in a route or a call: a problem for the client, and its cause for operators.

use std::{error::Error, fmt};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use marquee_problem::{self as problem, Kind, Problem, UNAUTHORIZED};

/// No movie has this id.
pub(crate) const UNKNOWN_MOVIE: Kind = Kind {
    uri: "/problems/unknown-movie",
    status: 404,
    title: "No movie has this id",
    meaning: "The id is well formed, and there is no such movie.",
};
/// Another movie has title and year.
pub(crate) const TITLE_TAKEN: Kind = Kind {
    uri: "/problems/title-taken",
    status: 409,
    title: "Another movie has this title and year",
    meaning: "`existing_id` is that movie's. Titles are compared without letter case and outer blanks; no year is a year of its own.",
};
/// The movie is not in the version that `If-Match` names.
pub(crate) const MOVIE_CHANGED: Kind = Kind {
    uri: "/problems/movie-changed",
    status: 412,
    title: "The movie has been changed",
    meaning: "`If-Match` names another version than the movie has. Read it again, and decide again.",
};
/// An idempotency key came with something else than before.
pub(crate) const KEY_REUSED: Kind = Kind {
    uri: "/problems/key-reused",
    status: 422,
    title: "The idempotency key belongs to another request",
    meaning: "A key names one act: repeated with the same content it is answered as before, and it is refused with any other.",
};

/// The user has not rated the movie.
pub(crate) const NOT_RATED: Kind = Kind {
    uri: "/problems/not-rated",
    status: 404,
    title: "The user has no rating of this movie",
    meaning: "There is such a movie, and the user has not rated it, or took the rating away.",
};

/// Another user has the name or the address.
pub(crate) const NAME_TAKEN: Kind = Kind {
    uri: "/problems/name-taken",
    status: 409,
    title: "Another user has this name or this e-mail address",
    meaning: "Names and addresses are compared without letter case.",
};
/// No user has this id.
pub(crate) const UNKNOWN_USER: Kind = Kind {
    uri: "/problems/unknown-user",
    status: 404,
    title: "No user has this id",
    meaning: "There is no such user, or not any more.",
};

/// Every kind of problem that a client can meet: the host's catalogue, and what is said of movies and users.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    problem::ALL
        .iter()
        .chain(&[UNKNOWN_MOVIE, TITLE_TAKEN, MOVIE_CHANGED, KEY_REUSED])
        .chain(&[NOT_RATED, NAME_TAKEN, UNKNOWN_USER])
}

/// Why a route has no result. As a response it is empty until [`Failure::render`] has the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) problem: Box<Problem>,
    /// For operators; never sent.
    pub(crate) cause: Option<String>,
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
    pub(crate) fn of(kind: &Kind, field: &str, rule: &str) -> Self {
        let mut problem = kind.with(format!("`{field}`: {rule}"));
        problem.field = Some(field.to_owned());
        problem.into()
    }

    /// A value that its owner refused. The text is `FIELD RULE`, as the interfaces have it.
    pub(crate) fn refused(kind: &Kind, text: String) -> Self {
        let field = text.split(' ').next().map(str::to_owned);
        let mut problem = kind.with(text);
        problem.field = field;
        problem.into()
    }

    /// It is worth trying again after so many seconds.
    pub(crate) fn later(problem: Problem, seconds: u32) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..problem.into()
        }
    }

    /// Something is not there now.
    pub(crate) fn unavailable(cause: String) -> Self {
        Self::of_cause(problem::UNAVAILABLE.with("try again in a moment"), cause)
    }

    /// Something did not answer.
    pub(crate) fn timeout(cause: String) -> Self {
        let detail = "what was asked for may have happened";
        Self::of_cause(problem::DEADLINE_PASSED.with(detail), cause)
    }

    /// Anything else.
    pub(crate) fn internal(cause: String) -> Self {
        let detail = "the request id finds it in the log";
        Self::of_cause(problem::INTERNAL.with(detail), cause)
    }

    fn of_cause(problem: Problem, cause: String) -> Self {
        Self {
            cause: Some(cause),
            ..problem.into()
        }
    }

    /// Seconds until it is worth trying again, where it is.
    pub(crate) fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s.or_else(|| self.problem.retry_after_s())
    }

    /// Tells operators of the cause, if there is one.
    pub(crate) fn log(&self) {
        if let Some(cause) = &self.cause {
            crate::http::log(&format!("{}: {cause}", self.problem.kind));
        }
    }

    /// Completes the response that this failure became, and tells operators.
    pub(crate) fn render(mut self, response: &mut Response, request_id: &str) {
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
        if self.problem.status == UNAUTHORIZED.status {
            let bearer = HeaderValue::from_static("Bearer realm=\"movies\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        *response.body_mut() = Body::from(body);
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

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
