//! PostgreSQL for the host: pools, units of work and migrations.
//!
//! The only crate that opens a connection to a database. It knows no component, no message and no bus: those
//! who do hold a [`Database`] and say SQL.

mod activity;
mod backoff;
mod cancel;
mod config;
mod connect;
mod connection;
mod error;
mod fitness;
mod kind;
mod known;
pub mod lease;
mod listen;
mod locks;
pub mod migrate;
mod pool;
pub mod seeded;
mod session;
mod shared;
mod statements;
pub mod telemetry;
mod tls;
mod undone;
mod unit;

pub use activity::{Activity, Running};
pub use backoff::Backoff;
pub use config::{Config, Secret};
pub use connection::Connection;
pub use error::{CommitError, Error, chain, code};
pub use fitness::Unfit;
pub use listen::Listener;
pub use migrate::Migrations;
pub use pool::Database;
pub use session::{Alone, Transaction, begins};
pub use shared::Work;
pub use undone::{Hang, Undone, Would};
pub use unit::Unit;
