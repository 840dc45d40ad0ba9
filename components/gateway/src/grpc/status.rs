//! Statuses of gRPC: what a problem is as one, and what is made of those that tonic gives by itself.

use std::{error::Error as _, sync::Arc, time::Duration};

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::failure::Failure;

impl From<Failure> for Status {
    /// Tells operators the cause, as for REST. What a client can do stands in details that it knows.
    fn from(failure: Failure) -> Self {
        failure.log();
        let problem = &failure.problem;
        let mut details = ErrorDetails::new();
        if let Some(field) = &problem.field {
            details.add_bad_request_violation(field, problem.detail.as_ref());
        }
        if let Some(id) = &problem.existing_id {
            details.set_resource_info("Metadata", id, "", problem.title.as_ref());
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
        let mut status = Self::with_error_details(code, message, details);
        status.set_source(Arc::new(failure));
        status
    }
}

/// Whose fault it is, where tonic says it: what cannot be read is the client's, and no error of this component.
pub(super) fn blame(response: Response) -> Response {
    let Some(status) = response.extensions().get::<Status>() else {
        return response;
    };
    if status.source().is_some_and(|source| source.is::<Failure>()) {
        return response;
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
