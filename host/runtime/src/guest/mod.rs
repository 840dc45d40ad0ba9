//! What the host itself calls in a component: one file an entry point, all of one shape.

pub(crate) mod consumer;
pub(crate) mod http;
pub(crate) mod job;
pub(crate) mod probe;
