//! The thread of a subscription: the only one that polls its consumer, and that seeks, pauses and resumes it.
//!
//! Promise: it polls whatever the caller does, so a long batch never costs the membership. On revocation it takes
//! nothing more, waits for the caller's guards (two seconds) and for a commit under way (one), and only then lets go.
//! A consumer that failed for good is replaced. Bound: of a partition with a batch waiting no more is taken.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use marquee_database::Backoff;
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, Statistics, TopicPartitionList,
    config::{FromClientConfigAndContext as _, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use tokio::sync::oneshot;

use super::{commits::Commits, context, foreign, headers, queues::Queues};
use crate::{
    Incoming, Record,
    intake::{Intake, Seek},
};

/// What the thread and the subscription share.
pub(super) struct Shared {
    pub(super) intake: Intake,
    pub(super) commits: Commits,
    consumer: Mutex<Option<Arc<BaseConsumer<Context>>>>,
    generation: AtomicI64,
    is_closing: AtomicBool,
    bell: Bell,
}

impl Shared {
    pub(super) fn new(intake: Intake) -> Self {
        // Later holdings have greater numbers, in later processes too.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let first = now.map_or(1, |now| i64::try_from(now.as_micros()).unwrap_or(1));
        Self {
            intake,
            commits: Commits::default(),
            consumer: Mutex::default(),
            generation: AtomicI64::new(first),
            is_closing: AtomicBool::new(false),
            bell: Bell::default(),
        }
    }

    pub(super) fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.slot().clone()
    }

    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn wake(&self) {
        self.bell.ring();
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<BaseConsumer<Context>>>> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the thread from its rest.
#[derive(Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_one();
    }

    fn wait(&self, timeout: Duration) {
        let is_rung = self.is_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .rung
            .wait_timeout_while(is_rung, timeout, |is_rung| !*is_rung);
        let (mut is_rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *is_rung = false;
    }
}

pub(super) struct Context(Arc<Shared>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        context::warn(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(partitions) => {
                self.0
                    .let_go(&numbers(partitions), consumer.assignment_lost());
            }
            Rebalance::Error(error) => context::warn(error, "a rebalance failed"),
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            for number in numbers(partitions) {
                let generation = self.0.generation.fetch_add(1, Ordering::Relaxed);
                self.0.intake.assign(number, generation, 0, None);
            }
        }
    }
}

impl Shared {
    fn let_go(&self, numbers: &[i32], is_lost: bool) {
        if is_lost || self.is_closing() {
            numbers.iter().for_each(|number| self.intake.lose(*number));
        } else {
            let guards: Vec<_> = numbers
                .iter()
                .filter_map(|number| self.intake.revoke(*number))
                .collect();
            self.wait_for(guards);
            numbers
                .iter()
                .for_each(|number| self.intake.forget(*number));
        }
        // A commit that passed its check before must not arrive after the next holder's first.
        let until = Instant::now() + COMMIT_GRACE;
        while !self.commits.is_idle() && Instant::now() < until {
            self.bell.wait(GUARD_POLL);
        }
    }

