//! A transaction of which nothing stands: statements are run in it as they would be otherwise, and at its end it is rolled
//! back.
//!
//! Promises: it is never committed. Statements that would stand alone do so behind a savepoint each, and what a guest begins
//! and ends is a savepoint; those of a unit fail together, as in [`crate::Unit`]. It gives way: it waits for a lock
//! [`PATIENCE_MS`], which is less than the server takes to look for a deadlock, so that no other transaction is ended for its
//! sake; it is rolled back where others wait for one of its own, when somebody looks ([`Undone::yields`]); and it is no party
//! to serializable transactions, whatever isolation the guest asks for. What it does not keep from standing is what no
//! transaction does: numbers drawn from sequences, and what a function does outside of the database or in another session.
//!
//! Bounds: one connection, the time to its deadline; its locks are held until it ends.

use std::{collections::BTreeMap, time::Instant};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Statement, error::SqlState};

use crate::{
    Connection, Database, Error,
    kind::{Kind, is_suspect, takes_back},
    unit::{ONE, OUTLIVES, UNSUPPORTED, idle_until, left_until},
};

/// A transaction that is rolled back. Dropped before its end it is too, like any other.
pub struct Undone {
    database: Database,
    deadline: Instant,
    hang: Hang,
    /// None before the first statement, and once it is lost.
    connection: Option<Connection>,
    /// What the session had written before.
    before: BTreeMap<String, [i64; 3]>,
    place: Place,
    gave_way: bool,
}

/// How its statements hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    /// As one unit.
    Together,
    /// Each stands alone, but between `begin` and `commit`.
    Alone,
}

/// What would stand of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Would {
    /// Of each table, by schema and name, the rows that were inserted, updated and deleted.
    pub written: BTreeMap<String, [i64; 3]>,
    /// Topic, key, headers as JSON and value of what was published.
    pub published: Vec<(String, String, String, Vec<u8>)>,
    /// It was ended, or a statement of it was, for the sake of others or because the database could not be reached: what came
    /// of it says nothing.
    pub gave_way: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing was sent.
    Fresh,
    /// In the transaction itself.
    Outside,
    /// Between the guest's own `begin` and its end.
    Inside,
    /// The same, and a statement has failed.
    Failed,
    /// Nothing more is sent.
    Over,
}

impl Undone {
    pub(crate) fn new(database: Database, deadline: Instant, hang: Hang) -> Self {
        Self {
            database,
            deadline,
            hang,
            connection: None,
            before: BTreeMap::new(),
            place: Place::Fresh,
            gave_way: false,
        }
    }

    /// Run a statement. `work` must read the whole answer.
    pub async fn run<T>(
        &mut self,
        sql: &str,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let kind = Kind::of(sql);
        let is_inside = matches!(self.place, Place::Inside | Place::Failed);
        match (kind, self.hang) {
            (Kind::Unsupported | Kind::Copy, _) => return Err(Error::Refused(UNSUPPORTED)),
            (Kind::Begin | Kind::End | Kind::Savepoint, Hang::Together) => {
                return Err(Error::Refused(ONE));
            }
            (Kind::Session, _) if !is_inside => return Err(Error::Refused(OUTLIVES)),
            _ => {}
        }
        if self.place == Place::Over {
            return Err(Error::UnitFailed {
                database: self.database.name().to_owned(),
            });
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.begin().await?,
        };
        if kind == Kind::Session || is_suspect(sql) {
            connection.taint();
        }
        let alone = self.hang == Hang::Alone;
        let (before, sent, place) = match (kind, self.place) {
            (Kind::Begin, Place::Outside) => ("", MARK, Place::Inside),
            (Kind::End, Place::Inside) if !takes_back(sql) => ("", KEEP, Place::Outside),
            (Kind::End, Place::Inside | Place::Failed) => ("", TAKE_BACK, Place::Outside),
            // A transaction within one, or the end of none: the server says so of both and goes on.
            (Kind::Begin | Kind::End, place) => ("", NOTHING, place),
            (_, Place::Outside) if alone => (BEFORE_ONE, sql, Place::Outside),
            (_, place) => ("", sql, place),
        };
        let result = statement(&mut connection, before, sent, work).await;
        let lost = result.as_ref().is_err_and(Error::is_unavailable);
        self.gave_way |= result.as_ref().is_err_and(is_in_the_way);
        let after = match (&result, before.is_empty()) {
            _ if lost => None,
            (Ok(_), false) => Some(BEHIND_ONE),
            (Err(_), false) => Some(WITHOUT_ONE),
            _ => None,
        };
        let settled = match after {
            Some(after) => batch(&mut connection, after).await,
            None => Ok(()),
        };
        connection.in_transaction(true);
        if let Err(error) = settled {
            self.place = Place::Over;
            return Err(error);
        }
        self.place = match &result {
            Ok(_) => place,
            Err(_) if lost => Place::Over,
            Err(_) if self.hang == Hang::Together => Place::Over,
            Err(_) if matches!(self.place, Place::Inside | Place::Failed) => Place::Failed,
            Err(_) => self.place,
        };
        // Dropped, it is rolled back: a unit that has failed holds nothing locked.
        if self.place != Place::Over {
            self.connection = Some(connection);
        }
        result
    }

    /// Roll it back where another transaction waits for what it has locked. To be asked between its statements.
    pub async fn yields(&mut self) {
        if self.place == Place::Failed {
            return;
        }
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let waiting = connection.query(WAITING, &[]).await;
        connection.in_transaction(true);
        if waiting.is_ok_and(|rows| rows.is_empty()) {
            self.connection = Some(connection);
            return;
        }
        // Dropped, it is rolled back.
        self.gave_way = true;
        self.place = Place::Over;
    }

