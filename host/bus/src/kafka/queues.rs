//! A queue of its own for each partition that is held, so that one whose batches wait holds up no other.
//!
//! What waits stays in librdkafka, up to its bound on what is queued. Pausing the partition instead drops what was fetched,
//! and has it fetched again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, base_consumer::PartitionQueue},
    error::KafkaResult,
    message::BorrowedMessage,
};

use super::thread::{Context, Shared};

/// The queues, each with the holding of its partition.
#[derive(Default)]
pub(super) struct Queues(BTreeMap<i32, (u64, PartitionQueue<Context>)>);

impl Queues {
    /// Have a queue for each partition that is held, and for no other.
    pub(super) fn follow(&mut self, consumer: &Arc<BaseConsumer<Context>>, shared: &Arc<Shared>) {
        let held: BTreeMap<i32, u64> = shared.intake.held().into_iter().collect();
        // The old ones first: they take their callback along, which is the partition's.
        self.0
            .retain(|number, (generation, _)| held.get(number) == Some(generation));
        for (number, generation) in held {
            if self.0.contains_key(&number) {
                continue;
            }
            let Some(mut queue) = consumer.split_partition_queue(shared.intake.topic(), number)
            else {
                continue;
            };
            let shared = Arc::clone(shared);
            queue.set_nonempty_callback(move || shared.wake());
            self.0.insert(number, (generation, queue));
        }
    }

    /// The next record of a partition, or what is wrong with it.
    pub(super) fn poll(&self, number: i32) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        let (_, queue) = self.0.get(&number)?;
        queue.poll(Duration::ZERO)
    }
}
