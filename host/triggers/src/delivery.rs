//! One delivery: messages to a component, in a unit of work of its database.
//!
//! Used for batches and for retries. What came of it is told apart by whose fault it was: the messages' (they are
//! halved or parked), another transaction's (again), or the world's (wait).

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_database::{
    Unit,
    seeded::{Bug, seeded},
};
use marquee_delivery::{
    Consumer, Message, Verdict,
    apply::{Opened, Stretch},
    consume::Settled,
    partition::Delivered,
};
use marquee_registry::Choice;
use marquee_runtime::Call;
use marquee_telemetry::traces::{Trace, Traces};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::{
    telemetry::DeliveryTally,
    trace::{self, Coming},
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
    /// The topic's partitions, as the bus said when it was joined. They decide what share of them a canary gets.
    pub partitions: AtomicI32,
    /// Deliveries at once, of all that share the database.
    pub budget: Arc<Semaphore>,
    /// One place for all of this host: of what two hosts did not survive, one is delivered at a time. What was delivered
    /// beside it would be counted with its deaths.
    pub suspects: Arc<Semaphore>,
    /// Where it is counted.
    pub tally: DeliveryTally,
    /// Where its spans go.
    pub traces: Traces,
    /// What the bus is, as traces name it.
    pub system: &'static str,
}

/// Room for one delivery after the other. Nothing is counted as begun without it.
pub(crate) struct Place {
    // Nobody closes the two, so there are always permits.
    _suspect: Option<OwnedSemaphorePermit>,
    _budget: Option<OwnedSemaphorePermit>,
}

impl Deliverer {
    /// Wait for a place: deliveries leave connections to everything else.
    pub(crate) async fn place(&self) -> Place {
        let begun = Instant::now();
        let budget = Arc::clone(&self.budget).acquire_owned().await;
        self.tally.waits.observe(begun.elapsed());
        Place {
            _suspect: None,
            _budget: budget.ok(),
        }
    }

    /// The same for what hosts may have died of.
    pub(crate) async fn place_of_suspect(&self) -> Place {
        // Whoever has this waits for a place; nobody who has a place waits for this.
        let suspect = Arc::clone(&self.suspects).acquire_owned().await.ok();
        Place {
            _suspect: suspect,
            ..self.place().await
        }
    }

    /// Take a stretch through the component.
    pub(crate) async fn attempt(&self, stretch: Stretch<'_>, _in: &Place) -> Delivered {
        let (begun, tally) = (Instant::now(), self.tally.of(&stretch));
        let delivered = self.delivered(stretch).await;
        tally.ended(&delivered, begun.elapsed());
        delivered
    }

    async fn delivered(&self, stretch: Stretch<'_>) -> Delivered {
        // What panics here is a fault of this host, seen with these messages: they are not tried with it for ever.
        let messages = AtomicUsize::new(1);
        let settled = AssertUnwindSafe(self.settled(stretch, &messages)).catch_unwind();
        let failed = |error| Delivered::Failed {
            error,
            messages: messages.load(Ordering::Relaxed),
        };
        match settled.await {
            Ok(Ok(delivered)) => delivered,
            Ok(Err(Refusal::Conflict)) => Delivered::Conflict,
            Ok(Err(Refusal::Failed(error))) => failed(error),
            Ok(Err(Refusal::Error(error))) => Delivered::Error(error),
            Err(panic) => {
                let error = format!("the host panicked in its delivery: {}", said(&*panic));
                tracing::error!(component = %self.worker.component, error, "a delivery panicked");
                failed(error)
            }
        }
    }

    /// `given` is told how many messages the component was given.
    async fn settled(
        &self,
        stretch: Stretch<'_>,
        given: &AtomicUsize,
    ) -> Result<Delivered, Refusal> {
        let deadline = Instant::now() + self.deadline;
        let coming = match stretch {
            Stretch::Fresh { position, .. } => Coming::Fresh(position.partition().number),
            Stretch::Parked { .. } => Coming::Again,
        };
        let mut unit = self.worker.database.unit().until(deadline);
        let opened = match stretch.open(&mut unit, &self.consumer).await {
            Ok(opened) => opened,
            Err(error) => {
                unit.rollback().await;
                return Err(error.into());
            }
        };
        if seeded(Bug::PositionCommitsFirst) {
            unit.commit().await.map_err(marquee_delivery::Error::from)?;
            unit = self.worker.database.unit().until(deadline);
        }
        let partition = stretch.partition();
        let messages = opened.messages();
        given.store(messages.len(), Ordering::Relaxed);
        let key = messages.first().map_or("", |message| &message.key);
        let choice = match partition {
            Some(partition) => self.choice(partition),
            None => Choice::by_key(key.as_bytes()),
        };
        let name = &self.consumer.name;
        let mut span = trace::messages(&self.traces, self.system, name, coming, &messages);
        let call = self.call(span.trace(), choice);
        let settled = self.judged(opened, unit, messages, call).await;
        trace::settled(&mut span, &settled);
        settled
    }

    /// Have the component judge what was let in, and settle that.
    async fn judged(
        &self,
        opened: Opened,
        unit: Unit,
        messages: Vec<Message>,
        call: Call,
    ) -> Result<Delivered, Refusal> {
        let messages: Vec<_> = messages.into_iter().map(message).collect();
        let Worker {
            runtime, component, ..
        } = &self.worker;
        // Made when this is dropped: what the component does is committed then.
        let _copied = match messages.is_empty() {
            true => None,
            false => runtime.copied(component, &call, || messages.clone()),
        };
        let (mut work, verdicts) = self.ask(unit, messages, call).await?;
        match opened.settle(&mut work.unit, &verdicts).await {
            Ok(Settled::Written(summary)) => match work.commit(&self.worker).await {
                Ok(()) => Ok(Delivered::Settled(summary)),
                Err(error) => Err(marquee_delivery::Error::from(error).into()),
            },
            Ok(Settled::Split(first)) => {
                work.unit.rollback().await;
                Ok(Delivered::Split(first))
            }
            Err(error) => Err(work.unsettled(error).await),
        }
    }

    /// The version of what comes from a partition: one for the whole batch, and the same when a message of it is tried
    /// again, so that a key does not go back and forth.
    fn choice(&self, partition: i32) -> Choice {
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        let count = self.partitions.load(Ordering::Relaxed);
        Choice::by_partition(number(partition), number(count))
    }

    /// The call in which these are judged.
    fn call(&self, trace: &Trace, choice: Choice) -> Call {
        Call::new(Uuid::now_v7().to_string(), Instant::now() + self.deadline)
            .with_trace(trace.clone())
            .with_choice(choice)
    }

    /// Ask the component for verdicts in this unit, one for each message. On a refusal the unit was rolled back.
    async fn ask(
        &self,
        unit: Unit,
        messages: Vec<marquee_runtime::Message>,
        call: Call,
    ) -> Result<(Work, Vec<Verdict>), Refusal> {
        if messages.is_empty() {
            return Ok((Work::none(unit), Vec::new()));
        }
        let expected = messages.len();
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

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
