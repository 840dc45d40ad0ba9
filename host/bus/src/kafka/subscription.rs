//! A member of a consumer group: the async side of its thread.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{Config, thread};
use crate::{Assignment, BatchLimits, Error, Event, Partition, Subscription, intake::Intake};

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

    async fn commit(&self, assignment: &Assignment, offset: i64) -> Result<(), Error> {
        if !self.shared.intake.may_commit(assignment) {
            return Err(Error::Fenced(assignment.partition.clone()));
        }
        let shared = Arc::clone(&self.shared);
        let wanted = assignment.clone();
        let work = async {
            let committing = Arc::clone(&shared.committing).lock_owned().await;
            super::blocking(self.commit_timeout, move || {
                let _committing = committing;
                commit(&shared, &wanted, offset)
            })
            .await
        };
        match tokio::time::timeout(self.commit_timeout, work).await {
            Ok(result) => result?,
            Err(_) => return Err(Error::Unavailable("no answer to a commit".to_owned())),
        }
        self.shared.intake.settled(assignment);
        self.shared.wake();
        Ok(())
    }

    async fn seek(&self, assignment: &Assignment, offset: i64) -> Result<u64, Error> {
        let (number, _) = self.shared.intake.seek(assignment, offset)?;
        self.shared.wake();
        Ok(number)
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

/// Runs off the async threads, with the gate held.
fn commit(shared: &thread::Shared, assignment: &Assignment, offset: i64) -> Result<(), Error> {
    let fenced = |partition: &Partition| Err(Error::Fenced(partition.clone()));
    let partition = &assignment.partition;
    // Looked at again: a rebalance may have come while this waited for its turn.
    if !shared.intake.may_commit(assignment) {
        return fenced(partition);
    }
    let consumer = shared.consumer().ok_or_else(replaced)?;
    let mut offsets = TopicPartitionList::with_capacity(1);
    offsets
        .add_partition_offset(&partition.topic, partition.number, Offset::Offset(offset))
        .map_err(super::unavailable)?;
    match consumer.commit(&offsets, CommitMode::Sync) {
        // No offset: the broker has it already.
        Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        Err(KafkaError::ConsumerCommit(
            RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::FencedMemberEpoch
            | RDKafkaErrorCode::StaleMemberEpoch
            | RDKafkaErrorCode::AssignmentLost,
        )) => fenced(partition),
        Err(error) => Err(super::unavailable(error)),
    }
}

fn replaced() -> Error {
    Error::Unavailable("the consumer is being replaced".to_owned())
}

/// A member that cannot say good-bye times out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
