//! One connection of the pool, while somebody has it.
//!
//! Promise: it goes back to the pool only when it is known to be as it was. One that is dropped while a statement is under way
//! has the statement cancelled, and one that is dropped in a transaction is rolled back; when the server has answered to that
//! in time, it is as it was. Anything else is closed: so time-outs of clients are no storm of new connections, and
//! at no time are there more of them than the pool may have. Bound: of what is given up in great numbers so much is cancelled
//! as [`cancel::Pace`](crate::cancel::Pace) says, and the rest ends by itself, or when its turn comes.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use deadpool_postgres::{ClientWrapper, Object};
use tokio::time::timeout;
use tokio_postgres::{Row, Statement, types::ToSql};

use crate::{
    Database, Error,
    cancel::{Request, cancel},
};

/// A pooled connection outside a transaction.
pub struct Connection {
    object: Option<Object>,
    database: Database,
    patience: Option<Duration>,
    left: Left,
    /// What the server is sent when something is left: it ends what may be open, and its answer comes behind all others.
    end: &'static str,
    /// A statement was being prepared when it was given up: the session may know it by a name that nobody knows.
    littered: bool,
    tainted: bool,
}

/// What is left behind on a connection if it is dropped now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Transaction,
    /// A statement under way, in a transaction or not.
    Statement,
}

impl Connection {
    pub(crate) fn new(object: Object, database: Database, patience: Duration) -> Self {
        Self {
            object: Some(object),
            database,
            patience: Some(patience),
            left: Left::Nothing,
            end: ROLLBACK,
            littered: false,
            tainted: false,
        }
    }

    /// Run a statement and read its rows. One round trip once the statement is prepared on this connection.
    pub async fn query(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.during(async |client| {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        })
        .await
    }

    /// As [`Self::query`], with a plan for the tables as they are now and not one that was kept from when they were empty.
    /// For statements of the host's on tables that fill and empty quicker than their statistics are renewed. It costs the
    /// server the planning each time, and no round trip.
    pub async fn query_planned(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.during(async |client| {
            let statement = client.prepare_cached(sql).await?;
            planned(client, sql, &statement, params).await
        })
        .await
    }

