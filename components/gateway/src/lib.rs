//! The gateway: the public REST API of the movie system.
//!
//! Promises: every answer is JSON of the shape that `openapi.json` describes, every error a problem of RFC 9457;
//! a request is checked completely before another component hears of it. Bounded by the limits in `http` and
//! `domain`. It keeps nothing: what it knows it asks the metadata and rating components, and a rating goes to
//! the bus.
//!
//! To read first: `routes` (the table), then `domain`. `guest` is the only module that knows WASI, and
//! `upstream::wit` the only one that knows the other components' interfaces.

mod bindings;
pub mod domain;
pub mod guest;
pub mod http;
pub mod problem;
pub mod routes;
pub mod upstream;

pub use routes::answer;

/// What a request needs of the world besides the other components. Plain functions, so that a test can give
/// its own clock and ids.
#[derive(Clone, Copy)]
pub struct Edge {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub now_us: fn() -> u64,
    /// A fresh id, a UUIDv7 in its hyphenated lower-case form.
    pub new_id: fn() -> String,
    /// Writes one line for operators. The text may hold what a client sent: the line must be escaped.
    pub log: fn(&str),
}
