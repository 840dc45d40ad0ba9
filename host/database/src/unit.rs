//! The unit of work: statements that commit together or not at all.
//!
//! Promises: BEGIN travels with the first statement, so a unit costs one round trip more than its statements
//! (the commit). After a failed statement nothing of the unit can commit. It is one transaction: statements that end it
//! or outlive it are refused, and at its commit it proves that it is still the one that was begun. Dropped, it leaves
//! nothing: its statement is cancelled and rolled back, or its connection closed. A connection goes back to the pool only
//! after COMMIT or ROLLBACK was answered, and only if no statement may have changed its session.
//!
//! Bounds: one connection; between two statements the time to the deadline. Not here: deciding whether to commit.

use std::time::{Duration, Instant};

use tokio_postgres::{Row, Statement, error::SqlState, types::ToSql};

use crate::{
    CommitError, Connection, Database, Error,
    connection::planned,
    kind::{Kind, is_suspect},
    seeded::{Bug, seeded},
    telemetry::End,
};

/// A transaction that begins with its first statement.
pub struct Unit {
    database: Database,
    /// What the transaction has that was begun here, and no other one.
    mark: u64,
    deadline: Option<Instant>,
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
#[derive(Clone, Copy)]
struct Cause {
    conflict: bool,
    unavailable: bool,
}

impl Unit {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            mark: rand::random(),
            deadline: None,
            state: State::Fresh,
        }
    }

    /// It may be silent up to this moment: whoever works between its statements has that long. Otherwise as long as the
    /// database's configuration says.
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
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
        matches!(&self.state, State::Failed { cause, .. } if cause.conflict)
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

    /// As [`Self::query`], planned anew: see [`Connection::query_planned`].
    pub async fn query_planned(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.run(sql, async |client, statement| {
            planned(client, sql, statement, params).await
        })
        .await
    }

    /// As [`Self::query`], by indexes, whatever the tables were like when the statement was planned: so its plan can be kept.
    /// For statements of the host's that look each row up by its key. Three messages travel at once, in one round trip.
    pub async fn query_by_index(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.run(sql, async |client, statement| {
            let only = client.prepare_cached(BY_INDEX).await?;
            let any = client.prepare_cached(BY_ANY_PLAN).await?;
            let (set, rows, back) = futures::join!(
                client.execute(&only, &[]),
                client.query(statement, params),
                client.execute(&any, &[]),
            );
            set?;
            let rows = rows?;
            back?;
            Ok(rows)
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
    /// a failure that nobody reads would go unnoticed until the commit. A statement that is refused is not sent, and the
    /// unit goes on.
    pub async fn run<T>(
        &mut self,
        sql: &str,
        work: impl AsyncFnOnce(
            &deadpool_postgres::ClientWrapper,
            &Statement,
        ) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        match Kind::of(sql) {
            Kind::Work => {}
            Kind::Begin | Kind::End | Kind::Savepoint => return Err(Error::Refused(ONE)),
            Kind::Session => return Err(Error::Refused(OUTLIVES)),
            Kind::Unsupported | Kind::Copy => return Err(Error::Refused(UNSUPPORTED)),
        }
        let broken = Cause {
            conflict: false,
            unavailable: false,
        };
        let (mut connection, fresh) = match std::mem::replace(&mut self.state, failed(None, broken))
        {
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
        if is_suspect(sql) {
            connection.taint();
        }
        if fresh && let Some(deadline) = self.deadline {
            connection.wait_for(Some(left_until(deadline)));
        }
        let begin = fresh.then(|| self.begin());
        let result = connection
            .during(async |client| match begin {
                Some(begin) => {
                    // Both are written before either answer is awaited: one round trip.
                    let (begun, result) =
                        futures::join!(client.batch_execute(&begin), work(client, &statement));
                    begun?;
                    result
                }
                None => work(client, &statement).await,
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

    /// Begins the transaction, marks it, and lets it be silent as long as it may.
    fn begin(&self) -> String {
        let patience = self.deadline.map(idle_until).unwrap_or_default();
        format!(
            "begin; set local marquee.unit = '{}'; {patience}",
            self.mark
        )
    }

    /// Ends it if it is the transaction that was begun; an error otherwise, and then nothing is committed here.
    fn commit_if_whole(&self) -> String {
        if seeded(Bug::MarkNotChecked) {
            return "commit".to_owned();
        }
        format!(
            "select 1 / (current_setting('marquee.unit', true) = '{}')::integer; commit",
            self.mark
        )
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
                let commit = self.commit_if_whole();
                match connection
                    .during(async |client| client.batch_execute(&commit).await)
                    .await
                {
                    Ok(()) => {
                        self.database.tally().unit(End::Committed);
                        Ok(())
                    }
                    Err(error) if error.code() == Some(&SqlState::DIVISION_BY_ZERO) => {
                        connection.discard();
                        self.database.tally().unit(End::RolledBack);
                        let database = self.database.name().to_owned();
                        Err(CommitError::RolledBack(Error::Lost { database }))
                    }
                    Err(error @ Error::Unavailable { .. }) => {
                        connection.discard();
                        self.database.tally().unit(End::Unknown);
                        Err(CommitError::Unknown(error.to_string()))
                    }
                    // A deferred constraint or a serialization failure: the server has rolled back. It has not yet where
                    // it failed before the commit.
                    Err(error) => {
                        self.state = State::Open(connection);
                        self.rollback().await;
                        Err(CommitError::RolledBack(error))
                    }
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
        self.database.tally().unit(End::RolledBack);
        if connection
            .during(async |client| client.batch_execute("rollback").await)
            .await
            .is_err()
        {
            connection.discard();
        }
    }

    fn fail(&mut self, connection: Option<Connection>, error: Error) -> Error {
        let cause = Cause {
            conflict: error.is_conflict(),
            unavailable: error.is_unavailable(),
        };
        self.state = failed(connection, cause);
        error
    }
}

fn failed(connection: Option<Connection>, cause: Cause) -> State {
    State::Failed { connection, cause }
}

/// Lets a transaction be silent up to a deadline, and a little longer: a call that is late is ended by the host first.
pub(crate) fn idle_until(deadline: Instant) -> String {
    format!(
        "set local idle_in_transaction_session_timeout = {}",
        left_until(deadline).as_millis().min(DAY_MS)
    )
}

pub(crate) fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) + BEHIND_DEADLINE
}

fn in_doubt(mut connection: Connection) -> Connection {
    connection.in_transaction(true);
    connection
}

/// Within the transaction: plans are kept, and read no table from end to end.
const BY_INDEX: &str = "
select set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)";
/// As the session has it.
const BY_ANY_PLAN: &str = "
select set_config('plan_cache_mode', null, true), set_config('enable_seqscan', null, true)";
pub(crate) const ONE: &str = "the call is one transaction, which the host begins and ends: a statement that does so is not sent";
/// Also of what is refused outside a unit.
pub(crate) const OUTLIVES: &str = "the statement changes the session, which others use after this call: begin a transaction and use `set local`";
pub(crate) const UNSUPPORTED: &str =
    "`copy`, `and chain` and transactions in two phases cannot be used here";
const BEHIND_DEADLINE: Duration = Duration::from_secs(5);
/// No call lasts longer; the setting takes 24 days at most.
const DAY_MS: u128 = 24 * 60 * 60 * 1_000;
