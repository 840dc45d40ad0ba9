//! Problems: what every error that goes to a client over HTTP becomes (RFC 9457), in one shape and from one catalogue,
//! for the host and for components.
//!
//! Promise: a kind's name and status never change once released; a problem's `detail` is for people. Not here: HTTP
//! itself, and what only one application knows (it adds kinds of its own, as constants of the same type).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

mod catalogue;

pub use catalogue::*;

/// A kind of problem. As JSON, it is what its `type` leads to.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Kind {
    /// Its `type`: `/problems/NAME`, a path on the server that describes the kind.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    pub uri: &'static str,
    /// The status of an answer that tells of it.
    pub status: u16,
    /// The kind, for people.
    pub title: &'static str,
    /// What it means and what to do, in a line or two. Code stands in backticks.
    #[serde(rename = "description")]
    pub meaning: &'static str,
}

impl Kind {
    /// The last part of its `type`.
    pub fn name(&self) -> &'static str {
        self.uri.strip_prefix(TYPE_PREFIX).unwrap_or(self.uri)
    }

    /// An occurrence; `detail` says what happened, to what, and what to do.
    pub fn with(&self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            kind: self.uri.into(),
            title: self.title.into(),
            status: self.status,
            detail: detail.into(),
            instance: None,
            field: None,
            existing_id: None,
        }
    }

    /// Seconds until it is worth trying again, for the header `Retry-After`: where something is not there now, and nothing
    /// was done. Long enough for a failover's next try, short enough for a person.
    pub fn retry_after_s(&self) -> Option<u32> {
        retry_after_s(self.status)
    }

    /// The canonical code of gRPC for an answer that tells of it.
    pub fn grpc_status(&self) -> u8 {
        grpc_status(self.status)
    }
}

/// What a status of HTTP is as a canonical code of gRPC: its number.
fn grpc_status(status: u16) -> u8 {
    match status {
        // INVALID_ARGUMENT
        400 | 422 => 3,
        // DEADLINE_EXCEEDED
        504 => 4,
        // NOT_FOUND
        404 => 5,
        // ALREADY_EXISTS
        409 => 6,
        // PERMISSION_DENIED
        403 => 7,
        // RESOURCE_EXHAUSTED
        413 | 429 => 8,
        // UNAVAILABLE
        503 => 14,
        // UNAUTHENTICATED
        401 => 16,
        // INTERNAL
        _ => 13,
    }
}

/// A problem of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind of the problem: a path on this server that says what it means.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uri-reference"))]
    pub kind: Cow<'static, str>,
    /// The kind, for people.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub title: Cow<'static, str>,
    /// The status of the answer.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// This occurrence, for people.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub detail: Cow<'static, str>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required))]
    pub instance: Option<String>,
    /// The field or parameter at fault, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub field: Option<String>,
    /// With a conflict: the id of what is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub existing_id: Option<String>,
}

impl Problem {
    /// See [`Kind::retry_after_s`].
    pub fn retry_after_s(&self) -> Option<u32> {
        retry_after_s(self.status)
    }

    /// See [`Kind::grpc_status`].
    pub fn grpc_status(&self) -> u8 {
        grpc_status(self.status)
    }
}

fn retry_after_s(status: u16) -> Option<u32> {
    (status == UNAVAILABLE.status).then_some(2)
}

/// Where the types of problems are described.
pub const TYPE_PREFIX: &str = "/problems/";
/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_kinds_are_distinct_and_each_status_is_an_errors() {
        let names: BTreeSet<_> = ALL.iter().map(Kind::name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|kind| (400..600).contains(&kind.status)));
        assert!(names.iter().all(|name| !name.contains('/')));
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_those_that_are_needed() {
        let mut problem = OUT_OF_BOUNDS.with("`value` must be from 1 to 10");
        problem.instance = Some("r1".into());
        problem.field = Some("value".into());
        problem.existing_id = Some("i1".into());
        let sent = serde_json::json!({
            "type": "/problems/out-of-bounds", "title": "A value is outside its bounds", "status": 422,
            "detail": "`value` must be from 1 to 10", "instance": "r1", "field": "value", "existing_id": "i1",
        });
        assert_eq!(serde_json::to_value(&problem).unwrap(), sent);
        assert_eq!(serde_json::from_value::<Problem>(sent).unwrap(), problem);
    }

    #[test]
    fn each_kind_has_a_status_of_grpc() {
        let known = [
            (&WRONG_SHAPE, 3),
            (&OUT_OF_BOUNDS, 3),
            (&UNAUTHORIZED, 16),
            (&FORBIDDEN, 7),
            (&NO_SUCH_RESOURCE, 5),
            (&CONFLICT, 6),
            (&BODY_TOO_LARGE, 8),
            (&TOO_MANY_REQUESTS, 8),
            (&UNAVAILABLE, 14),
            (&DEADLINE_PASSED, 4),
            (&INTERNAL, 13),
        ];
        for (kind, status) in known {
            assert_eq!(kind.grpc_status(), status, "{}", kind.name());
            assert_eq!(kind.with("").grpc_status(), status, "{}", kind.name());
        }
        // Never OK.
        assert!(ALL.iter().all(|kind| kind.grpc_status() != 0));
    }

    #[test]
    fn only_what_passes_is_worth_a_second_try() {
        assert_eq!(UNAVAILABLE.with("").retry_after_s(), Some(2));
        // It may have been done.
        assert_eq!(DEADLINE_PASSED.with("").retry_after_s(), None);
        assert_eq!(INTERNAL.with("").retry_after_s(), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_problem_is_sent_on_as_it_came(bytes in mangled([
            serde_json::to_vec(&OUT_OF_BOUNDS.with("`value` must be from 1 to 10")).unwrap(),
            br#"{"type":"about:blank","title":"","status":99999,"detail":"\ud800","instance":null}"#.to_vec(),
        ])) {
            if let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) {
                let sent = serde_json::to_vec(&problem).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Problem>(&sent).unwrap(), problem);
            }
        }
    }
}
