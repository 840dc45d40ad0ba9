//! A member of a consumer group: the caller's side of its task.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use marquee_database::Database;
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{hints::Wake, member, store};
use crate::{Assignment, Error, Event, Subscription, intake::Intake};

/// Dropped without `close`, its task ends at once and its leases time out.
pub(super) struct Member {
    database: Database,
    who: store::Identity,
    intake: Arc<Intake>,
    wake: Arc<Wake>,
    closing: CancellationToken,
    /// One task.
    task: Mutex<JoinSet<()>>,
}

impl Member {
    pub(super) fn start(running: member::Task) -> Self {
        let (database, who) = (running.database.clone(), running.who.clone());
        let (intake, wake) = (Arc::clone(&running.intake), Arc::clone(&running.wake));
        let closing = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(running.run(closing.clone()));
        Self {
            database,
            who,
            intake,
            wake,
            task: Mutex::new(task),
            closing,
        }
    }
}

#[async_trait]
impl Subscription for Member {
    async fn next(&self) -> Result<Event, Error> {
        let event = self.intake.next().await;
        if matches!(event, Ok(Event::Batch(_))) {
            // There is room to read ahead.
            self.wake.ring();
        }
        event
    }

    fn more(&self, assignment: &Assignment) {
        self.intake.settled(assignment);
    }

    async fn commit(&self, assignment: &Assignment, offset: i64) -> Result<(), Error> {
        let fenced = || Error::Fenced(assignment.partition.clone());
        if !self.intake.may_commit(assignment) {
            return Err(fenced());
        }
        let number = assignment.partition.number;
        let generation = assignment.generation;
        if !store::commit(&self.database, &self.who, number, generation, offset).await? {
            self.intake.lose(number);
            return Err(fenced());
        }
        Ok(())
    }

    async fn seek(&self, assignment: &Assignment, offset: i64) -> Result<u64, Error> {
        let (seek, moves) = self.intake.seek(assignment, offset)?;
        if moves {
            // Records are asked for by their place, so nothing has to be moved.
            self.intake.sought(&seek);
            self.wake.ring();
        }
        Ok(seek.count)
    }

    async fn close(&self) {
        self.closing.cancel();
        let left = async { self.task.lock().await.join_next().await };
        if tokio::time::timeout(CLOSE_TIMEOUT, left).await.is_err() {
            tracing::warn!("a member did not leave its group in time; its leases time out");
        }
    }
}

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
