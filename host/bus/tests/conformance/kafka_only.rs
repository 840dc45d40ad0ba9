//! What only Kafka can show: a broker that does not acknowledge, one that is not there, and other producers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use marquee_bus::{
    Bus as _, Error, Event,
    kafka::{self, Kafka},
};
use marquee_database::Secret;
use marquee_testkit::{broker, eventually, kafka_server};
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    bindings::rd_kafka_header_add,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

use crate::harness::{Fixture, PATIENCE, kafka_config, publish, text};

/// One that is not Marquee's, on the fixture's topic with this setting.
async fn another_producer(fixture: &Fixture, (name, value): (&str, &str)) -> FutureProducer {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", fixture.url());
    let admin: AdminClient<_> = config.create().unwrap();
    let wanted = AlterConfig::new(ResourceSpecifier::Topic(&fixture.topic)).set(name, value);
    let altered = admin.alter_configs([&wanted], &AdminOptions::new()).await;
    altered.unwrap().remove(0).unwrap();
    config.create().unwrap()
}

fn impatient(brokers: &str) -> Kafka {
    Kafka::new(kafka::Config {
        publish_timeout: Duration::from_secs(3),
        ..kafka_config(brokers)
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_is_a_failure_in_time_and_leaves_no_gap() {
    let server = broker().await;
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
    let server = broker().await;
    let fixture = Fixture::kafka_at(server.brokers()).await;
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    let producer = another_producer(&fixture, any_time).await;
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

/// Over TLS, with the certificate that the broker has, as the one who may.
fn secure_config(server: &kafka_server::Server, mechanism: &str, password: &str) -> kafka::Config {
    let certificate = server.certificate().display().to_string();
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &certificate),
        ("sasl.mechanism", mechanism),
        ("sasl.username", kafka_server::USER),
        ("sasl.password", password),
        ("compression.type", "zstd"),
    ];
    let mut config = kafka_config(server.secure_brokers());
    config.properties = properties
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .into();
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_whoever_logs_in_publishes_and_reads_and_nobody_else() {
    let server = broker().await;
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let fixture = Fixture::kafka_at(server.brokers()).await;
        let config = secure_config(&server, mechanism, kafka_server::PASSWORD);
        assert!(!format!("{config:?}").contains(kafka_server::PASSWORD));
        let bus = Kafka::new(config).unwrap();
        bus.ping().await.unwrap();
        publish(&bus, vec![fixture.record("movie", "a".repeat(10_000))]).await;
        let mut reader = fixture.subscribe(&bus).await;
        let batch = reader.batch().await;
        assert_eq!(text(&batch.records[0]).len(), 10_000);
        reader.commit(&batch).await;

        let mut config = secure_config(&server, mechanism, "another password");
        config.publish_timeout = Duration::from_secs(2);
        let stranger = Kafka::new(config).unwrap();
        let published = stranger.publish(vec![fixture.record("movie", "0")]).await;
        assert!(
            matches!(published[0], Err(Error::Unavailable(_))),
            "{published:?}"
        );
    }
}

#[tokio::test]
async fn a_property_that_a_promise_rests_on_is_refused_and_so_is_one_that_nobody_knows() {
    for (name, value, expected) in [
        ("acks", "1", "must be durable"),
        (
            "enable.auto.commit",
            "true",
            "the host decides what is read",
        ),
        ("partitioner", "random", "stay in its partition"),
        ("securty.protocol", "SASL_SSL", "securty.protocol"),
        ("ssl.ca.location", "/nowhere", "ssl.ca.location"),
    ] {
        let mut config = kafka_config("127.0.0.1:9092");
        if name.starts_with("ssl") {
            let secure = ("security.protocol".to_owned(), Secret::new("SSL"));
            config.properties.extend([secure]);
        }
        config
            .properties
            .extend([(name.to_owned(), Secret::new(value))]);
        let refused = Kafka::new(config).map(drop);
        let Err(Error::Refused(reason)) = refused else {
            panic!("{name}: {refused:?}");
        };
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nulls_bytes_in_headers_and_the_brokers_own_time_are_read() {
    let server = broker().await;
    let fixture = Fixture::kafka_at(server.brokers()).await;
    let brokers_time = ("message.timestamp.type", "LogAppendTime");
    let producer = another_producer(&fixture, brokers_time).await;
    let before = now_ms();
    let nothing = FutureRecord::<[u8], [u8]>::to(&fixture.topic).headers(odd_headers());
    producer.send(nothing, PATIENCE).await.unwrap();
    let bus = fixture.bus().await;
    let mut reader = fixture.subscribe(&*bus).await;
    let batch = reader.batch().await;
    let record = &batch.records[0];
    assert!(
        (before..=now_ms()).contains(&record.published_at_ms),
        "{} is not the broker's",
        record.published_at_ms
    );
    assert_eq!(
        (record.record.key.as_str(), &record.record.value[..]),
        ("", &b""[..])
    );
    let expected = [(r"\xff6e", &b"\xfe"[..]), ("name", b""), ("name", b"value")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::from_static(value)));
    assert_eq!(record.record.headers, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_read_is_told_with_its_partition_and_read_once_it_is_mended() {
    let server = broker().await;
    let fixture = Fixture::kafka_at(server.brokers()).await;
    let mut config = kafka_config(server.brokers());
    let gzip = ("compression.type".to_owned(), Secret::new("gzip"));
    config.properties.extend([gzip]);
    let bus = Kafka::new(config).unwrap();
    publish(&bus, vec![fixture.record("movie", "a".repeat(10_000))]).await;
    let mut partition = 0;
    while bus.log(&fixture.partition(partition)).await.unwrap().end == 0 {
        partition += 1;
    }
    let damage = server.damage(&fixture.topic, partition);
    let mut reader = fixture.subscribe(&bus).await;
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            match reader.subscription.next().await {
                Err(Error::Unreadable { partition, reason }) => return (partition, reason),
                Ok(Event::Assigned(assignment)) => {
                    let number = assignment.partition.number;
                    reader.held.insert(number, assignment);
                }
                other => panic!("{other:?}"),
            }
        }
    });
    let (which, reason) = told.await.expect("it is told");
    assert_eq!(
        (which.topic, which.number),
        (fixture.topic.clone(), partition)
    );
    assert!(reason.contains("compress"), "{reason}");
    damage.mend();
    let batch = reader.batch().await;
    assert_eq!(text(&batch.records[0]).len(), 10_000);
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// One whose name is not UTF-8, which the crate cannot write, one without a value, and one with.
#[expect(unsafe_code, reason = "the crate writes only names that are UTF-8")]
fn odd_headers() -> OwnedHeaders {
    let headers = OwnedHeaders::new();
    let (name, value) = (b"\xffn", b"\xfe");
    let list: *const _ = headers.as_borrowed();
    // SAFETY: as the crate does: the list is its own, and name and value are copied.
    let added = unsafe {
        rd_kafka_header_add(
            list.cast_mut().cast(),
            name.as_ptr().cast(),
            2,
            value.as_ptr().cast(),
            1,
        )
    };
    assert_eq!(added as i32, 0);
    headers
        .insert(Header {
            key: "name",
            value: None::<&[u8]>,
        })
        .insert(Header {
            key: "name",
            value: Some(&b"value"[..]),
        })
}
