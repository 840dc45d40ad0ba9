//! The transactions that a call has begun by itself, one a connection that the guest has opened.
//!
//! Promise: what is open when the call ends, or when the guest drops the connection, is rolled back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use deadpool_postgres::ClientWrapper;
use marquee_database::{Error, Transaction};
use tokio::sync::OwnedMutexGuard;
use tokio_postgres::Statement;

/// Those of one call. Cheap to clone; they end with the last clone, which the call has but for statements under way.
#[derive(Clone, Default)]
pub(super) struct Transactions(Arc<Mutex<HashMap<u32, Arc<tokio::sync::Mutex<Open>>>>>);

#[derive(Default)]
pub(super) struct Open {
    transaction: Option<Transaction>,
    publishes: bool,
}

impl Transactions {
    /// The one that is open on a connection. Its statements wait for each other.
    pub(super) async fn of(&self, connection: u32) -> Option<OwnedMutexGuard<Open>> {
        let open = self.lock().get(&connection).cloned()?;
        let open = open.lock_owned().await;
        open.transaction.is_some().then_some(open)
    }

    /// One was begun on a connection.
    pub(super) fn keep(&self, connection: u32, transaction: Transaction) {
        let open = Open {
            transaction: Some(transaction),
            publishes: false,
        };
        self.lock()
            .insert(connection, Arc::new(tokio::sync::Mutex::new(open)));
    }

    /// The guest has dropped a connection.
    pub(super) fn forget(&self, connection: u32) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<tokio::sync::Mutex<Open>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Run a statement; and whether it made stand what was published.
    pub(super) async fn run<T>(
        &mut self,
        sql: &str,
        publishes: bool,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> (Result<T, Error>, bool) {
        // Where this is dropped half-way the transaction is dropped with it.
        let Some(transaction) = self.transaction.take() else {
            return (Err(Error::Refused(OVER)), false);
        };
        let (left, result) = transaction.run(sql, work).await;
        self.transaction = left;
        self.publishes |= publishes;
        let stands = self.publishes && self.transaction.is_none() && result.is_ok();
        (result, stands)
    }
}

const OVER: &str = "the transaction is over";
