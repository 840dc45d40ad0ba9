//! What took effect and could not be remembered, a full disk being the usual reason: it is tried again and again.

use std::{sync::Arc, time::Duration};

use marquee_registry::Book;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::{Inner, Releases, blocking, lock};

/// Try, until `stop`.
pub(super) async fn run(releases: Releases, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(AGAIN))
        .await
        .is_some()
    {
        releases.0.remember_all().await;
    }
}

impl Inner {
    /// Write what is not written yet.
    pub(super) async fn remember_all(&self) {
        let book = Arc::clone(&self.book).lock_owned().await;
        drop(self.remember(book).await);
        let history = self.history.clone();
        let written = blocking(move || history.flush()).await;
        if let Err(error) = written.and_then(|written| written.map_err(Into::into)) {
            tracing::debug!(
                error = format!("{error:#}"),
                "the history cannot be written"
            );
        }
    }

    /// Write the states, if they are not written yet. The book comes back locked.
    pub(super) async fn remember(&self, mut book: OwnedMutexGuard<Book>) -> OwnedMutexGuard<Book> {
        if !book.is_unsaved() {
            return book;
        }
        let saved = blocking(move || {
            let saved = book.save();
            (book, saved)
        });
        let (book, saved) = match saved.await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "what is live is not remembered"
                );
                return Arc::clone(&self.book).lock_owned().await;
            }
        };
        let error = saved.err().map(|error| marquee_runtime::chain(&error));
        let before = std::mem::replace(&mut *lock(&self.unsaved), error.clone());
        match (error, before) {
            (Some(error), None) => tracing::error!(
                error,
                "what is live is not remembered yet: after a restart the version before would be live; it is tried again"
            ),
            (None, Some(_)) => tracing::info!("what is live is remembered again"),
            _ => {}
        }
        book
    }
}

/// A disk is not emptied sooner.
const AGAIN: Duration = Duration::from_secs(2);
