//! Statements that keep everybody else out of a table, such as `alter table`.
//!
//! Promise: nobody stands behind them for longer than [`LOCK_TIMEOUT`] a lock. Who waits for such a lock holds up all who
//! come after, readers too: behind a dump that reads a table for an hour, everything would stand for an hour. So they give
//! up soon, and are tried again when the others have had their turn.

use std::time::Duration;

use crate::{Backoff, Connection, Error};

impl Connection {
    /// Run statements as one transaction that waits for each lock for a moment only. Nothing of it stands after a failure,
    /// and the connection is outside a transaction again.
    pub async fn alter_now(&mut self, sql: &str) -> Result<(), Error> {
        let timeout = LOCK_TIMEOUT.as_millis();
        let sql = format!("begin;\nset local lock_timeout = {timeout};\n{sql}\n;commit;");
        let result = self
            .during(async |client| client.batch_execute(&sql).await)
            .await;
        if let Err(error) = &result {
            let is_open = error.code().is_some();
            if !is_open || self.batch("rollback").await.is_err() {
                self.taint();
            }
        }
        result
    }

    /// As [`Self::alter_now`], again and again until all locks were had, however long others keep them. `what` is said in
    /// the log while it waits.
    pub async fn alter(&mut self, what: &str, sql: &str) -> Result<(), Error> {
        self.until_had(what, sql, false).await
    }

    /// As [`Self::alter`], of one statement that may not be in a transaction. The session keeps the timeout, so it is closed
    /// and not given back.
    pub(crate) async fn alter_apart(&mut self, what: &str, sql: &str) -> Result<(), Error> {
        self.taint();
        let timeout = LOCK_TIMEOUT.as_millis();
        self.batch(&format!("set lock_timeout = {timeout}")).await?;
        self.until_had(what, sql, true).await
    }

    /// Try until all locks were had; between two tries others have their turn. With a closure for the try, this future could
    /// not go from thread to thread.
    async fn until_had(&mut self, what: &str, sql: &str, is_apart: bool) -> Result<(), Error> {
        let mut failures = 0_u32;
        loop {
            let result = match is_apart {
                true => self.batch(sql).await,
                false => self.alter_now(sql).await,
            };
            match result {
                Err(error) if error.is_locked() => {
                    tracing::warn!("{what} waits: another session has what it changes locked");
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(BACKOFF.delay(failures)).await;
                }
                result => return result,
            }
        }
    }
}

/// As long as anybody else may stand still.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// The others are served in it.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
