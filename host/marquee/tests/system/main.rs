//! The whole: the real binary with the real components, on real servers.

mod bad_input;
mod bus;
mod cli;
mod host;
mod lifecycle;
mod raw;
