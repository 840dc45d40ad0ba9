//! The bus trigger: batches of a topic become calls of the component that subscribes to it.
//!
//! Promise: each message takes effect once, in the order of its key; see `marquee_delivery::consume`, whose steps this
//! file takes. Partitions are worked on side by side, each in its own order; a batch begins and ends on one version
//! of the component. Bounds: one batch a partition in flight, and the batch's own deadline. Not here: what a verdict
//! does, which is delivery's.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use marquee_bus::{
    Assignment, Batch, BatchLimits, Bus, Event, Incoming, RevokeGuard, Subscription,
};
use marquee_delivery::consume::{self, Mode, Position};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    backoff::Backoff,
    delivery::{Attempt, Deliverer},
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
}

/// A partition that this host holds.
#[derive(Default)]
struct Held {
    /// How far the consumer has come. None while a task has it.
    position: Option<Position>,
    /// Read before the position was known.
    waiting: Option<Batch>,
    /// The partition must be given back: dropped once nothing is in flight.
    revoked: Option<RevokeGuard>,
    /// Whether a batch was begun since the assignment.
    begun: bool,
    /// Tells the batch in flight to end soon.
    stop: CancellationToken,
}

/// What a task of a partition came back with.
enum Done {
    /// The position was loaded.
    Loaded(Position),
    /// A batch was dealt with up to the position.
    Handled(Position),
    /// Nothing was handled: the records from the position on, please.
    Again(Position),
    /// Another host moved the position.
    Fenced,
}

