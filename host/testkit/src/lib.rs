//! Real servers for tests.
//!
//! A test process starts what it asks for, once, and its servers end with it, however it ends. A run of many test
//! processes starts them before (`with-servers`) and names them by `DATABASE_URL_TEST` and `KAFKA_BROKERS_TEST`. Each
//! test has a database, topics and groups of its own. A server that cannot be had is a panic that says what to
//! install, never a skip.

#![expect(
    clippy::disallowed_methods,
    reason = "a test has no command line: servers are named by the environment, tasks end with the test"
)]

mod condition;
#[cfg(feature = "docker")]
pub mod docker;
mod guardian;
pub mod kafka_server;
mod log;
mod ports;
mod postgres;
mod proxy;

pub use condition::{eventually, unique};
pub use log::{Errors, errors, not_tried};
pub use ports::free_port;
pub use postgres::{PostgresServer, TestDatabase, database, for_a_run, postgres, sweep_databases};
pub use proxy::{Proxy, proxy};

/// A broker of the test's own, which it may break.
pub async fn broker() -> kafka_server::Server {
    let started = tokio::task::spawn_blocking(kafka_server::start).await;
    started.expect("Kafka starts")
}

/// The brokers of an Apache Kafka that all tests of the run share. Use [`unique`] topics and groups.
pub async fn kafka() -> String {
    kafka_server::shared().await
}
