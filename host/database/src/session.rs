//! What a guest's connection is outside a unit of work: each statement stands alone, and from a `begin` to its `commit` or
//! `rollback` they are one conversation on one connection.
//!
//! Promises: a transaction that is dropped before its end is rolled back; nothing that a statement did to the session is
//! seen by the next user of the connection.
//!
//! Bounds: a transaction has one connection of the pool, and the time to its deadline between two statements.

use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Statement;

use crate::{
    Connection, Database, Error,
    kind::{Kind, is_suspect},
    known::Manner,
    unit::{OUTLIVES, UNSUPPORTED, idle_until, left_until},
};

/// Whether this begins a transaction, and the statements after it belong to a [`Transaction`].
pub fn begins(sql: &str) -> bool {
    Kind::of(sql) == Kind::Begin
}

impl Database {
    /// Run a statement that stands alone, on a connection of its own. `work` must read the whole answer.
    pub async fn alone<T>(
        &self,
        sql: &str,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Alone> {
        let manner = self.known().of(sql);
        self.by_itself(sql, &manner, work).await
    }

    pub(crate) async fn by_itself<T>(
        &self,
        sql: &str,
        manner: &Manner,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Alone> {
        match manner.kind {
            // To end what was not begun changes nothing; the server says so.
            Kind::Work | Kind::End | Kind::Savepoint => {}
            Kind::Session => return Err(Alone::NotSent(Error::Refused(OUTLIVES))),
            Kind::Begin | Kind::Unsupported | Kind::Copy => {
                return Err(Alone::NotSent(Error::Refused(UNSUPPORTED)));
            }
        }
        let mut connection = self.connection().await.map_err(Alone::NotSent)?;
        connection.stand_alone();
        let statement = connection.prepare(sql).await.map_err(Alone::NotSent)?;
        if manner.is_suspect {
            connection.taint();
        }
        let result = connection
            .during(async |client| work(client, &statement).await)
            .await;
        result.map_err(|error| match error.is_stale() {
            true => Alone::Stale(error),
            false => Alone::Sent(error),
        })
    }
}

/// Why a statement that stands alone has no result.
#[derive(Debug)]
pub enum Alone {
    /// It was not sent: nothing changed.
    NotSent(Error),
    /// It had been prepared before a change of what it is about: nothing changed, and sent again it is prepared anew.
    Stale(Error),
    /// It was sent. Where the answer was lost it may have taken effect.
    Sent(Error),
}

/// A transaction that a guest has begun.
pub struct Transaction(Connection);

impl Transaction {
    /// Begin it as the guest says: `begin isolation level serializable`. It may be silent until the deadline.
    pub async fn begin<T>(
        database: &Database,
        sql: &str,
        deadline: Instant,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<(Self, T), Error> {
        let mut connection = database.connection().await?;
        let statement = connection.prepare(sql).await?;
        let patience = idle_until(deadline);
        connection.wait_for(Some(left_until(deadline)));
        let begun = connection
            .during(async |client| {
                let (begun, patient) =
                    futures::join!(work(client, &statement), client.batch_execute(&patience));
                patient.and(begun)
            })
            .await;
        // From here on it goes back to the pool only by the end of the transaction.
        connection.in_transaction(true);
        begun.map(|begun| (Self(connection), begun))
    }

    /// Run a statement in it, or the one that ends it: then there is no transaction left. `work` must read the whole
    /// answer.
    pub async fn run<T>(
        mut self,
        sql: &str,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> (Option<Self>, Result<T, Error>) {
        let kind = Kind::of(sql);
        if matches!(kind, Kind::Unsupported | Kind::Copy) {
            return (Some(self), Err(Error::Refused(UNSUPPORTED)));
        }
        if kind == Kind::Session || is_suspect(sql) {
            self.0.taint();
        }
        let result = async {
            let statement = self.0.prepare(sql).await?;
            self.0
                .during(async |client| work(client, &statement).await)
                .await
        }
        .await;
        let is_over = kind == Kind::End && result.is_ok();
        self.0.in_transaction(!is_over);
        let lost = result.as_ref().is_err_and(Error::is_unavailable);
        ((!is_over && !lost).then_some(self), result)
    }
}
