//! Capabilities: what a component may import beside WASI, and the units of work around its calls.
//!
//! Each gives a component what the manifest grants it and nothing else. None knows what started a call.

pub mod messaging;
pub mod outbound;
pub mod postgres;
pub mod variables;
