//! What took effect and could not be remembered, a full disk or a database that is away being the usual reasons: it is tried again and again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    Inner, Releases, blocking,
    desired::{Desired, Written},
    lock,
};

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
        self.remember(&mut *self.desired.lock().await).await;
        let history = self.history.clone();
        let written = blocking(move || history.flush()).await;
        if let Err(error) = written {
            let error = marquee_runtime::chain(&error);
            tracing::debug!(error, "the history cannot be written");
        }
    }

    /// Write the states, if they are not written yet.
    pub(super) async fn remember(&self, desired: &mut Desired) {
        if !desired.is_unsaved() {
            // What another host wrote meanwhile stands, and there is nothing left to write.
            self.is_remembered(None);
            return;
        }
        let error = match desired.save(&self.versions).await {
            Ok(Written::Done) => None,
            // What the others wrote is read soon, and then it is tried again.
            Ok(Written::Behind) => return,
            Err(error) => Some(marquee_runtime::chain(&error)),
        };
        self.is_remembered(error);
    }

    /// What is live was written, or why not.
    pub(super) fn is_remembered(&self, error: Option<String>) {
        let before = std::mem::replace(&mut *lock(&self.unsaved), error.clone());
        match (error, before) {
            (Some(error), None) => tracing::error!(
                error,
                "what is live is not remembered yet: after a restart the version before would be live; it is tried again"
            ),
            (None, Some(_)) => tracing::info!("what is live is remembered again"),
            _ => {}
        }
    }
}

/// A disk is not emptied sooner.
const AGAIN: Duration = Duration::from_secs(2);