impl Trigger {
    /// Consume until `stop`; then finish what is in flight and leave the group.
    pub async fn run(self, bus: Arc<dyn Bus>, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            match self.join(&*bus).await {
                Ok(subscription) => return self.follow(subscription, &stop).await,
                Err(error) => {
                    tracing::warn!(topic = self.topic, %error, "the topic cannot be joined; trying again");
                    backoff.pause(&stop).await;
                }
            }
        }
    }

    async fn join(&self, bus: &dyn Bus) -> Result<Box<dyn Subscription>, marquee_bus::Error> {
        bus.ensure_topic(&self.topic, self.partitions).await?;
        bus.subscribe(&self.group, &self.topic, self.limits).await
    }

    async fn follow(&self, mut subscription: Box<dyn Subscription>, stop: &CancellationToken) {
        let mut held: HashMap<Assignment, Held> = HashMap::new();
        let mut tasks: JoinSet<(Assignment, Done)> = JoinSet::new();
        let mut stopping = false;
        while !stopping || !tasks.is_empty() {
            tokio::select! {
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    held.values().for_each(|partition| partition.stop.cancel());
                }
                Some(done) = tasks.join_next(), if !tasks.is_empty() => match done {
                    Ok((assignment, done)) => {
                        self.done(&mut *subscription, &mut held, &mut tasks, assignment, done, stopping).await;
                    }
                    Err(error) => tracing::error!(topic = self.topic, %error, "a batch ended without an answer"),
                },
                event = subscription.next() => match event {
                    Ok(event) => self.event(&mut held, &mut tasks, event, stopping),
                    Err(error) => tracing::warn!(topic = self.topic, %error, "the topic cannot be read; trying again"),
                },
            }
        }
        // Guards first: the bus waits for them.
        drop(held);
        subscription.close().await;
    }

    fn event(
        &self,
        held: &mut HashMap<Assignment, Held>,
        tasks: &mut JoinSet<(Assignment, Done)>,
        event: Event,
        stopping: bool,
    ) {
        match event {
            Event::Assigned(assignment) => {
                tracing::debug!(partition = %assignment.partition, "partition assigned");
                let partition = held.entry(assignment.clone()).or_default();
                self.load(tasks, assignment, partition.stop.clone());
            }
            Event::Revoked(assignment, guard) => {
                tracing::info!(partition = %assignment.partition, "partition revoked");
                if let Some(partition) = held.get_mut(&assignment) {
                    partition.stop.cancel();
                    if partition.position.is_some() {
                        // Nothing is in flight: the guard goes now.
                        held.remove(&assignment);
                    } else {
                        partition.revoked = Some(guard);
                    }
                }
            }
            Event::Batch(batch) => {
                let Some(partition) = held.get_mut(&batch.assignment) else {
                    return;
                };
                if stopping || partition.revoked.is_some() {
                    return;
                }
                match partition.position.take() {
                    // Not what was asked for: the log may have been made again under the position.
                    Some(position) if position.fresh(&batch.records).is_empty() => {
                        self.load(tasks, batch.assignment, partition.stop.clone());
                    }
                    Some(position) => self.handle(tasks, partition, position, batch),
                    None => partition.waiting = Some(batch),
                }
            }
        }
    }

    /// A task has ended: tell the bus how far the partition is, and let it go on.
    async fn done(
        &self,
        subscription: &mut dyn Subscription,
        held: &mut HashMap<Assignment, Held>,
        tasks: &mut JoinSet<(Assignment, Done)>,
        assignment: Assignment,
        done: Done,
        stopping: bool,
    ) {
        let Some(partition) = held.get_mut(&assignment) else {
            return;
        };
        if let Done::Loaded(position) = &done
            && is_beyond(subscription, position).await
        {
            return self.restart(tasks, assignment, position.clone(), partition.stop.clone());
        }
        let told = match &done {
            Done::Loaded(position) => match position.seek_to() {
                Some(offset) => {
                    partition.waiting = None;
                    subscription.seek(&assignment, offset).await
                }
                None => Ok(()),
            },
            Done::Handled(position) => subscription.commit(&assignment, position.next()).await,
            Done::Again(position) => subscription.seek(&assignment, position.next()).await,
            Done::Fenced => Ok(()),
        };
        let gone = match told {
            Ok(()) => false,
            Err(marquee_bus::Error::Fenced(_)) => true,
            Err(error) => {
                // The position in the database is what counts; the bus learns it with the next batch.
                tracing::warn!(partition = %assignment.partition, %error, "the offset could not be stored in the bus");
                if let Done::Handled(position) = &done {
                    let _ = subscription.seek(&assignment, position.next()).await;
                }
                false
            }
        };
        if gone || partition.revoked.is_some() || stopping {
            held.remove(&assignment);
            return;
        }
        match done {
            Done::Loaded(position) | Done::Handled(position) | Done::Again(position) => {
                match partition.waiting.take() {
                    Some(batch) => self.handle(tasks, partition, position, batch),
                    None => partition.position = Some(position),
                }
            }
            Done::Fenced => self.load(tasks, assignment, partition.stop.clone()),
        }
    }

    fn load(
        &self,
        tasks: &mut JoinSet<(Assignment, Done)>,
        assignment: Assignment,
        stop: CancellationToken,
    ) {
        let deliverer = Arc::clone(&self.deliverer);
        tasks.spawn(async move {
            let position = deliverer.position(&assignment.partition, &stop).await;
            let done = position.map_or(Done::Fenced, Done::Loaded);
            (assignment, done)
        });
    }

    /// The log that the position was of is gone: begin with the one that is there.
    fn restart(
        &self,
        tasks: &mut JoinSet<(Assignment, Done)>,
        assignment: Assignment,
        mut position: Position,
        stop: CancellationToken,
    ) {
        tracing::error!(
            partition = %assignment.partition, position = position.next(),
            "the partition ends before the consumer's position: its topic was deleted and made again, or lost its end; \
             reading begins anew, what was in it and not yet handled is lost"
        );
        let deliverer = Arc::clone(&self.deliverer);
        tasks.spawn(async move {
            let database = deliverer.worker.database.clone();
            let done = match position.restart(&database).await {
                Ok(()) => Done::Again(position),
                // It is loaded anew, and looked at again.
                Err(error) => {
                    tracing::warn!(error = %marquee_runtime::chain(&error), "the position cannot be put back; trying again");
                    Backoff::default().pause(&stop).await;
                    Done::Fenced
                }
            };
            (assignment, done)
        });
    }

    fn handle(
        &self,
        tasks: &mut JoinSet<(Assignment, Done)>,
        partition: &mut Held,
        position: Position,
        batch: Batch,
    ) {
        let is_first = !std::mem::replace(&mut partition.begun, true);
        let work = Work {
            deliverer: Arc::clone(&self.deliverer),
            stop: partition.stop.clone(),
            backoff: Backoff::default(),
        };
        let span = tracing::info_span!(
            "batch",
            topic = batch.assignment.partition.topic,
            partition = batch.assignment.partition.number,
            offset = position.next(),
        );
        tasks.spawn(
            async move {
                let database = work.deliverer.worker.database.clone();
                let mut done = work.batch(position, &batch.records, is_first).await;
                // The host is alive: what it started and did not finish is no death.
                if let Done::Handled(position) | Done::Again(position) = &mut done
                    && let Err(error) = position.survived(&database).await
                {
                    tracing::debug!(%error, "a start could not be taken back");
                }
                (batch.assignment, done)
            }
            .instrument(span),
        );
    }
}

/// Whether a position is of a log that is gone. Where the bus does not say, it is asked again with the next load.
async fn is_beyond(subscription: &mut dyn Subscription, position: &Position) -> bool {
    if position.next() == 0 {
        return false;
    }
    match subscription.end(position.partition()).await {
        Ok(end) => end < position.next(),
        Err(error) => {
            tracing::debug!(partition = %position.partition(), %error, "the end of a partition is not known");
            false
        }
    }
}

