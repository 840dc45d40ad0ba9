//! Errors of the admin API, as problem+json (RFC 9457). An operator may know the causes.

use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use marquee_registry::{Refused, StoreError};
use serde::{Deserialize, Serialize};

use super::{documents::UPLOAD_BYTES, upload};
use crate::releases::Error;

/// RFC 9457.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// Which sort of problem it is, for programs: `/problems/NAME`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    /// What happened, to what, and what to do.
    pub(crate) detail: String,
}

/// A sort of problem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
}

impl Kind {
    const fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self {
            status,
            name,
            title,
        }
    }

    /// The problem, with what happened.
    pub(crate) fn with(self, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("/problems/{}", self.name),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: detail.into(),
        }
    }
}

pub(crate) const NOT_FOUND: Kind =
    Kind::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing");
pub(crate) const METHOD: Kind = Kind::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "There is no such method",
);
pub(crate) const UNAUTHORIZED: Kind =
    Kind::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who are you?");
pub(crate) const FORBIDDEN: Kind =
    Kind::new(StatusCode::FORBIDDEN, "forbidden", "It is not for you");
pub(crate) const BUSY: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "The host is busy");
pub(crate) const DATABASE: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "database",
    "The database cannot be asked",
);
pub(crate) const CONFLICT: Kind = Kind::new(
    StatusCode::CONFLICT,
    "conflict",
    "The state does not allow it",
);
const INVALID: Kind = Kind::new(
    StatusCode::BAD_REQUEST,
    "invalid-request",
    "The request is not valid",
);
const TOO_LARGE: Kind = Kind::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "too-large",
    "The component is too large",
);
const ARRIVAL: Kind = Kind::new(
    StatusCode::BAD_REQUEST,
    "not-arrived",
    "The component did not arrive",
);
const REFUSED: Kind = Kind::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "version-refused",
    "The version is refused",
);
const HOST: Kind = Kind::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "The host failed",
);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, kind, Json(self)).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::UnknownComponent(_)
            | Error::Refused(Refused::Unknown(_))
            | Error::Store(StoreError::Missing(_)) => NOT_FOUND,
            Error::Refused(Refused::Label(_)) => INVALID,
            Error::Refused(_) | Error::Store(StoreError::Elsewhere(_)) => CONFLICT,
            Error::Compile(_) | Error::Load(_) | Error::Widens(_) => REFUSED,
            Error::Store(StoreError::Arrival(source)) if upload::is_too_large(source) => {
                return TOO_LARGE.with(format!(
                    "a component has at most {} MiB",
                    UPLOAD_BYTES >> 20
                ));
            }
            Error::Store(StoreError::Arrival(_)) => ARRIVAL,
            Error::Store(_) | Error::Host(_) => HOST,
        };
        kind.with(marquee_runtime::chain(&error))
    }
}

/// What axum says of a request that it could not read.
fn rejected(status: StatusCode, text: String) -> Problem {
    Kind { status, ..INVALID }.with(text)
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}