    fn wait_for(&self, mut guards: Vec<oneshot::Receiver<()>>) {
        let until = Instant::now() + GUARD_TIMEOUT;
        loop {
            guards.retain_mut(|guard| {
                matches!(guard.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            });
            if guards.is_empty() || self.is_closing() || Instant::now() >= until {
                return;
            }
            self.bell.wait(GUARD_POLL);
        }
    }
}

/// Poll until told to close.
pub(super) fn run(config: &ClientConfig, shared: &Arc<Shared>) {
    let mut failures = 0_u32;
    while !shared.is_closing() {
        match open(config, shared) {
            Ok(consumer) => {
                *shared.slot() = Some(Arc::clone(&consumer));
                poll(&consumer, shared);
                shared.slot().take();
                // Leaves the group, with its last rebalance. A commit under way may outlive it for a moment.
                drop(consumer);
            }
            Err(error) => shared.intake.trouble(super::unavailable(error)),
        }
        for (number, _) in shared.intake.held() {
            shared.intake.lose(number);
        }
        if !shared.is_closing() {
            failures = failures.saturating_add(1);
            shared.bell.wait(BACKOFF.delay(failures));
        }
    }
}

fn open(
    config: &ClientConfig,
    shared: &Arc<Shared>,
) -> Result<Arc<BaseConsumer<Context>>, KafkaError> {
    let mut consumer = BaseConsumer::from_config_and_context(config, Context(Arc::clone(shared)))?;
    let for_callback = Arc::clone(shared);
    consumer.set_nonempty_callback(move || for_callback.bell.ring());
    consumer.subscribe(&[shared.intake.topic()])?;
    Ok(Arc::new(consumer))
}

/// Returns when told to close, or when the consumer failed for good.
fn poll(consumer: &Arc<BaseConsumer<Context>>, shared: &Arc<Shared>) {
    let mut queues = Queues::default();
    while !shared.is_closing() {
        let mut is_idle = true;
        let mut came: BTreeMap<i32, Vec<Incoming>> = BTreeMap::new();
        // What is wrong, unless the consumer has to be replaced.
        let mut take = |polled: KafkaResult<BorrowedMessage<'_>>| {
            is_idle = false;
            match polled {
                Ok(message) => {
                    let number = message.partition();
                    came.entry(number).or_default().push(incoming(&message));
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                    tracing::warn!(%error, "the Kafka consumer is replaced");
                    shared.intake.trouble(super::unavailable(error));
                    return Err(Replaced);
                }
                Err(error) => return Ok(Some(error)),
            }
            Ok(None)
        };
        // Rebalances, and what came of a partition before it had a queue.
        for polled in std::iter::from_fn(|| consumer.poll(Duration::ZERO)).take(POLL_BURST) {
            match take(polled) {
                Ok(None) => {}
                Ok(Some(error)) => shared.intake.trouble(super::unavailable(error)),
                Err(Replaced) => return,
            }
        }
        queues.follow(consumer, shared);
        for (number, ..) in shared.intake.hungry() {
            let mut failed = None;
            let mut brought = false;
            for polled in std::iter::from_fn(|| queues.poll(number)).take(POLL_BURST) {
                match take(polled) {
                    Ok(None) => brought = true,
                    Ok(Some(error)) => failed = Some(error),
                    Err(Replaced) => return,
                }
            }
            if brought {
                queues.brought(number);
            } else if let Some(error) = failed
                && let Some(error) = queues.failed(shared.intake.topic(), number, &error)
            {
                shared.intake.trouble(error);
            }
        }
        // All at once, so that a batch is not cut short for nothing.
        for (number, records) in came {
            shared.intake.push(number, records);
        }
        let seeks = shared.intake.seeking();
        if !seeks.is_empty()
            && let Err(error) = seek(consumer, shared, &seeks)
        {
            tracing::debug!(topic = shared.intake.topic(), %error, "seeks are tried again");
        }
        if is_idle {
            shared.bell.wait(IDLE);
        }
    }
}

/// Move all at once, so that polling waits no longer for many than for one. A partition that was just assigned refuses until
/// its fetching has begun; the next round tries again.
fn seek(
    consumer: &BaseConsumer<Context>,
    shared: &Shared,
    seeks: &[Seek],
) -> Result<(), KafkaError> {
    let topic = shared.intake.topic();
    let mut places = TopicPartitionList::with_capacity(seeks.len());
    for seek in seeks {
        places.add_partition_offset(topic, seek.number, Offset::Offset(seek.offset))?;
    }
    let moved = consumer.seek_partitions(places, SEEK_TIMEOUT)?;
    for seek in seeks {
        let place = moved.find_partition(topic, seek.number);
        match place.map(|place| place.error()) {
            Some(Ok(())) => shared.intake.sought(seek),
            Some(Err(error)) => {
                tracing::debug!(topic, partition = seek.number, %error, "a seek is tried again");
            }
            None => {}
        }
    }
    Ok(())
}

/// The consumer has failed for good.
struct Replaced;

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    let elements = partitions.elements();
    elements.iter().map(|element| element.partition()).collect()
}

fn incoming(message: &BorrowedMessage<'_>) -> Incoming {
    Incoming {
        offset: message.offset(),
        published_at_ms: foreign::time_ms(message.timestamp().to_millis()),
        record: Record {
            key: foreign::text(message.key().unwrap_or_default()),
            value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            headers: headers::of(message),
        },
    }
}

/// As the trait promises.
const GUARD_TIMEOUT: Duration = Duration::from_secs(2);
const COMMIT_GRACE: Duration = Duration::from_secs(1);
const GUARD_POLL: Duration = Duration::from_millis(5);
/// The bell rings for messages and for wishes; this bounds what a missed ring costs.
const IDLE: Duration = Duration::from_millis(50);
/// Messages before wishes are looked at.
const POLL_BURST: usize = 500;
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
