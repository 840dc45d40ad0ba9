//! The statements of `store`, on a real PostgreSQL with the host's schema and the service's.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: a failure is a failed test"
)]

mod before;
mod changing;
mod creating;
mod finding;
mod listing;
mod plans;
mod support;
