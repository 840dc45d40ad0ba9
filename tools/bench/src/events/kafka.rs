//! librdkafka alone: what it reads and publishes when nothing is done with the records.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};

use super::stage::{DRAINED, PARTITIONS, TOPIC};

/// Read so many from the topic's beginning. How many a second.
pub(crate) async fn read(brokers: &str, events: i64) -> anyhow::Result<f64> {
    let brokers = brokers.to_owned();
    tokio::task::spawn_blocking(move || {
        let consumer = consumer(&brokers, &vec![0; usize::try_from(PARTITIONS)?])?;
        let mut begun = None;
        let mut left = events;
        while left > 0 {
            let message = poll(&consumer)?;
            // As every consumer has to.
            std::hint::black_box(message.payload().map(<[u8]>::to_vec));
            begun.get_or_insert_with(Instant::now);
            left -= 1;
        }
        Ok(per_second(events, begun.unwrap_or_else(Instant::now)))
    })
    .await?
}

/// Publish so many and wait for all acknowledgements. How many a second.
pub(crate) async fn publish(brokers: &str, events: i64) -> anyhow::Result<f64> {
    let brokers = brokers.to_owned();
    tokio::task::spawn_blocking(move || {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "2")
            .set("queue.buffering.max.messages", "10000000")
            .create()?;
        let begun = Instant::now();
        for n in 0..events {
            let (key, value) = (format!("key-{}", n % 1_000), format!("[\"tag-{n}\", 1]"));
            let record = BaseRecord::to(DRAINED).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(PATIENCE)?;
        Ok(per_second(events, begun))
    })
    .await?
}

/// A consumer of the component's topic from these offsets on, in no group.
pub(crate) fn consumer(brokers: &str, from: &[i64]) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for (number, offset) in (0..PARTITIONS).zip(from) {
        partitions.add_partition_offset(TOPIC, number, Offset::Offset(*offset))?;
    }
    consumer.assign(&partitions)?;
    Ok(consumer)
}

/// The next record.
pub(crate) fn poll(consumer: &BaseConsumer) -> anyhow::Result<BorrowedMessage<'_>> {
    let begun = Instant::now();
    loop {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            return Ok(message?);
        }
        ensure!(begun.elapsed() < PATIENCE, "Kafka has no more records");
    }
}

/// A header's text.
pub(crate) fn header(message: &BorrowedMessage<'_>, name: &str) -> anyhow::Result<String> {
    let headers = message.headers().context("a record has no headers")?;
    let found = headers.iter().find(|header| header.key == name);
    let value = found.and_then(|header| header.value).unwrap_or_default();
    Ok(String::from_utf8(value.to_vec())?)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn per_second(events: i64, since: Instant) -> f64 {
    events as f64 / since.elapsed().as_secs_f64()
}

const PATIENCE: Duration = Duration::from_secs(30);
