//! The unit of work: statements that commit together or not at all.
//!
//! Promise: BEGIN travels with the first statement, so a unit costs one round trip more than its statements
//! (the commit). After a failed statement nothing of the unit can commit. Dropped, it leaves nothing: the
//! connection is closed, and the server rolls back. A connection goes back to the pool only after COMMIT or
//! ROLLBACK was answered.
//!
//! Bound: one connection. Not here: deciding whether to commit.

use tokio_postgres::{Row, Statement, error::SqlState, types::ToSql};

use crate::{CommitError, Connection, Database, Error};

/// A transaction that begins with its first statement.
pub struct Unit {
    database: Database,
    state: State,
}

enum State {
    /// Nothing was sent; there is nothing to commit.
    Fresh,
    /// In a transaction.
    Open(Connection),
    /// A statement failed: only a rollback is left. The error is kept for the commit's answer.
    Failed {
        connection: Option<Connection>,
        cause: Cause,
    },
}

/// Why the unit failed, enough to decide whether doing it again may help.
struct Cause {
    code: Option<SqlState>,
    unavailable: bool,
}

impl Unit {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            state: State::Fresh,
        }
    }

    /// The database that it works on.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether a statement failed: the unit can only be rolled back.
    pub fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed { .. })
    }

    /// Whether it failed by a conflict with another transaction, so that doing all of it again may succeed.
    pub fn is_conflict(&self) -> bool {
        matches!(&self.state, State::Failed { cause, .. } if cause.code.as_ref().is_some_and(crate::error::is_conflict))
    }

    /// Whether it failed because the database could not be reached.
    pub fn is_unavailable(&self) -> bool {
        matches!(&self.state, State::Failed { cause, .. } if cause.unavailable)
    }

    /// Run a statement and read its rows.
    pub async fn query(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.run(sql, async |client, statement| {
            client.query(statement, params).await
        })
        .await
    }

    /// Run a statement that changes rows and learn how many.
    pub async fn execute(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.run(sql, async |client, statement| {
            client.execute(statement, params).await
        })
        .await
    }

    /// Run a prepared statement by the caller's own hand, within the unit. `work` must read the whole answer:
    /// a failure that nobody reads would go unnoticed until the commit.
    pub async fn run<T>(
        &mut self,
        sql: &str,
        work: impl AsyncFnOnce(
            &deadpool_postgres::ClientWrapper,
            &Statement,
        ) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let (mut connection, fresh) =
            match std::mem::replace(&mut self.state, failed(None, None, false)) {
                State::Open(connection) => (connection, false),
                State::Fresh => match self.database.connection().await {
                    Ok(connection) => (connection, true),
                    Err(error) => return Err(self.fail(None, error)),
                },
                State::Failed { connection, cause } => {
                    self.state = State::Failed { connection, cause };
                    return Err(Error::UnitFailed {
                        database: self.database.name().to_owned(),
                    });
                }
            };
        let statement = match connection.prepare(sql).await {
            Ok(statement) => statement,
            Err(error) => {
                // Fresh: no transaction is open, so the connection may go back as it is.
                let kept = if fresh {
                    None
                } else {
                    Some(in_doubt(connection))
                };
                return Err(self.fail(kept, error));
            }
        };
        let result = connection
            .during(async |client| {
                if fresh {
                    // Both are written before either answer is awaited: one round trip.
                    let (begun, result) =
                        futures::join!(client.batch_execute("begin"), work(client, &statement));
                    begun?;
                    result
                } else {
                    work(client, &statement).await
                }
            })
            .await;
        // Until COMMIT or ROLLBACK was answered, dropping the connection must close it.
        let connection = in_doubt(connection);
        match result {
            Ok(value) => {
                self.state = State::Open(connection);
                Ok(value)
            }
            Err(error) => Err(self.fail(Some(connection), error)),
        }
    }

    /// Make it stand. A unit without statements has nothing to commit and succeeds.
    pub async fn commit(mut self) -> Result<(), CommitError> {
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Fresh => Ok(()),
            State::Failed { connection, cause } => {
                self.state = State::Failed { connection, cause };
                let error = Error::UnitFailed {
                    database: self.database.name().to_owned(),
                };
                self.rollback().await;
                Err(CommitError::RolledBack(error))
            }
            State::Open(mut connection) => {
                match connection
                    .during(async |client| client.batch_execute("commit").await)
                    .await
                {
                    Ok(()) => Ok(()),
                    Err(error @ Error::Unavailable { .. }) => {
                        connection.discard();
                        Err(CommitError::Unknown(error.to_string()))
                    }
                    // A deferred constraint or a serialization failure: the server has rolled back.
                    Err(error) => Err(CommitError::RolledBack(error)),
                }
            }
        }
    }

    /// Leave nothing of it. Where the server cannot be told, the connection is closed, which says the same.
    pub async fn rollback(mut self) {
        let connection = match std::mem::replace(&mut self.state, State::Fresh) {
            State::Open(connection)
            | State::Failed {
                connection: Some(connection),
                ..
            } => connection,
            State::Fresh
            | State::Failed {
                connection: None, ..
            } => return,
        };
        let mut connection = connection;
        if connection
            .during(async |client| client.batch_execute("rollback").await)
            .await
            .is_err()
        {
            connection.discard();
        }
    }

    fn fail(&mut self, connection: Option<Connection>, error: Error) -> Error {
        self.state = failed(connection, error.code().cloned(), error.is_unavailable());
        error
    }
}

fn failed(connection: Option<Connection>, code: Option<SqlState>, unavailable: bool) -> State {
    State::Failed {
        connection,
        cause: Cause { code, unavailable },
    }
}

fn in_doubt(mut connection: Connection) -> Connection {
    connection.mark_busy(true);
    connection
}
