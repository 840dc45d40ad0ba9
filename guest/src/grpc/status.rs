//! Statuses of gRPC: what a problem is as one, and what is made of those that tonic gives by itself.

use std::{error::Error as _, sync::Arc, time::Duration};

use axum::response::Response;
use marquee_problem::{Problem, TYPE_PREFIX};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::rest::Failure;

impl From<Failure> for Status {
    /// Tells operators the cause, as for REST. What a client is told is written with the answer.
    fn from(failure: Failure) -> Self {
        failure.log();
        let mut status = Self::new(Code::Unknown, "");
        status.set_source(Arc::new(failure));
        status
    }
}

/// What a client can do about it stands in details that it knows.
fn told(failure: &Failure, domain: &str, resource: &str) -> Status {
    let problem = &failure.problem;
    let mut details = ErrorDetails::with_error_info(reason(problem), domain, []);
    if let Some(field) = &problem.field {
        details.add_bad_request_violation(field, problem.detail.as_ref());
    }
    if let Some(id) = &problem.existing_id {
        details.set_resource_info(resource, id, "", problem.title.as_ref());
    }
    if let Some(seconds) = failure.retry_after_s() {
        details.set_retry_info(Some(Duration::from_secs(seconds.into())));
    }
    let code = Code::from_i32(problem.grpc_status().into());
    // Its detail speaks of a member that only JSON has.
    let message = match &problem.existing_id {
        Some(id) => format!("{}: {id}", problem.title),
        None => problem.detail.to_string(),
    };
    Status::with_error_details(code, message, details)
}

/// The name of the problem's kind as `ErrorInfo` has names: `UNKNOWN_MOVIE` of `/problems/unknown-movie`.
fn reason(problem: &Problem) -> String {
    let kind = problem.kind.strip_prefix(TYPE_PREFIX);
    let name = kind.unwrap_or(&problem.kind);
    name.replace('-', "_").to_ascii_uppercase()
}

/// Whose fault it is, where tonic says it: what cannot be read is the client's, and no error of this component.
/// Problems are told in the name of `domain`, conflicts of a `resource`.
pub(super) fn blame(response: Response, domain: &str, resource: &str) -> Response {
    let Some(status) = response.extensions().get::<Status>() else {
        // Without a word of its own, tonic answers that it has no such method.
        let unknown = response.headers().contains_key(Status::GRPC_STATUS);
        let status = || Status::unimplemented("the service has no such method");
        return if unknown {
            status().into_http()
        } else {
            response
        };
    };
    let failure = status.source().and_then(|source| source.downcast_ref());
    if let Some(failure) = failure {
        return told(failure, domain, resource).into_http();
    }
    let (code, message) = match status.code() {
        Code::OutOfRange => (
            Code::ResourceExhausted,
            "a message has at most 65,536 bytes",
        ),
        Code::Internal => (Code::InvalidArgument, status.message()),
        Code::Unknown => (Code::InvalidArgument, "the body ended too early"),
        _ => return response,
    };
    Status::new(code, message).into_http()
}
