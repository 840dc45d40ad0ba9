//! The bus trigger: batches of a topic become calls of the component that subscribes to it.
//!
//! Promise: each message takes effect once, in the order of its key; see `marquee_delivery::partition`. Each held
//! partition is a task of its own (`crate::partition`), so none waits for another; this file only tells them what the
//! bus says. One that panicked is begun again, after a pause, and is told of until it is well. Bounds: one batch a
//! partition in flight, and the batch's own deadline.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use marquee_bus::{Assignment, BatchLimits, Bus, Event, Partition, RevokeGuard, Subscription};
use marquee_delivery::consumers;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    delivery::Deliverer,
    partition::{Slot, Task},
    watch::Watch,
    work::BACKOFF,
};

/// A component's subscription to a topic.
pub struct Trigger {
    /// Hands messages to the component.
    pub deliverer: Arc<Deliverer>,
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// Its partitions, where it has to be created.
    pub partitions: i32,
    /// How large a batch may be.
    pub limits: BatchLimits,
    /// Told what becomes of its partitions.
    pub watch: Watch,
}

/// A partition that this host holds.
struct Held {
    task: Id,
    slot: Arc<Slot>,
    leave: CancellationToken,
    /// Dropped with the task: the bus waits for it.
    revoked: Option<RevokeGuard>,
    /// The bus gives nothing of it.
    unreadable: bool,
}

