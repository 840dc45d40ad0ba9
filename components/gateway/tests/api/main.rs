//! The gateway's routes, driven natively with a double of what stands behind them.
//!
//! What the double cannot show (that the components answer so) is for the component and system tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are tests, which clippy cannot see"
)]

mod bad_input;
mod documents;
mod double;
mod openapi;
mod reading;
mod writing;
