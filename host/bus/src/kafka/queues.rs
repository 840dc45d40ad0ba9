//! A queue of its own for each partition that is held, so that one whose batches wait holds up no other.
//!
//! What waits stays in librdkafka, up to its bound on what is queued. Pausing the partition instead drops what was fetched,
//! and has it fetched again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};

use super::thread::{Context, Shared};
use crate::{Error, Partition};

/// The queues of the partitions that are held.
#[derive(Default)]
pub(super) struct Queues(BTreeMap<i32, Queue>);

struct Queue {
    /// The holding.
    generation: i64,
    records: PartitionQueue<Context>,
    /// Since when it brings nothing but errors.
    failing: Option<Instant>,
    /// When that was told for the last time.
    told: Option<Instant>,
}

impl Queues {
    /// Have a queue for each partition that is held, and for no other.
    pub(super) fn follow(&mut self, consumer: &Arc<BaseConsumer<Context>>, shared: &Arc<Shared>) {
        let held: BTreeMap<i32, i64> = shared.intake.held().into_iter().collect();
        // The old ones first: they take their callback along, which is the partition's.
        self.0
            .retain(|number, queue| held.get(number) == Some(&queue.generation));
        for (number, generation) in held {
            if self.0.contains_key(&number) {
                continue;
            }
            let Some(mut records) = consumer.split_partition_queue(shared.intake.topic(), number)
            else {
                continue;
            };
            let shared = Arc::clone(shared);
            records.set_nonempty_callback(move || shared.wake());
            let queue = Queue {
                generation,
                records,
                failing: None,
                told: None,
            };
            self.0.insert(number, queue);
        }
    }

    /// The next record of a partition, or what is wrong with it.
    pub(super) fn poll(&self, number: i32) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        let queue = self.0.get(&number)?;
        queue.records.poll(Duration::ZERO)
    }

    /// It brought a record.
    pub(super) fn brought(&mut self, number: i32) {
        if let Some(queue) = self.0.get_mut(&number) {
            (queue.failing, queue.told) = (None, None);
        }
    }

    /// It brought an error, as it does ten times a second while it can bring nothing else: what is to be told, if anything.
    pub(super) fn failed(&mut self, topic: &str, number: i32, error: &KafkaError) -> Option<Error> {
        let now = Instant::now();
        let queue = self.0.get_mut(&number)?;
        let since = *queue.failing.get_or_insert(now);
        let recently = |told| now.saturating_duration_since(told) < TELL_AGAIN;
        if now.saturating_duration_since(since) < PASSING || queue.told.is_some_and(recently) {
            tracing::debug!(topic, partition = number, %error, "a partition cannot be read; trying again");
            return None;
        }
        queue.told = Some(now);
        Some(Error::Unreadable {
            partition: Partition {
                topic: topic.to_owned(),
                number,
            },
            reason: error.to_string(),
        })
    }
}

/// A leader's fail-over, or a topic that is being deleted, is over by then.
const PASSING: Duration = Duration::from_secs(10);
/// What is told may be passed over for a newer one.
const TELL_AGAIN: Duration = Duration::from_secs(10);
