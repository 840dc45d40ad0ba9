//! The unit of work of a call, shared by its statements.

use std::sync::atomic::{AtomicBool, Ordering};

use marquee_database::Unit;
use tokio::sync::{Mutex, MutexGuard};

/// A unit of work while a call has it. Whoever began it takes it back when the call has ended; what the guest left
/// open cannot use it from then on.
pub struct UnitOfWork {
    unit: Mutex<Option<Unit>>,
    published: AtomicBool,
}

impl UnitOfWork {
    /// Lend a unit to a call.
    pub fn new(unit: Unit) -> Self {
        Self {
            unit: Mutex::new(Some(unit)),
            published: AtomicBool::new(false),
        }
    }

    /// Take it back. None if it was taken before.
    pub async fn take(&self) -> Option<Unit> {
        self.unit.lock().await.take()
    }

    /// Whether something was published in it.
    pub fn has_published(&self) -> bool {
        self.published.load(Ordering::Relaxed)
    }

    pub(super) fn publish(&self) {
        self.published.store(true, Ordering::Relaxed);
    }

    /// Its statements wait for each other: a transaction is one conversation.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Unit>> {
        self.unit.lock().await
    }
}
