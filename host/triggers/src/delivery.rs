//! One delivery: messages to a component, in a unit of work of its database.
//!
//! Used for batches and for retries. What came of it is told apart by whose fault it was: the messages' (they are
//! halved or parked), another transaction's (again), or the world's (wait).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_bus::{Incoming, Partition};
use marquee_capabilities::postgres::UnitOfWork;
use marquee_database::{CommitError, Database, Unit};
use marquee_delivery::{
    Consumer, Message, Verdict,
    consume::{Position, Receipt, Settled, Summary},
};
use marquee_manifest::ComponentId;
use marquee_runtime::{Call, CallError, Runtime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backoff::Backoff;

/// Hands messages to a component.
pub struct Deliverer {
    /// Runs it.
    pub runtime: Runtime,
    /// The component.
    pub component: ComponentId,
    /// Its database.
    pub database: Database,
    /// Its name and policy as a consumer.
    pub consumer: Consumer,
    /// The wall clock and CPU of one batch.
    pub deadline: Duration,
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

/// Why a component gave no verdicts.
pub(crate) enum Refusal {
    Conflict,
    Failed(String),
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
            match Position::load(&self.database, &self.consumer.name, partition).await {
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
        let mut unit = self.database.unit();
        let receipt = match Receipt::open(&mut unit, &self.consumer, position, records).await {
            Ok(receipt) => receipt,
            Err(error) => return Self::rolled_back(unit, error).await,
        };
        let (mut unit, verdicts) = match self.ask(unit, receipt.messages()).await {
            Ok(answer) => answer,
            Err(Refusal::Conflict) => return Attempt::Conflict,
            Err(Refusal::Failed(error)) => return Attempt::Failed(error),
            Err(Refusal::Error(error)) => return Attempt::Error(error),
        };
        match receipt.settle(&mut unit, &verdicts).await {
            Ok(Settled::Written(summary)) => match unit.commit().await {
                Ok(()) => Attempt::Settled(summary),
                Err(error) => Self::classified(error.into()),
            },
            Ok(Settled::Split(first)) => {
                unit.rollback().await;
                Attempt::Split(first)
            }
            Err(error) => Self::rolled_back(unit, error).await,
        }
    }

    /// Ask the component for verdicts in this unit. On a refusal the unit was rolled back.
    pub(crate) async fn ask(
        &self,
        unit: Unit,
        messages: Vec<Message>,
    ) -> Result<(Unit, Vec<Verdict>), Refusal> {
        if messages.is_empty() {
            return Ok((unit, Vec::new()));
        }
        let expected = messages.len();
        let traceparent = messages.iter().find_map(|message| {
            let found = message
                .headers
                .iter()
                .find(|(name, _)| name == "traceparent");
            found.map(|(_, value)| Arc::from(value.as_str()))
        });
        let work = Arc::new(UnitOfWork::new(unit));
        let call = Call::new(Uuid::now_v7().to_string(), Instant::now() + self.deadline)
            .with_traceparent(traceparent)
            .with_unit(Arc::clone(&work) as _);
        let messages = messages.into_iter().map(message).collect();
        let answer = self.runtime.consume(&self.component, messages, call).await;
        let Some(unit) = work.take().await else {
            return Err(Refusal::Failed(
                "the unit of work was lost with the call".to_owned(),
            ));
        };
        let failure = match answer {
            Ok(Ok(verdicts)) if verdicts.len() == expected && !unit.has_failed() => {
                return Ok((unit, verdicts.into_iter().map(verdict).collect()));
            }
            Ok(Ok(_)) if unit.has_failed() => {
                "it gave verdicts after a statement had failed".to_owned()
            }
            Ok(Ok(verdicts)) => format!(
                "it gave {} verdicts for {expected} messages",
                verdicts.len()
            ),
            Ok(Err(error)) => error,
            Err(
                error @ (CallError::Overloaded(_)
                | CallError::Cancelled(_)
                | CallError::UnknownComponent(_)),
            ) => {
                unit.rollback().await;
                return Err(Refusal::Error(self.away(error.to_string())));
            }
            Err(error) => marquee_runtime::chain(&error),
        };
        let (conflict, unavailable) = (unit.is_conflict(), unit.is_unavailable());
        unit.rollback().await;
        Err(if conflict {
            Refusal::Conflict
        } else if unavailable {
            Refusal::Error(self.away(failure))
        } else {
            Refusal::Failed(failure)
        })
    }

    /// No fault of the messages: wait.
    fn away(&self, reason: String) -> marquee_delivery::Error {
        let database = self.database.name().to_owned();
        CommitError::RolledBack(marquee_database::Error::Unavailable { database, reason }).into()
    }

    async fn rolled_back(unit: Unit, error: marquee_delivery::Error) -> Attempt {
        unit.rollback().await;
        Self::classified(error)
    }

    fn classified(error: marquee_delivery::Error) -> Attempt {
        if error.is_conflict() {
            Attempt::Conflict
        } else {
            Attempt::Error(error)
        }
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
