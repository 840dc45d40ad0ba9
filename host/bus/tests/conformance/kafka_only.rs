//! What only Kafka can show: a broker that does not acknowledge, and one that is not there.

use std::time::{Duration, Instant};

use marquee_bus::{
    Bus as _, Error,
    kafka::{self, Kafka},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};

use crate::harness::{Fixture, kafka_config, publish, text};

/// With more replicas asked for than there are, the leader takes nothing that must be acknowledged by all.
async fn set_min_replicas(fixture: &Fixture, amount: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", fixture.url())
        .create()
        .unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(&fixture.topic))
        .set("min.insync.replicas", amount);
    let results = admin
        .alter_configs([&change], &AdminOptions::new())
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn impatient(brokers: &str) -> Kafka {
    Kafka::new(kafka::Config {
        publish_timeout: Duration::from_secs(3),
        ..kafka_config(brokers)
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_acknowledgement_publishing_fails_in_time_and_the_next_one_works() {
    let fixture = Fixture::kafka().await;
    let bus = impatient(fixture.url());
    publish(&bus, vec![fixture.record("movie", "before")]).await;
    set_min_replicas(&fixture, "2").await;
    let asked_at = Instant::now();
    let records = (0..50).map(|value| fixture.record("movie", value.to_string()));
    let results = bus.publish(records.collect()).await;
    let unavailable = |result: &Result<(), Error>| matches!(result, Err(Error::Unavailable(_)));
    assert!(results.iter().all(unavailable), "{results:?}");
    assert!(
        asked_at.elapsed() < Duration::from_secs(6),
        "{:?}",
        asked_at.elapsed()
    );
    set_min_replicas(&fixture, "1").await;
    // What failed is sent again, as a relay does, by the producer that replaces the first.
    let records = (0..50).map(|value| fixture.record("movie", value.to_string()));
    publish(&bus, records.collect()).await;
    let mut reader = fixture.subscribe(&bus).await;
    let read = reader.read(51).await;
    let values: Vec<String> = read.iter().skip(1).map(|(_, it)| text(it)).collect();
    let expected: Vec<String> = (0..50).map(|value| value.to_string()).collect();
    assert_eq!(
        values, expected,
        "what was not acknowledged left nothing behind"
    );
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
