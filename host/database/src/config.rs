//! How a database is reached, and the bounds of what is asked of it.

use std::{fmt, time::Duration};

/// A text that must not be seen: a URL with a password, a token. `Debug` and `Display` print nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keep a text out of sight.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A database and the bounds of its use.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the manifest calls it; stands in logs and errors.
    pub name: String,
    /// A `postgres://` URL. `sslmode=require` asks for TLS, verified against the system's certificates or those
    /// in `sslrootcert=FILE`; without it the connection is plain.
    pub url: Secret,
    /// Connections at the most.
    pub pool_size: usize,
    /// How long a caller waits for a free connection, and for a new one to open.
    pub acquire_timeout: Duration,
    /// How long the server works on one statement.
    pub statement_timeout: Duration,
    /// How long the server keeps a transaction open that does nothing.
    pub idle_in_transaction_timeout: Duration,
}

impl Config {
    /// A database with the default bounds.
    pub fn new(name: impl Into<String>, url: Secret) -> Self {
        Self {
            name: name.into(),
            url,
            pool_size: POOL_SIZE,
            acquire_timeout: ACQUIRE_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            idle_in_transaction_timeout: IDLE_IN_TRANSACTION_TIMEOUT,
        }
    }
}

/// Enough to keep two cores of database busy, few enough that ten hosts stay under PostgreSQL's default of 100.
pub(crate) const POOL_SIZE: usize = 8;
/// Shorter than any client waits, so that a database that is down is an answer and not a hang.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A statement of a request that takes longer is worth less than the connection it holds.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a statement, shorter than a batch's deadline: a host that hangs gives its locks back.
pub(crate) const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
