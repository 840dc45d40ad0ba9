//! One delivery: messages to a component, in a unit of work of its database.
//!
//! Used for batches and for retries. What came of it is told apart by whose fault it was: the messages' (they are
//! halved or parked), another transaction's (again), or the world's (wait).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_bus::{Incoming, Partition};
use marquee_database::Unit;
use marquee_delivery::{
    Consumer, Message, Verdict,
    consume::{Position, Receipt, Settled, Summary},
};
use marquee_registry::Choice;
use marquee_runtime::Call;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    backoff::Backoff,
    work::{Refusal, Work, Worker},
};

/// Hands messages to a component.
pub struct Deliverer {
    /// Calls it.
    pub worker: Worker,
    /// Its name and policy as a consumer.
    pub consumer: Consumer,
    /// The wall clock and CPU of one batch.
    pub deadline: Duration,
    /// The topic's partitions, which decide what share of them a canary gets.
    pub partitions: i32,
}

/// What came of an attempt.
pub(crate) enum Attempt {
    /// Committed.
    Settled(Summary),
    /// Rolled back: so many first, the others after them.
    Split(usize),
    /// Rolled back: another transaction was in the way.
    Conflict,
    /// Rolled back: the component failed as a whole.
    Failed(String),
    /// Rolled back, or unknown: no fault of the messages.
    Error(marquee_delivery::Error),
}

impl Deliverer {
    /// How far the consumer has come in a partition; asks until the database answers. None once `stop` came.
    pub(crate) async fn position(
        &self,
        partition: &Partition,
        stop: &CancellationToken,
    ) -> Option<Position> {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            match Position::load(&self.worker.database, &self.consumer.name, partition).await {
                Ok(position) => return Some(position),
                Err(error) => {
                    tracing::warn!(%partition, error = %marquee_runtime::chain(&error), "a position cannot be read; trying again");
                    backoff.pause(stop).await;
                }
            }
        }
        None
    }

    /// Take a stretch of a partition through the component.
    pub(crate) async fn attempt(&self, position: &Position, records: &[Incoming]) -> Attempt {
        match self.settled(position, records).await {
            Ok(attempt) => attempt,
            Err(Refusal::Conflict) => Attempt::Conflict,
            Err(Refusal::Failed(error)) => Attempt::Failed(error),
            Err(Refusal::Error(error)) => Attempt::Error(error),
        }
    }

    async fn settled(&self, position: &Position, records: &[Incoming]) -> Result<Attempt, Refusal> {
        let deadline = Instant::now() + self.deadline;
        let mut unit = self.worker.database.unit().until(deadline);
        let receipt = match Receipt::open(&mut unit, &self.consumer, position, records).await {
            Ok(receipt) => receipt,
            Err(error) => {
                unit.rollback().await;
                return Err(error.into());
            }
        };
        let (mut work, verdicts) = self
            .ask(
                unit,
                receipt.messages(),
                self.choice(position.partition().number),
            )
            .await?;
        match receipt.settle(&mut work.unit, &verdicts).await {
            Ok(Settled::Written(summary)) => match work.commit().await {
                Ok(()) => Ok(Attempt::Settled(summary)),
                Err(error) => Err(marquee_delivery::Error::from(error).into()),
            },
            Ok(Settled::Split(first)) => {
                work.unit.rollback().await;
                Ok(Attempt::Split(first))
            }
            Err(error) => {
                work.unit.rollback().await;
                Err(error.into())
            }
        }
    }

    /// The version of what comes from a partition: one for the whole batch, and the same when a message of it is tried
    /// again, so that a key does not go back and forth.
    pub(crate) fn choice(&self, partition: i32) -> Choice {
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        Choice::by_partition(number(partition), number(self.partitions))
    }

    /// Ask the component for verdicts in this unit, one for each message. On a refusal the unit was rolled back.
    pub(crate) async fn ask(
        &self,
        unit: Unit,
        messages: Vec<Message>,
        choice: Choice,
    ) -> Result<(Work, Vec<Verdict>), Refusal> {
        if messages.is_empty() {
            return Ok((Work::none(unit), Vec::new()));
        }
        let expected = messages.len();
        let traceparent = messages.iter().find_map(|message| {
            let found = message
                .headers
                .iter()
                .find(|(name, _)| name == "traceparent");
            found.map(|(_, value)| Arc::from(value.as_str()))
        });
        let call = Call::new(Uuid::now_v7().to_string(), Instant::now() + self.deadline)
            .with_traceparent(traceparent)
            .with_choice(choice);
        let messages = messages.into_iter().map(message).collect();
        let Worker {
            runtime, component, ..
        } = &self.worker;
        let (work, verdicts) = self
            .worker
            .run(unit, call, async |call| {
                runtime.consume(component, messages, call).await
            })
            .await?;
        if verdicts.len() != expected {
            work.unit.rollback().await;
            return Err(Refusal::Failed(format!(
                "it gave {} verdicts for {expected} messages",
                verdicts.len()
            )));
        }
        Ok((work, verdicts.into_iter().map(verdict).collect()))
    }
}

fn message(message: Message) -> marquee_runtime::Message {
    marquee_runtime::Message {
        event_id: message.event_id.to_string(),
        topic: message.topic,
        key: message.key,
        value: message.value,
        headers: message.headers,
        published_at_ms: u64::try_from(message.published_at_ms).unwrap_or(0),
        attempt: message.attempt,
    }
}

fn verdict(verdict: marquee_runtime::Verdict) -> Verdict {
    match verdict {
        marquee_runtime::Verdict::Done => Verdict::Done,
        marquee_runtime::Verdict::Retry(reason) => Verdict::Retry(reason),
        marquee_runtime::Verdict::Reject(reason) => Verdict::Reject(reason),
    }
}
