//! A partition that this host holds: carries out what [`marquee_delivery::partition`] decides, one step at a time.

use std::sync::{Arc, Mutex, PoisonError};

use marquee_bus::{Assignment, Batch, Bus, Log, Subscription};
use marquee_database::seeded::{Bug, seeded};
use marquee_delivery::{
    Error,
    apply::Stretch,
    consume::{self, Position},
    partition::{Action, Actor, Event},
};
use tokio::{
    sync::Notify,
    time::{Duration, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    delivery::{Deliverer, Place},
    watch::Watch,
    work::BACKOFF,
};

/// The newest batch of a partition; a later one makes an earlier one stale.
#[derive(Default)]
pub(crate) struct Slot {
    batch: Mutex<Option<Batch>>,
    filled: Notify,
}

impl Slot {
    pub(crate) fn put(&self, batch: Batch) {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch);
        self.filled.notify_one();
    }

    async fn take(&self) -> Batch {
        loop {
            let filled = self.filled.notified();
            let batch = self
                .batch
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(batch) = batch {
                return batch;
            }
            filled.await;
        }
    }
}

/// The task of a held partition.
pub(crate) struct Task {
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) subscription: Arc<dyn Subscription>,
    pub(crate) assignment: Assignment,
    pub(crate) slot: Arc<Slot>,
    /// The partition has to be given back.
    pub(crate) leave: CancellationToken,
    pub(crate) watch: Watch,
}

impl Task {
    /// Work until the partition has to be given back, or is lost.
    pub(crate) async fn run(self) {
        let consumer = self.deliverer.consumer.clone();
        let partition = &self.assignment.partition;
        let position = Position::unseen(&consumer.name, partition);
        let mut told = self.watch.hold(&consumer.name, partition);
        let (mut actor, mut action) = Actor::new(consumer, position);
        // Batches of another seek are stale.
        let mut sought = None;
        // For deliveries in a row.
        let mut place = None;
        let mut tell = tokio::time::interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0_u32;
        loop {
            if !matches!(action, Action::Deliver { .. }) {
                place = None;
            }
            let event = match action {
                Action::GiveBack => return,
                Action::Await => tokio::select! {
                    biased;
                    () = self.leave.cancelled() => Event::Leave,
                    () = told.moved() => Event::Moved,
                    _ = tell.tick() => {
                        silent += 1;
                        if silent.is_multiple_of(SILENCE) { Event::Moved } else { Event::Tell }
                    }
                    batch = self.slot.take() => {
                        silent = 0;
                        if Some(batch.seek) != sought {
                            continue;
                        }
                        Event::Batch(batch.records)
                    }
                },
                Action::Seek(_) if seeded(Bug::OffsetCommitsFirst) && sought.is_none() => {
                    sought = Some(0);
                    Event::Sought(Ok(()))
                }
                Action::Seek(offset) => {
                    Event::Sought(self.subscription.seek(&self.assignment, offset).await.map(
                        |number| {
                            sought = Some(number);
                        },
                    ))
                }
                Action::More => {
                    self.subscription.more(&self.assignment);
                    Event::Asked
                }
                action => self.step(action, &mut place).await,
            };
            if self.leave.is_cancelled() {
                actor.leave();
            }
            action = actor.on(event);
            told.tell(actor.state());
        }
    }

    async fn step(&self, action: Action, place: &mut Option<Place>) -> Event {
        let Deliverer {
            worker, consumer, ..
        } = &*self.deliverer;
        let database = &worker.database;
        let partition = &self.assignment.partition;
        match action {
            Action::Load { log } => Event::Loaded(self.load(log).await),
            Action::Set { from, to } => Event::Set(from.set(database, &to).await),
            Action::Start(position) => {
                // Who waits for a place has begun nothing: meanwhile the host may die of another's message.
                let free = async {
                    if position.is_suspect() {
                        self.deliverer.place_of_suspect().await
                    } else {
                        self.deliverer.place().await
                    }
                };
                let free = tokio::select! {
                    biased;
                    () = self.leave.cancelled() => return Event::Leave,
                    free = free => free,
                };
                *place = Some(free);
                Event::Started(position.start(database).await)
            }
            Action::Survived(position) => Event::Survived(position.survived(database).await),
            Action::Deliver {
                position,
                records,
                attempt,
            } => {
                if seeded(Bug::OffsetCommitsFirst)
                    && let Some(last) = records.records().last()
                {
                    let next = last.offset.saturating_add(1);
                    let _ = self.subscription.commit(&self.assignment, next).await;
                }
                let span = tracing::info_span!(
                    "batch",
                    topic = partition.topic,
                    partition = partition.number,
                    offset = position.next(),
                );
                let stretch = Stretch::Fresh {
                    position: &position,
                    records: records.records(),
                    attempt,
                };
                let place = match place {
                    Some(place) => place,
                    None => place.insert(self.deliverer.place().await),
                };
                let delivered = self.deliverer.attempt(stretch, place);
                Event::Delivered(delivered.instrument(span).await)
            }
            Action::Keep {
                position,
                record,
                attempt,
                fate,
            } => Event::Kept(
                consume::keep(database, consumer, &position, &record, attempt, &fate).await,
            ),
            Action::Commit(offset) => {
                Event::Committed(self.subscription.commit(&self.assignment, offset).await)
            }
            Action::Rest { tries } => {
                BACKOFF.pause(tries.saturating_add(1), &self.leave).await;
                Event::Rested
            }
            Action::Seek(_) | Action::More | Action::Await | Action::GiveBack => Event::Leave,
        }
    }

    async fn load(&self, log: bool) -> Result<(Position, Option<Log>), Error> {
        let Deliverer {
            worker, consumer, ..
        } = &*self.deliverer;
        let partition = &self.assignment.partition;
        let position = Position::load(&worker.database, &consumer.name, partition).await?;
        if !log {
            return Ok((position, None));
        }
        let log = self.bus.log(partition).await?;
        Ok((position, Some(log)))
    }
}

/// How long the bus may believe that a partition is not as far as it is. Each time costs a durable write.
const TELL: Duration = Duration::from_secs(1);
/// After so many of these without a batch the position and the log are looked at, and the bus is asked anew: a reader of
/// the bus that got stuck goes on. Where there is nothing to read it costs a look at each.
const SILENCE: u32 = 30;
