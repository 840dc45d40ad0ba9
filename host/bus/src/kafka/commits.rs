//! Offsets on their way to the group: what comes while a commit is under way goes with the next one.
//!
//! Promise: one commit at a time; however many partitions there are, each waits for two at most. A call returns when the
//! broker has its offset, or with the reason why not. A rebalance waits for the one that is under way. Bound: an offset
//! of each partition that is held.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::oneshot;

use super::thread::{Context, Shared};
use crate::{Assignment, Error};

/// What waits, and whose turn it is.
#[derive(Default)]
pub(super) struct Commits {
    waiting: Mutex<Vec<Wish>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// An offset that is to be committed.
struct Wish {
    assignment: Assignment,
    offset: i64,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Commits {
    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.turn.try_lock().is_ok()
    }

    fn add(&self, wish: Wish) {
        self.waiting().push(wish);
    }

    /// What somebody still waits for.
    fn take(&self) -> Vec<Wish> {
        let mut wishes = std::mem::take(&mut *self.waiting());
        wishes.retain(|wish| !wish.done.is_closed());
        wishes
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Wish>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commit, with all that waits when the one under way is over.
pub(super) async fn commit(
    shared: &Arc<Shared>,
    assignment: &Assignment,
    offset: i64,
    timeout: Duration,
) -> Result<(), Error> {
    let (done, mut answer) = oneshot::channel();
    let commits = &shared.commits;
    commits.add(Wish {
        assignment: assignment.clone(),
        offset,
        done,
    });
    let work = async {
        let turn = tokio::select! {
            biased;
            answered = &mut answer => return answered.unwrap_or_else(|_| Err(unanswered())),
            turn = Arc::clone(&commits.turn).lock_owned() => turn,
        };
        let wishes = commits.take();
        let shared = Arc::clone(shared);
        // Off the async threads, with the turn held even if nobody waits any more.
        super::blocking(timeout, move || {
            let _turn = turn;
            tell(&shared, wishes);
            Ok(())
        })
        .await?;
        answer.await.unwrap_or_else(|_| Err(unanswered()))
    };
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(unanswered()))
}

fn tell(shared: &Shared, wishes: Vec<Wish>) {
    // Looked at again: a rebalance may have come while these waited for their turn.
    let (held, lost): (Vec<_>, Vec<_>) = wishes
        .into_iter()
        .partition(|wish| shared.intake.may_commit(&wish.assignment));
    for wish in lost {
        let fenced = Err(Error::Fenced(wish.assignment.partition.clone()));
        // Nobody waits any more where the time was over.
        let _ = wish.done.send(fenced);
    }
    if held.is_empty() {
        return;
    }
    let result = match shared.consumer() {
        Some(consumer) => send(&consumer, &held),
        None => Err(Failure::Passing(
            "the consumer is being replaced".to_owned(),
        )),
    };
    for wish in held {
        let _ = wish.done.send(match &result {
            Ok(()) => Ok(()),
            Err(Failure::Fenced) => Err(Error::Fenced(wish.assignment.partition.clone())),
            Err(Failure::Passing(reason)) => Err(Error::Unavailable(reason.clone())),
        });
    }
}

/// Why none of them was committed.
enum Failure {
    /// The member is no longer what it was.
    Fenced,
    Passing(String),
}

fn send(consumer: &BaseConsumer<Context>, wishes: &[Wish]) -> Result<(), Failure> {
    let mut offsets = TopicPartitionList::with_capacity(wishes.len());
    for Wish {
        assignment, offset, ..
    } in wishes
    {
        let partition = &assignment.partition;
        offsets
            .add_partition_offset(&partition.topic, partition.number, Offset::Offset(*offset))
            .map_err(|error| Failure::Passing(error.to_string()))?;
    }
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
        )) => Err(Failure::Fenced),
        Err(error) => Err(Failure::Passing(error.to_string())),
    }
}

fn unanswered() -> Error {
    Error::Unavailable("no answer to a commit".to_owned())
}
