//! The statements of `store`, on a real PostgreSQL with the host's schema and the service's.
#![cfg(test)]

mod batches;
mod commands;
mod erasing;
mod events;
mod queries;
mod removing;
mod support;
mod version_before;
