//! Problems: what every error becomes (RFC 9457).
//!
//! Promise: a problem's `type` and status never change once released; its `detail` is for people and holds
//! nothing of the system's inside. `existing_id` and `field` are extension members.

use serde::Serialize;

use crate::{
    domain::{Fault, Invalid},
    http::Response,
    upstream::Failure,
};

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No resource has this path.
    NoSuchResource,
    /// No movie has this id.
    UnknownMovie,
    /// The resource has no such method.
    MethodNotAllowed,
    /// The client accepts nothing that the resource can send.
    NotAcceptable,
    /// A part of the URL is not what the route takes.
    InvalidParameter,
    /// The body is not JSON.
    MalformedBody,
    /// The body is JSON of another shape.
    WrongShape,
    /// A value of the body is outside its bounds.
    OutOfBounds,
    /// Another movie has the title.
    TitleTaken,
    /// The body has too many bytes.
    BodyTooLarge,
    /// The body is not said to be plain JSON.
    UnsupportedMediaType,
    /// A component or the bus is not there now.
    Unavailable,
    /// A component did not answer in time.
    DeadlinePassed,
    /// Anything else.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 14] = [
        Kind::NoSuchResource,
        Kind::UnknownMovie,
        Kind::MethodNotAllowed,
        Kind::NotAcceptable,
        Kind::InvalidParameter,
        Kind::MalformedBody,
        Kind::WrongShape,
        Kind::OutOfBounds,
        Kind::TitleTaken,
        Kind::BodyTooLarge,
        Kind::UnsupportedMediaType,
        Kind::Unavailable,
        Kind::DeadlinePassed,
        Kind::Internal,
    ];

    /// The kind's name, last part of its `type`; the kind's status; its title.
    const fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Kind::NoSuchResource => ("no-such-resource", 404, "There is nothing at this path"),
            Kind::UnknownMovie => ("unknown-movie", 404, "No movie has this id"),
            Kind::MethodNotAllowed => {
                ("method-not-allowed", 405, "The resource has no such method")
            }
            Kind::NotAcceptable => (
                "not-acceptable",
                406,
                "The resource cannot be sent as the client accepts it",
            ),
            Kind::InvalidParameter => ("invalid-parameter", 400, "A part of the URL is not valid"),
            Kind::MalformedBody => ("malformed-body", 400, "The body is not JSON"),
            Kind::WrongShape => (
                "wrong-shape",
                400,
                "The body does not have the shape that the resource takes",
            ),
            Kind::OutOfBounds => ("out-of-bounds", 422, "A value is outside its bounds"),
            Kind::TitleTaken => ("title-taken", 409, "Another movie has this title"),
            Kind::BodyTooLarge => ("body-too-large", 413, "The body is too large"),
            Kind::UnsupportedMediaType => {
                ("unsupported-media-type", 415, "The body must be plain JSON")
            }
            Kind::Unavailable => ("unavailable", 503, "A part of the service is not available"),
            Kind::DeadlinePassed => (
                "deadline-passed",
                504,
                "A part of the service did not answer in time",
            ),
            Kind::Internal => ("internal", 500, "Something went wrong on our side"),
        }
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The status.
    pub const fn status(self) -> u16 {
        self.facts().1
    }

    /// The title.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    /// The `type`: a path on this server that describes the kind.
    pub fn uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.name())
    }
}

/// Where the types of problems are described.
pub const TYPE_PREFIX: &str = "/problems/";
/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// What a client is told to wait when a dependency is down: long enough for a failover's next try, short enough
/// for a person.
pub const RETRY_AFTER_S: u32 = 2;

/// One occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    field: Option<&'static str>,
    existing_id: Option<String>,
    allow: Option<String>,
    /// For operators; never sent.
    cause: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            field: None,
            existing_id: None,
            allow: None,
            cause: None,
        }
    }

    /// Names the field or parameter that is at fault.
    pub(crate) fn of_field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Says which methods there are.
    pub(crate) fn allowing(mut self, allow: String) -> Self {
        self.allow = Some(allow);
        self
    }

    /// A value in the URL that was refused: always the URL's fault, so 400 in either case.
    pub(crate) fn in_url(invalid: Invalid) -> Self {
        let detail = format!("parameter `{}` {}", invalid.field, invalid.reason);
        Self::new(Kind::InvalidParameter, detail).of_field(invalid.field)
    }

    /// A value in the body that was refused.
    pub(crate) fn in_body(invalid: Invalid) -> Self {
        let kind = match invalid.fault {
            Fault::Malformed => Kind::WrongShape,
            Fault::OutOfBounds => Kind::OutOfBounds,
        };
        let detail = format!("field `{}` {}", invalid.field, invalid.reason);
        Self::new(kind, detail).of_field(invalid.field)
    }

    /// A failure of another component. `refused` is the kind of a value that only its owner could judge: 400
    /// where it stood in the URL, 422 where it stood in the body.
    pub(crate) fn of_failure(failure: Failure, refused: Kind) -> Self {
        match failure {
            Failure::TitleTaken(id) => {
                let mut problem = Self::new(
                    Kind::TitleTaken,
                    "titles are compared without letter case and outer blanks",
                );
                problem.existing_id = Some(id);
                problem
            }
            Failure::Invalid(text) => Self::new(refused, text),
            Failure::Unavailable(text) => {
                Self::new(Kind::Unavailable, "try again in a moment").caused_by(text)
            }
            Failure::DeadlinePassed(text) => {
                Self::new(Kind::DeadlinePassed, "try again in a moment").caused_by(text)
            }
            Failure::Other(text) => {
                Self::new(Kind::Internal, "the request id finds it in the log").caused_by(text)
            }
        }
    }

    /// Keeps what operators should know.
    pub(crate) fn caused_by(mut self, cause: String) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The field or parameter that is at fault.
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// What operators should know.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer that tells of it. `instance` is the request's id.
    pub(crate) fn into_response(self, instance: &str) -> Response {
        let wire = Wire {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status(),
            detail: &self.detail,
            instance,
            field: self.field,
            existing_id: self.existing_id.as_deref(),
        };
        // Strings and a number always become JSON; were it otherwise, the status alone still tells.
        let body = serde_json::to_vec(&wire).unwrap_or_default();
        let mut response = Response::new(self.kind.status(), MEDIA_TYPE, body);
        if let Some(allow) = self.allow {
            response = response.with("allow", allow);
        }
        if matches!(self.kind, Kind::Unavailable | Kind::DeadlinePassed) {
            response = response.with("retry-after", RETRY_AFTER_S.to_string());
        }
        response
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    existing_id: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kinds_are_distinct() {
        for (at, kind) in Kind::ALL.iter().enumerate() {
            assert!(
                Kind::ALL
                    .iter()
                    .skip(at + 1)
                    .all(|other| other.name() != kind.name())
            );
        }
    }

    #[test]
    fn what_operators_should_know_is_not_sent() {
        let failure = Failure::Other("relation \"movies\" does not exist".into());
        let response = Problem::of_failure(failure, Kind::InvalidParameter).into_response("r1");
        let body = String::from_utf8(response.body.unwrap().into_owned()).unwrap();
        assert_eq!(response.status, 500);
        assert!(!body.contains("relation"), "{body}");
    }
}
