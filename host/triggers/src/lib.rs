//! Triggers: each turns something from outside into one call of a component.
//!
//! HTTP requests, messages from the bus, and the clock. None of them knows SQL.

pub mod http;
mod problem;
pub mod server;
