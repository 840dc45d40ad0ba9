//! Triggers: each turns something from outside into one call of a component.
//!
//! HTTP requests, messages from the bus, and the clock. None of them has SQL of its own.

pub mod access;
pub mod bus;
mod client;
mod delivery;
pub mod http;
mod partition;
mod problem;
mod rates;
pub mod retry;
pub mod schedule;
pub mod server;
pub mod telemetry;
mod trace;
mod watch;
mod work;

pub use client::{InvalidProxies, Proxies};
pub use delivery::Deliverer;
pub use watch::Watch;
pub use work::Worker;
