//! A member of a consumer group: the async side of its thread.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;

use super::{Config, commits, thread};
use crate::{Assignment, BatchLimits, Error, Event, Subscription, intake::Intake};

pub(super) struct Member {
    shared: Arc<thread::Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commit_timeout: Duration,
}

impl Member {
    pub(super) fn join(
        config: &Config,
        group: &str,
        topic: &str,
        limits: BatchLimits,
    ) -> Result<Self, Error> {
        let shared = Arc::new(thread::Shared::new(Intake::new(topic, limits)));
        let for_thread = Arc::clone(&shared);
        let client = config.consumer(group);
        let thread = std::thread::Builder::new()
            .name(format!("bus {topic}"))
            .spawn(move || thread::run(&client, &for_thread))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            commit_timeout: config.commit_timeout,
        })
    }
}

#[async_trait]
impl Subscription for Member {
    async fn next(&self) -> Result<Event, Error> {
        let event = self.shared.intake.next().await;
        if matches!(event, Ok(Event::Batch(_))) {
            // There is room to read ahead.
            self.shared.wake();
        }
        event
    }

    fn more(&self, assignment: &Assignment) {
        self.shared.intake.settled(assignment);
    }

    async fn commit(&self, assignment: &Assignment, offset: i64) -> Result<(), Error> {
        if !self.shared.intake.may_commit(assignment) {
            return Err(Error::Fenced(assignment.partition.clone()));
        }
        commits::commit(&self.shared, assignment, offset, self.commit_timeout).await
    }

    async fn seek(&self, assignment: &Assignment, offset: i64) -> Result<u64, Error> {
        let (seek, _) = self.shared.intake.seek(assignment, offset)?;
        self.shared.wake();
        Ok(seek.count)
    }

    async fn close(&self) {
        self.shared.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else {
            return;
        };
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(CLOSE_TIMEOUT, joined).await.is_err() {
            tracing::warn!("a Kafka consumer did not leave its group in time");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The thread leaves the group in the background; nobody waits for it.
        self.shared.close();
    }
}

/// A member that cannot say good-bye times out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
