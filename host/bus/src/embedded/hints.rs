//! Wake-ups: that there are records in a topic, or that a partition was given back.
//!
//! Only hints: whoever waits for one also looks by itself. Within the process they go straight to those who wait;
//! to other hosts they go by NOTIFY, after the commit, on a connection that does nothing else meanwhile, and gathered:
//! NOTIFY holds a lock of the whole server when it commits.
//! Bound: one notification each [`PAUSE`], one listening connection.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use marquee_database::{Backoff, Database};
use tokio::sync::Notify;

use super::store;

/// Takes hints and passes them on.
#[derive(Default)]
pub(super) struct Hints {
    waiting: Mutex<Vec<(String, Weak<Wake>)>>,
    pending: Mutex<BTreeSet<String>>,
    is_pending: Notify,
}

/// What a member waits on.
#[derive(Default)]
pub(super) struct Wake {
    rung: Notify,
    /// A partition may be free: do not wait for the next heartbeat.
    is_about_group: AtomicBool,
}

impl Wake {
    pub(super) fn ring(&self) {
        self.rung.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    pub(super) fn take_group(&self) -> bool {
        self.is_about_group.swap(false, Ordering::AcqRel)
    }
}

impl Hints {
    /// To be woken for a topic, until the last of it is dropped.
    pub(super) fn register(&self, topic: &str) -> Arc<Wake> {
        let wake = Arc::new(Wake::default());
        let mut waiting = lock(&self.waiting);
        waiting.retain(|(_, wake)| wake.strong_count() > 0);
        waiting.push((topic.to_owned(), Arc::downgrade(&wake)));
        wake
    }

    /// Records of these topics stand.
    pub(super) fn appended(&self, topics: Vec<String>) {
        let topics: BTreeSet<String> = topics.into_iter().collect();
        for topic in topics {
            self.tell(format!("{RECORDS}{topic}"));
        }
    }

    /// A partition of this topic was given back, or a member came.
    pub(super) fn group_changed(&self, topic: &str) {
        self.tell(format!("{GROUP}{topic}"));
    }

    fn tell(&self, payload: String) {
        self.heard(&payload);
        lock(&self.pending).insert(payload);
        self.is_pending.notify_one();
    }

    fn heard(&self, payload: &str) {
        let (is_about_group, topic) = match payload.split_at_checked(1) {
            Some((GROUP, topic)) => (true, topic),
            Some((RECORDS, topic)) => (false, topic),
            _ => return,
        };
        for (waiting_for, wake) in lock(&self.waiting).iter() {
            if waiting_for == topic
                && let Some(wake) = wake.upgrade()
            {
                if is_about_group {
                    wake.is_about_group.store(true, Ordering::Release);
                }
                wake.ring();
            }
        }
    }

    fn wake_all(&self) {
        for (_, wake) in lock(&self.waiting).iter() {
            if let Some(wake) = wake.upgrade() {
                wake.is_about_group.store(true, Ordering::Release);
                wake.ring();
            }
        }
    }
}

/// Tell other hosts, for ever.
pub(super) async fn send(database: Database, hints: Arc<Hints>) {
    loop {
        hints.is_pending.notified().await;
        let payloads: Vec<String> = std::mem::take(&mut *lock(&hints.pending))
            .into_iter()
            .collect();
        if !payloads.is_empty()
            && let Err(error) = store::notify(&database, &payloads).await
        {
            tracing::debug!(%error, "a hint was not sent; others find the records by looking");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Listen to other hosts, for ever.
pub(super) async fn listen(database: Database, hints: Arc<Hints>) {
    let mut failures = 0_u32;
    loop {
        let listening = async {
            let mut listener = database.listen(store::CHANNEL).await?;
            failures = 0;
            // What was notified before is not told again.
            hints.wake_all();
            loop {
                let payload = listener.next().await?;
                hints.heard(&payload);
            }
        };
        let ended: Result<std::convert::Infallible, marquee_database::Error> = listening.await;
        let Err(error) = ended;
        failures = failures.saturating_add(1);
        if failures == 1 {
            tracing::warn!(%error, "wake-ups of the embedded bus stopped; it looks for records by itself");
        }
        tokio::time::sleep(LISTEN_BACKOFF.delay(failures)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const RECORDS: &str = "+";
const GROUP: &str = "@";
/// Twenty a second at the most.
const PAUSE: Duration = Duration::from_millis(50);
const LISTEN_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(2));
