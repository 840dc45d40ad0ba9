//! What a call has of its database of which nothing stands: a transaction that is rolled back, and noted before.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use marquee_database::Undone;
use marquee_runtime::{Discarded, DryRun, Published};
use tokio::sync::{Mutex, MutexGuard};

/// The transaction, while the call has it.
pub(super) struct Lent {
    undone: Mutex<Option<Undone>>,
    published: AtomicBool,
}

/// The same for whoever makes the call.
pub(super) struct Borrowed {
    lent: Arc<Lent>,
    dry_run: DryRun,
}

impl Borrowed {
    pub(super) fn new(undone: Undone, dry_run: DryRun) -> Self {
        let lent = Lent {
            undone: Mutex::new(Some(undone)),
            published: AtomicBool::new(false),
        };
        Self {
            lent: Arc::new(lent),
            dry_run,
        }
    }
}

impl Lent {
    /// Its statements wait for each other.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Undone>> {
        self.undone.lock().await
    }

    pub(super) fn publish(&self) {
        self.published.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Discarded for Borrowed {
    fn unit(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.lent) as _
    }

    async fn look(&self) {
        if let Some(undone) = self.lent.lock().await.as_mut() {
            undone.yields().await;
        }
    }

    async fn end(&self, would_stand: bool) {
        let Some(undone) = self.lent.lock().await.take() else {
            return;
        };
        let published = self.lent.published.load(Ordering::Relaxed);
        let would = undone.end(would_stand, published).await;
        if would.gave_way {
            self.dry_run.gives_way();
        }
        for (table, rows) in would.written {
            self.dry_run.writes(&table, rows);
        }
        for (topic, key, headers, value) in would.published {
            self.dry_run.publishes(Published {
                topic,
                key,
                // The schema takes nothing but an object of texts.
                headers: serde_json::from_str(&headers).unwrap_or_default(),
                value: Bytes::from(value),
            });
        }
    }
}
