//! The bounds of the WIT are such that the bus takes whatever keeps them: either bus.

use marquee_bus::{
    embedded::{self, Embedded},
    kafka::{self, Kafka},
};
use marquee_database::{Config, Database, Secret};

use super::*;

fn client(bus: Arc<dyn Bus>, topic: &str) -> Client {
    Client {
        bus,
        topics: Arc::new(BTreeSet::from([topic.to_owned()])),
        let_down: marquee_runtime::LetDown::default(),
        deadline: Instant::now() + Duration::from_secs(60),
        pending: Pending::default(),
        dry_run: None,
        trace: Trace::came_with(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            None,
        ),
    }
}

/// All bounds at once: 64 headers of 16 KiB, a key of 256 bytes, a value of 1 MiB.
fn largest(topic: &str) -> types::Outgoing {
    let header = |number: usize| (format!("h{number}"), "x".repeat(253));
    types::Outgoing {
        event_id: Uuid::now_v7().to_string(),
        topic: topic.to_owned(),
        key: "k".repeat(256),
        value: vec![255; 1024 * 1024],
        headers: (10..74).map(header).collect(),
    }
}

async fn is_taken_and_one_beyond_is_not(bus: Arc<dyn Bus>) {
    let topic = format!("{:x<249}", marquee_testkit::unique("longest"));
    bus.ensure_topic(&topic, 1).await.unwrap();
    let client = client(Arc::clone(&bus), &topic);
    client.publish(vec![largest(&topic)]).await.unwrap();

    let beyond: [fn(&mut types::Outgoing); 5] = [
        |it| it.key.push('k'),
        |it| it.value.push(0),
        |it| it.headers.push((String::new(), String::new())),
        |it| it.headers[0].1.push_str("xxxx"),
        |it| it.headers[0].0 = "marquee-seq".to_owned(),
    ];
    for break_it in beyond {
        let mut message = largest(&topic);
        break_it(&mut message);
        let answer = client.publish(vec![message]).await;
        assert!(
            matches!(answer, Err(types::PublishError::Refused(_))),
            "{answer:?}"
        );
    }
    bus.close().await;
}

#[tokio::test]
async fn the_largest_message_goes_through_the_embedded_bus() {
    let server = marquee_testkit::database().await;
    let database = Database::new(&Config::new("bus", Secret::new(server.url()))).unwrap();
    let bus = Embedded::open(database, embedded::Config::default()).await;
    is_taken_and_one_beyond_is_not(Arc::new(bus.unwrap())).await;
}

#[tokio::test]
async fn the_largest_message_goes_through_kafka() {
    let brokers = marquee_testkit::kafka().await;
    let bus = Kafka::new(kafka::Config::new(&brokers)).unwrap();
    is_taken_and_one_beyond_is_not(Arc::new(bus)).await;
}
