//! What only Kafka can show: a broker that does not acknowledge, one that is not there, and other producers.

use std::time::{Duration, Instant};

use marquee_bus::{
    Bus as _, Error,
    kafka::{self, Kafka},
};
use marquee_testkit::{eventually, kafka_server};
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    producer::{FutureProducer, FutureRecord},
};

use crate::harness::{Fixture, PATIENCE, kafka_config, publish, text};

fn impatient(brokers: &str) -> Kafka {
    Kafka::new(kafka::Config {
        publish_timeout: Duration::from_secs(3),
        ..kafka_config(brokers)
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_is_a_failure_in_time_and_leaves_no_gap() {
    let server = tokio::task::spawn_blocking(kafka_server::start)
        .await
        .unwrap();
    let fixture = Fixture::kafka_at(server.brokers()).await;
    let bus = impatient(server.brokers());
    publish(&bus, vec![fixture.record("movie", "0")]).await;
    let records = || (1..400).map(|value| fixture.record("movie", value.to_string()));
    server.pause();
    let asked_at = Instant::now();
    let results = bus.publish(records().collect()).await;
    let is_unavailable = |result: &Result<(), Error>| matches!(result, Err(Error::Unavailable(_)));
    assert!(results.iter().all(is_unavailable), "{results:?}");
    assert!(
        asked_at.elapsed() < Duration::from_secs(6),
        "{:?}",
        asked_at.elapsed()
    );
    server.resume();
    // What failed is sent again, as a relay does, by the producer that replaces the first.
    eventually(PATIENCE, "it takes records again", async || {
        let results = bus.publish(records().collect()).await;
        results.iter().all(Result::is_ok)
    })
    .await;
    publish(&bus, vec![fixture.record("movie", "400")]).await;
    // Some may stand twice, since nobody knows what became of them; none may stand before one that it follows.
    let mut reader = fixture.subscribe(&bus).await;
    let mut last = -1;
    while last < 400 {
        let batch = reader.batch().await;
        for record in &batch.records {
            let value: i32 = text(record).parse().unwrap();
            assert!(value <= last + 1, "{value} stands right after {last}");
            last = last.max(value);
        }
        reader.commit(&batch).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_every_call_fails_in_time() {
    // Taken by nobody: the listener is closed before it is used.
    let port = marquee_testkit::free_port();
    let bus = impatient(&format!("127.0.0.1:{port}"));
    let asked_at = Instant::now();
    let record = marquee_bus::Outgoing {
        topic: "ratings".to_owned(),
        record: marquee_bus::Record {
            key: "movie".to_owned(),
            value: bytes::Bytes::new(),
            headers: Vec::new(),
        },
    };
    let results = bus.publish(vec![record]).await;
    assert!(
        matches!(results[0], Err(Error::Unavailable(_))),
        "{results:?}"
    );
    let pinged = bus.ping().await;
    assert!(matches!(pinged, Err(Error::Unavailable(_))), "{pinged:?}");
    let made = bus.ensure_topic("ratings", 1).await;
    assert!(matches!(made, Err(Error::Unavailable(_))), "{made:?}");
    assert!(
        asked_at.elapsed() < Duration::from_secs(15),
        "{:?}",
        asked_at.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_producers_send_is_read_as_what_can_be_held_and_told_apart() {
    let server = tokio::task::spawn_blocking(kafka_server::start)
        .await
        .unwrap();
    let fixture = Fixture::kafka_at(server.brokers()).await;
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", server.brokers());
    let admin: AdminClient<_> = config.create().unwrap();
    let any_time = AlterConfig::new(ResourceSpecifier::Topic(&fixture.topic))
        .set("message.timestamp.after.max.ms", "9223372036854775807");
    let altered = admin.alter_configs([&any_time], &AdminOptions::new()).await;
    altered.unwrap().remove(0).unwrap();
    let producer: FutureProducer = config.create().unwrap();
    let nanoseconds = 1_700_000_000_123_456_789;
    for (value, key, time) in [
        ("0", &[0, 0, 0, 0, 0, 0, 0, 7][..], nanoseconds),
        ("1", &[0xff], 1),
        ("2", &[0xfe], 1_700_000_000_123),
        ("3", b"movie", 8_500_000_000_000_000),
    ] {
        let record = FutureRecord::to(&fixture.topic).key(key).payload(value);
        let record = record.partition(0).timestamp(time);
        producer.send(record, PATIENCE).await.unwrap();
    }
    let bus = fixture.bus().await;
    let mut reader = fixture.subscribe(&*bus).await;
    let mut read = Vec::new();
    while read.len() < 4 {
        let batch = reader.batch().await;
        let each = batch.records.iter();
        read.extend(each.map(|r| (text(r), r.record.key.clone(), r.published_at_ms)));
    }
    let last = 253_402_300_799_999;
    let expected = [
        ("0", r"\x0000000000000007", last),
        ("1", r"\xff", 1),
        ("2", r"\xfe", 1_700_000_000_123),
        ("3", "movie", last),
    ];
    let expected = expected.map(|(value, key, time)| (value.to_owned(), key.to_owned(), time));
    assert_eq!(read, expected);
}
