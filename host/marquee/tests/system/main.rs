//! The whole: the real binary with the real components, on real servers.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that panics says what is wrong; its tasks end with it"
)]

mod admin;
mod api;
mod bus;
mod caching;
mod cli;
mod console;
mod consumers;
mod contract;
mod counter;
mod databases;
mod deploy;
mod documents;
mod evolution;
mod examples;
mod grpc;
mod h2spec;
mod host;
mod hosts;
mod http2;
mod imports;
mod kafka;
mod lifecycle;
mod limits;
mod lines;
mod logs;
mod manifests;
mod metrics;
mod migrations;
mod operators;
mod pooler;
mod prometheus;
mod pull;
mod rates;
mod raw;
mod releases;
mod retention;
mod shadows;
mod signatures;
mod spin;
mod tls;
mod tools;
mod traces;
mod versions;
mod worlds;