impl Trigger {
    /// Consume until `stop`; then finish what is in flight and leave the group.
    pub async fn run(self: Arc<Self>, bus: Arc<dyn Bus>, stop: CancellationToken) {
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            match self.join(&*bus).await {
                Ok(subscription) => {
                    return tokio::select! {
                        () = self.follow(&bus, subscription, &stop) => {}
                        () = self.look(&*bus) => {}
                    };
                }
                Err(error) => {
                    tracing::warn!(topic = self.topic, %error, "the topic cannot be joined; trying again");
                    failures = failures.saturating_add(1);
                    BACKOFF.pause(failures, &stop).await;
                }
            }
        }
    }

    /// Tell partitions that a person has paused the consumer, let it go on, or set it back; a batch would notice by itself,
    /// but there may be none. And that the topic was made again, which the bus may not say: it may go on in the new log where
    /// it was in the old one.
    async fn look(&self, bus: &dyn Bus) {
        let database = &self.deliverer.worker.database;
        let consumer = &self.deliverer.consumer.name;
        let mut known = HashMap::new();
        let mut log = None;
        for looks in 1_u32.. {
            tokio::time::sleep(LOOK).await;
            let marks = match consumers::marks(database, consumer, &self.topic).await {
                Ok(marks) => marks,
                Err(error) => {
                    tracing::debug!(topic = self.topic, %error, "the positions cannot be looked at; trying again");
                    continue;
                }
            };
            let is_due = looks.is_multiple_of(LOOKS_A_LOG) && !marks.is_empty();
            let found = if is_due { self.log(bus).await } else { None };
            let other = found.is_some() && found != log;
            if other {
                log = found;
            }
            for mark in marks {
                if known.insert(mark.partition, mark) != Some(mark) || other {
                    let partition = self.partition(mark.partition);
                    self.watch.poke(consumer, &partition);
                }
            }
        }
    }

    /// Which log the topic is now, where the bus says.
    async fn log(&self, bus: &dyn Bus) -> Option<String> {
        match bus.log(&self.partition(0)).await {
            Ok(log) => Some(log.id),
            Err(error) => {
                tracing::debug!(topic = self.topic, %error, "which log the topic is is not known; trying again");
                None
            }
        }
    }

    fn partition(&self, number: i32) -> Partition {
        Partition {
            topic: self.topic.clone(),
            number,
        }
    }

    async fn join(&self, bus: &dyn Bus) -> Result<Arc<dyn Subscription>, marquee_bus::Error> {
        let partitions = bus.ensure_topic(&self.topic, self.partitions).await?;
        let known = &self.deliverer.partitions;
        known.store(partitions, Ordering::Relaxed);
        bus.subscribe(&self.group, &self.topic, self.limits).await
    }

    async fn follow(
        &self,
        bus: &Arc<dyn Bus>,
        subscription: Arc<dyn Subscription>,
        stop: &CancellationToken,
    ) {
        let mut held: HashMap<Assignment, Held> = HashMap::new();
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut stopping = false;
        while !stopping || !tasks.is_empty() {
            tokio::select! {
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    held.values().for_each(|partition| partition.leave.cancel());
                }
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    let (id, panic) = match ended {
                        Ok((id, ())) => (id, None),
                        Err(error) => (error.id(), Some(error.to_string())),
                    };
                    let ended = held.extract_if(|_, partition| partition.task == id).next();
                    let Some((assignment, partition)) = ended else {
                        continue;
                    };
                    let consumer = &self.deliverer.consumer.name;
                    match panic {
                        Some(error) if !partition.leave.is_cancelled() => {
                            tracing::error!(
                                consumer, partition = %assignment.partition, error,
                                "the task of a partition ended; it is begun again"
                            );
                            let panics = self.watch.panicked(consumer, &assignment.partition, error);
                            self.hold(bus, &subscription, &mut held, &mut tasks, assignment, panics);
                        }
                        _ => self.watch.is_well(consumer, &assignment.partition),
                    }
                }
                event = subscription.next() => match event {
                    Ok(Event::Assigned(assignment)) if !stopping => {
                        tracing::debug!(partition = %assignment.partition, "partition assigned");
                        self.hold(bus, &subscription, &mut held, &mut tasks, assignment, 0);
                    }
                    Ok(Event::Revoked(assignment, guard)) => {
                        tracing::info!(partition = %assignment.partition, "partition revoked");
                        if let Some(partition) = held.get_mut(&assignment) {
                            partition.revoked = Some(guard);
                            partition.leave.cancel();
                        }
                    }
                    Ok(Event::Batch(batch)) => {
                        if let Some(partition) = held.get_mut(&batch.assignment) {
                            if std::mem::take(&mut partition.unreadable) {
                                self.reads(&batch.assignment.partition, None);
                            }
                            partition.slot.put(batch);
                        }
                    }
                    Ok(Event::Assigned(_)) => {}
                    Err(marquee_bus::Error::Unreadable { partition: which, reason }) => {
                        let mut places = held.iter_mut();
                        if let Some((_, partition)) = places.find(|(it, _)| it.partition == which) {
                            partition.unreadable = true;
                            self.reads(&which, Some(&reason));
                        }
                    }
                    Err(error) => tracing::warn!(topic = self.topic, %error, "the topic cannot be read; trying again"),
                },
            }
        }
        // Guards first: the bus waits for them.
        drop(held);
        subscription.close().await;
    }

    /// The bus gives nothing of a partition, and why; or does again. An operator hears of it once.
    fn reads(&self, partition: &Partition, unreadable: Option<&str>) {
        let consumer = &self.deliverer.consumer.name;
        if !self.watch.reads(consumer, partition, unreadable) {
            return;
        }
        match unreadable {
            Some(error) => tracing::error!(
                consumer, %partition, error,
                "the partition cannot be read, and stands still: mend its log on the bus, or have the bus delete its records up \
                 to there, which are then counted as lost"
            ),
            None => tracing::info!(consumer, %partition, "the partition can be read again"),
        }
    }

    fn hold(
        &self,
        bus: &Arc<dyn Bus>,
        subscription: &Arc<dyn Subscription>,
        held: &mut HashMap<Assignment, Held>,
        tasks: &mut JoinSet<()>,
        assignment: Assignment,
        panics: u32,
    ) {
        let slot = Arc::new(Slot::default());
        let leave = CancellationToken::new();
        let span = tracing::info_span!(
            "partition",
            topic = assignment.partition.topic,
            number = assignment.partition.number,
        );
        let task = Task {
            deliverer: Arc::clone(&self.deliverer),
            bus: Arc::clone(bus),
            subscription: Arc::clone(subscription),
            assignment: assignment.clone(),
            slot: Arc::clone(&slot),
            leave: leave.clone(),
            watch: self.watch.clone(),
        };
        let task = async move {
            if panics > 0 {
                BACKOFF.pause(panics, &task.leave).await;
            }
            task.run().await;
        };
        let task = tasks.spawn(task.instrument(span)).id();
        held.insert(
            assignment,
            Held {
                task,
                slot,
                leave,
                revoked: None,
                unreadable: false,
            },
        );
    }
}

/// A person waits for it.
const LOOK: Duration = Duration::from_secs(1);
/// Each of so many looks asks the bus too: rarely is a topic made again.
const LOOKS_A_LOG: u32 = 10;
