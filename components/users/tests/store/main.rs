//! The statements of `store`, on a real PostgreSQL with the host's schema and the service's.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure is a failed test"
)]

mod attempts;
mod plans;
mod sessions;
mod support;
mod users;
