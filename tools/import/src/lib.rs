//! Brings films and ratings into a running Marquee through its public API, and proves with sample data that what
//! it serves is what was sent.
//!
//! Promises: a second run of the same command is harmless; a stopped one goes on where it was; an outage shorter
//! than the patience is survived. Bounds: `concurrency` requests in flight, each with a list of 64 KiB
//! at most. Not here:
//! anything that looks into a database or a bus.

pub mod api;
pub mod bulk;
pub mod demo;
mod feed;
pub mod films;
pub mod input;
pub mod plan;
pub mod progress;
pub mod retry;
pub mod session;
pub mod state;
pub mod tally;