    /// Roll it back. What would stand of it, if that is asked for and known; `published` says whether anything was.
    pub async fn end(mut self, asked: bool, published: bool) -> Would {
        let mut would = Would {
            gave_way: self.gave_way,
            ..Would::default()
        };
        let Some(mut connection) = self.connection.take() else {
            // A statement, or a look, was given up half-way, and the transaction with it.
            would.gave_way |= !matches!(self.place, Place::Fresh | Place::Over);
            return would;
        };
        let whole = match (self.place, self.hang) {
            (Place::Over, _) => false,
            // What was begun and not ended would not stand.
            (Place::Inside | Place::Failed, _) => batch(&mut connection, TAKE_BACK).await.is_ok(),
            _ => true,
        };
        if asked && whole {
            match self.would(&mut connection, published).await {
                Ok(known) => would = known,
                Err(error) => {
                    let error = crate::chain(&error);
                    tracing::debug!(error, "what a dry run would have written is not known");
                    would.gave_way = true;
                }
            }
        }
        if batch(&mut connection, "rollback").await.is_err() {
            connection.discard();
        }
        would
    }

    async fn begin(&mut self) -> Result<Connection, Error> {
        let mut connection = self.database.connection().await?;
        connection.wait_for(Some(left_until(self.deadline)));
        let patience = idle_until(self.deadline);
        let begin = format!("{BEGIN}; {patience}; set local lock_timeout = {PATIENCE_MS}");
        let before = match batch(&mut connection, &begin).await {
            Ok(()) => written(&mut connection).await,
            Err(error) => Err(error),
        };
        // From here on it goes back to the pool only by the end of the transaction.
        connection.in_transaction(true);
        self.before = before?;
        self.place = Place::Outside;
        Ok(connection)
    }

    async fn would(&self, connection: &mut Connection, published: bool) -> Result<Would, Error> {
        let mut would = Would {
            written: written(connection).await?,
            published: Vec::new(),
            gave_way: self.gave_way,
        };
        would.written.retain(|table, rows| {
            if let Some(before) = self.before.get(table) {
                for (rows, before) in rows.iter_mut().zip(before) {
                    *rows -= before;
                }
            }
            *rows != [0; 3]
        });
        if published {
            let rows = connection.query(PUBLISHED, &[]).await?;
            let message = |row: &tokio_postgres::Row| -> Result<_, tokio_postgres::Error> {
                Ok((
                    row.try_get(0)?,
                    row.try_get(1)?,
                    row.try_get(2)?,
                    row.try_get(3)?,
                ))
            };
            let messages: Result<_, _> = rows.iter().map(message).collect();
            would.published = messages.map_err(|error| self.database.driver_error(error))?;
        }
        Ok(would)
    }
}

impl Database {
    /// A transaction of which nothing stands.
    pub fn undone(&self, deadline: Instant, hang: Hang) -> Undone {
        Undone::new(self.clone(), deadline, hang)
    }
}

/// Others were in the way of a statement, or the database is away.
fn is_in_the_way(error: &Error) -> bool {
    error.is_conflict()
        || error.is_unavailable()
        || error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Prepare a statement and run it, both behind what comes before it.
async fn statement<T>(
    connection: &mut Connection,
    before: &str,
    sql: &str,
    work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
) -> Result<T, Error> {
    if !before.is_empty() {
        batch(connection, before).await?;
    }
    let statement = connection.prepare(sql).await?;
    connection
        .during(async |client| work(client, &statement).await)
        .await
}

async fn batch(connection: &mut Connection, sql: &str) -> Result<(), Error> {
    connection
        .during(async |client| client.batch_execute(sql).await)
        .await
}

/// What the session has written, and has not told the server's statistics yet. Another transaction's may be among it.
async fn written(connection: &mut Connection) -> Result<BTreeMap<String, [i64; 3]>, Error> {
    let rows = connection.query(WRITTEN, &[]).await?;
    let table = |row: &tokio_postgres::Row| {
        Some((
            row.try_get(0).ok()?,
            [
                row.try_get(1).ok()?,
                row.try_get(2).ok()?,
                row.try_get(3).ok()?,
            ],
        ))
    };
    Ok(rows.iter().filter_map(table).collect())
}

const BEGIN: &str = "begin isolation level read committed";
/// Nobody waits for what it does, and others may for what it has locked: half of what is noticed.
const PATIENCE_MS: u32 = 100;
const MARK: &str = "savepoint marquee_begun";
const KEEP: &str = "release savepoint marquee_begun";
const TAKE_BACK: &str = "rollback to savepoint marquee_begun";
const NOTHING: &str = "";
const BEFORE_ONE: &str = "savepoint marquee_one";
const BEHIND_ONE: &str = "release savepoint marquee_one";
const WITHOUT_ONE: &str = "rollback to savepoint marquee_one; release savepoint marquee_one";
const WAITING: &str = "
select 1 from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid)) limit 1";
const WRITTEN: &str = "
select schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del
from pg_stat_xact_user_tables
where schemaname <> 'marquee' and n_tup_ins + n_tup_upd + n_tup_del > 0";
/// Rows that are seen though their transaction is under way are this one's, be they of a savepoint.
const PUBLISHED: &str = "
select topic, key, (headers - 'traceparent')::text, value from marquee.outbox
where pg_xact_status(
    (div(pg_current_xact_id()::text::numeric, 4294967296) * 4294967296 + xmin::text::numeric)::text::xid8
) = 'in progress'
order by id";