/// A batch on its way through the component.
struct Work {
    deliverer: Arc<Deliverer>,
    stop: CancellationToken,
    backoff: Backoff,
}

impl Work {
    async fn batch(mut self, mut position: Position, records: &[Incoming], is_first: bool) -> Done {
        let database = self.deliverer.worker.database.clone();
        let fresh = position.fresh(records);
        let mut alone = false;
        if is_first && !fresh.is_empty() {
            // A host that dies in its first batch is noticed by the next one to hold the partition.
            if let Err(error) = position.start(&database).await {
                return self.give_up(position, &error).await;
            }
            match position.mode(&self.deliverer.consumer) {
                Mode::Batch => {}
                Mode::Single => alone = true,
                Mode::Bury => {
                    alone = true;
                    if let Some(record) = fresh.first() {
                        let error = "no host survived its delivery";
                        match consume::bury(
                            &database,
                            &self.deliverer.consumer,
                            &position,
                            record,
                            error,
                        )
                        .await
                        {
                            Ok(summary) => position.advance(&summary),
                            Err(error) => return self.give_up(position, &error).await,
                        }
                    }
                }
            }
        }
        let fresh = position.fresh(records);
        let mut work: VecDeque<&[Incoming]> = if alone {
            fresh.chunks(1).collect()
        } else {
            VecDeque::from([fresh])
        };
        let mut conflicts = 0;
        while let Some(slice) = work.pop_front() {
            // After an unknown commit some of it may be dealt with.
            let slice = position.fresh(slice);
            if slice.is_empty() {
                continue;
            }
            if self.stop.is_cancelled() {
                break;
            }
            if alone && let Err(error) = position.start(&database).await {
                return self.give_up(position, &error).await;
            }
            match self.deliverer.attempt(&position, slice).await {
                Attempt::Settled(summary) => {
                    position.advance(&summary);
                    conflicts = 0;
                    self.backoff.reset();
                }
                Attempt::Split(first) => {
                    let (first, rest) = slice.split_at_checked(first).unwrap_or((slice, &[]));
                    work.push_front(rest);
                    work.push_front(first);
                }
                Attempt::Conflict if conflicts < CONFLICTS => {
                    conflicts += 1;
                    work.push_front(slice);
                }
                Attempt::Conflict => {
                    conflicts = 0;
                    work.push_front(slice);
                    self.backoff.pause(&self.stop).await;
                }
                Attempt::Failed(error) => match slice {
                    [record] => {
                        let consumer = &self.deliverer.consumer;
                        tracing::warn!(offset = record.offset, %error, "a message failed and is parked");
                        match consume::park_failed(&database, consumer, &position, record, &error)
                            .await
                        {
                            Ok(summary) => position.advance(&summary),
                            Err(error) => match self.after(&error, &mut position).await {
                                Some(done) => return done,
                                None => work.push_front(slice),
                            },
                        }
                    }
                    _ => {
                        tracing::info!(messages = slice.len(), %error, "a batch failed as a whole and is halved");
                        let (first, rest) = slice.split_at(slice.len() / 2);
                        work.push_front(rest);
                        work.push_front(first);
                    }
                },
                Attempt::Error(error) => match self.after(&error, &mut position).await {
                    Some(done) => return done,
                    None => work.push_front(slice),
                },
            }
        }
        Done::Handled(position)
    }

    /// What to do after an error that is no fault of a message: none, go on with the same records.
    async fn after(
        &mut self,
        error: &marquee_delivery::Error,
        position: &mut Position,
    ) -> Option<Done> {
        if matches!(error, marquee_delivery::Error::Fenced { .. }) {
            tracing::info!(%error, "the partition went on elsewhere");
            return Some(Done::Fenced);
        }
        tracing::warn!(error = %marquee_runtime::chain(error), "a batch waits");
        self.backoff.pause(&self.stop).await;
        // The outcome of the last commit may be unknown: the database says where things stand.
        match self
            .deliverer
            .position(&position.partition().clone(), &self.stop)
            .await
        {
            Some(now) => {
                *position = now;
                None
            }
            None => Some(Done::Handled(position.clone())),
        }
    }

    async fn give_up(mut self, mut position: Position, error: &marquee_delivery::Error) -> Done {
        // Nothing was handled: the same records come again, from the position.
        match self.after(error, &mut position).await {
            Some(done) => done,
            None => Done::Again(position),
        }
    }
}

/// Conflicts in a row that are answered at once; after them there is a pause.
const CONFLICTS: u32 = 3;
