//! Errors of the admin API, as problem+json. An operator may know the causes.

use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use marquee_registry::{Refused, StoreError};
use serde::{Deserialize, Serialize};

use crate::releases::Error;

/// RFC 9457.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self {
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, kind, Json(self)).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, title) = match &error {
            Error::UnknownComponent(_)
            | Error::Refused(Refused::Unknown(_))
            | Error::Store(StoreError::Missing(_)) => {
                (StatusCode::NOT_FOUND, "There is no such thing")
            }
            Error::Refused(Refused::Label(_)) => {
                (StatusCode::BAD_REQUEST, "The request is not valid")
            }
            Error::Refused(_) | Error::Store(StoreError::Elsewhere(_)) => {
                (StatusCode::CONFLICT, "The state does not allow it")
            }
            Error::Compile(_) | Error::Load(_) | Error::Widens(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "The version is refused")
            }
            Error::Store(_) | Error::Host(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "The host failed")
            }
        };
        Self::new(status, title, marquee_runtime::chain(&error))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(
            rejection.status(),
            "The URL is not valid",
            rejection.body_text(),
        )
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(
            rejection.status(),
            "The URL is not valid",
            rejection.body_text(),
        )
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(
            rejection.status(),
            "The body is not valid",
            rejection.body_text(),
        )
    }
}