    /// Run a statement that changes rows and learn how many.
    pub async fn execute(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.during(async |client| {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, params).await
        })
        .await
    }

    /// The prepared form of a statement, from the connection's cache.
    pub async fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        self.littered = true;
        let prepared = self
            .answered(async |client| client.prepare_cached(sql).await)
            .await;
        self.littered = self.left == Left::Statement;
        prepared
    }

    /// Run statements without parameters, several where they are separated by semicolons. They are one
    /// transaction unless they say otherwise themselves. After a failure the connection is closed when it is dropped:
    /// the transaction that they began may still be open.
    pub async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        let result = self
            .during(async |client| client.batch_execute(sql).await)
            .await;
        self.tainted |= result.is_err();
        result
    }

    /// Do something with the driver's client: a statement, in the figures.
    pub async fn during<T>(
        &mut self,
        work: impl AsyncFnOnce(&ClientWrapper) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let result = self.answered(work).await;
        let tally = self.database.tally();
        tally.statement(begun.elapsed(), result.is_err());
        result
    }

    /// The same of what is no statement, or is known already.
    async fn answered<T>(
        &mut self,
        work: impl AsyncFnOnce(&ClientWrapper) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let Some(object) = &self.object else {
            return Err(self.database.closed());
        };
        self.left = Left::Statement;
        let answered = match self.patience {
            None => Ok(work(object).await),
            Some(patience) => timeout(patience, work(object)).await,
        };
        let Ok(result) = answered else {
            return Err(self.database.silent());
        };
        self.left = Left::Nothing;
        result.map_err(|error| {
            self.tainted |= self.database.spoils(&error);
            self.database.driver_error(error)
        })
    }

    /// The driver's client, for whoever answers for what is sent and keeps the connection until all is answered.
    pub(crate) fn client(&self) -> Result<&ClientWrapper, Error> {
        self.object.as_deref().ok_or_else(|| self.database.closed())
    }

    /// No transaction is begun on it. To roll back what is not there would be a warning in the server's log.
    pub(crate) fn stand_alone(&mut self) {
        self.end = NOTHING;
    }

    /// Wait for each answer as long as this, or as long as it takes: for statements that set the server another bound.
    pub(crate) fn wait_for(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// Close it when it is dropped, instead of giving it back: it is not as it was.
    pub(crate) fn taint(&mut self) {
        self.tainted = true;
    }

    /// A statement that it was preparing was given up: see [`Self::prepare`].
    pub(crate) fn litter(&mut self) {
        self.littered = true;
    }

    /// Close it instead of giving it back.
    pub fn discard(mut self) {
        self.tainted = true;
    }

    pub(crate) fn opened(&self) -> Option<Instant> {
        let object = self.object.as_ref()?;
        Some(Object::metrics(object).created)
    }

    /// Whether it is in a transaction, now that no statement is under way.
    pub(crate) fn in_transaction(&mut self, is_open: bool) {
        // One that was given up is still under way.
        if self.left != Left::Statement {
            self.left = match is_open {
                true => Left::Transaction,
                false => Left::Nothing,
            };
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        let left = self.left;
        let doubted = Doubted(Some(object));
        match (left, self.tainted, self.littered) {
            (Left::Nothing, false, false) => doubted.clear(),
            (Left::Nothing | Left::Transaction, true, _) => drop(doubted),
            (_, tainted, littered) => self.database.reap(settle(
                self.database.clone(),
                doubted,
                Settling {
                    is_under_way: left == Left::Statement,
                    end: self.end,
                    tainted,
                    littered,
                },
            )),
        }
    }
}

/// A connection that may not be as it was: it is closed, unless somebody says that it is.
struct Doubted(Option<Object>);

impl Doubted {
    fn clear(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Doubted {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

struct Settling {
    is_under_way: bool,
    end: &'static str,
    tainted: bool,
    littered: bool,
}

/// End what is left on a connection. It goes back to the pool if the server answers to that, and is closed otherwise.
async fn settle(database: Database, doubted: Doubted, settling: Settling) {
    let Some(object) = doubted.0.as_ref() else {
        return;
    };
    if ended(&database, object, &settling).await {
        doubted.clear();
    }
}

/// Whether the session is as it was.
async fn ended(database: &Database, client: &ClientWrapper, settling: &Settling) -> bool {
    // The answer to it comes when what is under way has ended.
    let mut end = pin!(client.batch_execute(settling.end));
    let mut by_itself = None;
    if settling.is_under_way {
        by_itself = tokio::select! {
            biased;
            ended = end.as_mut() => Some(ended),
            () = database.turn_to_cancel() => None,
        };
        if by_itself.is_none() {
            let request = timeout(SETTLED_IN, database.cancel(client)).await;
            if request != Ok(Some(Request::Told)) {
                return false;
            }
        }
    }
    let ended = match by_itself {
        Some(ended) => ended.is_ok(),
        None => matches!(timeout(SETTLED_IN, end).await, Ok(Ok(()))),
    };
    if !ended || settling.tainted || !settling.littered {
        return ended && !settling.tainted;
    }
    client.statement_cache.clear();
    let cleared = client.batch_execute("deallocate all");
    matches!(timeout(SETTLED_IN, cleared).await, Ok(Ok(())))
}

impl Database {
    /// Cancel what a connection is doing. None: the server could not be told.
    pub(crate) async fn cancel(&self, client: &ClientWrapper) -> Option<Request> {
        let (config, tls) = self.postgres();
        match cancel(&client.cancel_token(), config, tls).await {
            Ok(request) => Some(request),
            Err(error) => {
                tracing::debug!(%error, "a statement could not be cancelled; its timeout ends it");
                None
            }
        }
    }
}

/// Run a statement that is known by its prepared form, without that form's plan. The driver's unnamed statement is
/// planned with its parameters, each time.
pub(crate) async fn planned(
    client: &ClientWrapper,
    sql: &str,
    known: &Statement,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let typed: Vec<_> = params
        .iter()
        .zip(known.params())
        .map(|(value, kind)| (*value, kind.clone()))
        .collect();
    client.query_typed(sql, &typed).await
}

const ROLLBACK: &str = "rollback";
/// The protocol's empty statement.
const NOTHING: &str = "";
/// What was cancelled is answered in milliseconds. Less than anybody waits for a connection: where all are at this, the next
/// still gets one.
pub(crate) const SETTLED_IN: Duration = Duration::from_secs(2);
