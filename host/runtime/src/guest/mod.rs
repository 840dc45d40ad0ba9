//! What the host itself calls in a component: one file an entry point.

pub(crate) mod consumer;
pub(crate) mod http;
pub(crate) mod job;
pub(crate) mod probe;
