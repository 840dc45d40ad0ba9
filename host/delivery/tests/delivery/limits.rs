//! The bounds of `marquee.publish` are such that the bus takes whatever keeps them: either bus.

use std::sync::Arc;

use marquee_bus::{
    Bus,
    embedded::{self, Embedded},
    kafka::{self, Kafka},
};
use marquee_database::{Config, Database, Secret};
use marquee_delivery::{lag, outbox::Relay};
use marquee_testkit::{eventually, unique};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, World};

#[tokio::test]
async fn the_largest_message_goes_through_the_embedded_bus() {
    let server = marquee_testkit::database().await;
    let database = Database::new(&Config::new("bus", Secret::new(server.url()))).unwrap();
    let bus = Embedded::open(database, embedded::Config::default()).await;
    the_largest_goes_through(Arc::new(bus.unwrap())).await;
}

#[tokio::test]
async fn the_largest_message_goes_through_kafka() {
    let brokers = marquee_testkit::kafka().await;
    let bus = Kafka::new(kafka::Config::new(&brokers)).unwrap();
    the_largest_goes_through(Arc::new(bus)).await;
}

async fn the_largest_goes_through(bus: Arc<dyn Bus>) {
    let world = World::new().await;
    let topic = format!("{:x<249}", unique("longest"));
    bus.ensure_topic(&topic, 1).await.unwrap();
    let mut unit = world.db.unit();
    unit.query(
        "select set_config('marquee.traceparent', $1, true)",
        &[&"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    )
    .await
    .unwrap();
    for key in [String::new(), "k".repeat(256)] {
        unit.query(LARGEST, &[&topic, &key]).await.unwrap();
    }
    unit.commit().await.unwrap();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(Relay::new(world.another_host(), Arc::clone(&bus)).run(stop.clone()));
    eventually(SOON, "the bus does not take it", async || {
        let outbox = lag::outbox(&world.db).await.unwrap();
        assert_eq!(outbox.error, None);
        outbox.rows == 0
    })
    .await;
    stop.cancel();
    tasks.join_all().await;
    bus.close().await;
}

/// All bounds at once: 64 headers that are nearly 16 KiB, and a value of 1 MiB.
const LARGEST: &str = "
select marquee.publish($1, $2, jsonb_object_agg('h' || i, repeat('x', 240)), decode(repeat('ff', 1048576), 'hex'))
from generate_series(10, 73) as i";

#[tokio::test]
async fn one_beyond_a_bound_is_refused_where_it_is_published() {
    let world = World::new().await;
    let headers = "(select jsonb_object_agg('h' || i, 'x') from generate_series(1, 65) as i)";
    for (what, call) in [
        ("topic", format!("'{}', '', null, ''", "t".repeat(250))),
        ("topic", "'', '', null, ''".to_owned()),
        ("topic", "'two words', '', null, ''".to_owned()),
        ("topic", "'größe', '', null, ''".to_owned()),
        ("topic", "E'line\\n', '', null, ''".to_owned()),
        ("topic", "'.', '', null, ''".to_owned()),
        ("topic", "'..', '', null, ''".to_owned()),
        ("key", format!("'t', '{}', null, ''", "k".repeat(257))),
        (
            "value",
            "'t', '', null, decode(repeat('ff', 1048577), 'hex')".to_owned(),
        ),
        ("headers", format!("'t', '', {headers}, ''")),
        (
            "headers",
            format!("'t', '', '{{\"a\": \"{}\"}}', ''", "x".repeat(16_384)),
        ),
        (
            "headers",
            "'t', '', '{\"Marquee-Seq\": \"1\"}', ''".to_owned(),
        ),
    ] {
        let mut connection = world.db.connection().await.unwrap();
        let answer = connection
            .query(&format!("select marquee.publish({call})"), &[])
            .await;
        let shown: String = call.chars().take(40).collect();
        let error = answer.err().unwrap_or_else(|| panic!("{shown} was taken"));
        assert_eq!(
            error.code().map(|code| code.code()),
            Some("22023"),
            "{shown}"
        );
        let said = format!("{:?}", error);
        assert!(said.contains(what), "{shown}: {said}");
    }
    assert_eq!(world.number("select count(*) from marquee.outbox").await, 0);
}
