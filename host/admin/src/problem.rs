//! Errors of the admin API, of the catalogue that hosts and components share, and some of its own. An operator may know
//! the causes.

use axum::{
    Json,
    extract::{
        Path,
        rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use marquee_problem::{
    BODY_TOO_LARGE, CONFLICT, INTERNAL, Kind, MEDIA_TYPE, NO_SUCH_RESOURCE, UNAVAILABLE,
};
use marquee_registry::{Refused, StoreError};
use marquee_releases::Error;

use crate::{documents::UPLOAD_BYTES, upload};

/// A problem as an answer.
#[derive(Debug)]
pub(crate) struct Problem(Box<marquee_problem::Problem>);

impl From<marquee_problem::Problem> for Problem {
    fn from(problem: marquee_problem::Problem) -> Self {
        Self(Box::new(problem))
    }
}

const INVALID: Kind = Kind {
    status: 400,
    uri: "/problems/invalid-request",
    title: "The request is not valid",
    meaning: "The detail says what is wrong with it.",
};
const ARRIVAL: Kind = Kind {
    status: 400,
    uri: "/problems/not-arrived",
    title: "The component did not arrive",
    meaning: "The upload broke off, or could not be kept.",
};
const REFUSED: Kind = Kind {
    status: 422,
    uri: "/problems/version-refused",
    title: "The version is refused",
    meaning: "It does not compile, does not fit its neighbours, or asks for more than it is granted.",
};

/// What a problem's type leads to.
pub(crate) async fn kind(Path(name): Path<String>) -> Result<Json<&'static Kind>, Problem> {
    let kinds = marquee_problem::ALL.iter();
    let found = kinds
        .chain(&[INVALID, ARRIVAL, REFUSED])
        .find(|kind| kind.name() == name);
    let unknown = || {
        NO_SUCH_RESOURCE
            .with("there is no such kind of problem")
            .into()
    };
    found.map(Json).ok_or_else(unknown)
}

/// There is nothing at that place.
pub(crate) fn nothing() -> Problem {
    let detail = "see /admin/v1/openapi.json for what there is";
    NO_SUCH_RESOURCE.with(detail).into()
}

impl Problem {
    /// The request is not valid, and why.
    pub(crate) fn invalid(detail: String) -> Self {
        INVALID.with(detail).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        (status, kind, Json(self.0)).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::UnknownComponent(_) | Error::Store(StoreError::Missing(_)) => NO_SUCH_RESOURCE,
            Error::Refused(refused) => kind_of(refused),
            Error::Others(_) => INVALID,
            Error::Store(StoreError::Elsewhere(_)) => CONFLICT,
            Error::Late(_) | Error::Stopping | Error::Ledger(_) => UNAVAILABLE,
            Error::Compile(_)
            | Error::Load(_)
            | Error::Breaks(_)
            | Error::Migrate(_)
            | Error::Widens(_)
            | Error::Unsigned(_)
            | Error::NotEverywhere { .. } => REFUSED,
            Error::Store(StoreError::Arrival(source)) if upload::is_too_large(source) => {
                let detail = format!("a component has at most {} MiB", UPLOAD_BYTES >> 20);
                return BODY_TOO_LARGE.with(detail).into();
            }
            Error::Store(StoreError::Arrival(_)) => ARRIVAL,
            Error::Store(_) | Error::Work(_) => INTERNAL,
        };
        kind.with(marquee_runtime::chain(&error)).into()
    }
}

impl From<marquee_delivery::Error> for Problem {
    fn from(error: marquee_delivery::Error) -> Self {
        UNAVAILABLE.with(marquee_runtime::chain(&error)).into()
    }
}

/// Of a step that a component's state does not allow.
fn kind_of(refused: &Refused) -> Kind {
    match refused {
        Refused::Of(_, refused) => kind_of(refused),
        Refused::Unknown(_) | Refused::NoShadow => NO_SUCH_RESOURCE,
        Refused::Label(_) => INVALID,
        _ => CONFLICT,
    }
}

/// What axum says of a request that it could not read.
fn rejected(status: StatusCode, text: String) -> Problem {
    let kind = Kind {
        status: status.as_u16(),
        ..INVALID
    };
    kind.with(text).into()
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

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}
