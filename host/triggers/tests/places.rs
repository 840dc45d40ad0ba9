//! A delivery that waits for its place has not begun: nothing is counted of it. On a real bus and a real database.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by its panic"
)]

mod support;

use std::{sync::Arc, time::Duration};

use marquee_bus::{BatchLimits, Bus, Partition, embedded::Embedded};
use marquee_database::Database;
use marquee_delivery::outbox::Relay;
use marquee_testkit::{TestDatabase, eventually};
use marquee_triggers::{Deliverer, Watch, bus, retry};
use tokio_util::sync::CancellationToken;

use crate::support::{Servers, deliverer, servers};

const TOPIC: &str = "numbers";
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a partition needs to begin.
const A_WHILE: Duration = Duration::from_secs(2);

/// A host with one subscription to a topic of two partitions. Its component is not there.
struct Host {
    database: Database,
    deliverer: Arc<Deliverer>,
    bus: Arc<Embedded>,
    stop: CancellationToken,
    /// Holds what each delivery needs for its first statement.
    lock: marquee_database::Unit,
    _dropped_last: [TestDatabase; 2],
}

impl Host {
    /// Each partition has messages, and no delivery gets further than its first statement.
    async fn start(places: usize, starts_before: i32) -> Self {
        let Servers {
            database,
            bus,
            kept,
        } = servers().await;
        let bus = Arc::new(bus);
        bus.ensure_topic(TOPIC, 2).await.expect("a topic");
        let mut lock = database.unit();
        let sql = "lock table marquee.key_state in access exclusive mode";
        lock.execute(sql, &[]).await.expect("locked");
        let host = Self {
            deliverer: deliverer(&database, 2, places, PATIENCE),
            database,
            bus,
            stop: CancellationToken::new(),
            lock,
            _dropped_last: kept,
        };
        for number in 0..2 {
            let topic = TOPIC.to_owned();
            let log = host.bus.log(&Partition { topic, number }).await;
            let id = log.expect("its log").id;
            let before = format!(
                "insert into marquee.positions (consumer, topic, partition, log, starts)
                values ('it', 'numbers', {number}, '{id}', {starts_before}) returning 1::int8"
            );
            host.query(&before).await;
        }
        let publish = "select count(marquee.publish('numbers', 'key-' || n, '{}', 'x'))
            from generate_series(1, 20) as n";
        host.query(publish).await;
        let relay = Relay::new(host.database.clone(), host.bus.clone());
        tokio::task::spawn(relay.run(host.stop.clone()));
        let trigger = bus::Trigger {
            deliverer: Arc::clone(&host.deliverer),
            group: "it".to_owned(),
            topic: TOPIC.to_owned(),
            partitions: 2,
            limits: BatchLimits::default(),
            watch: Watch::default(),
        };
        tokio::task::spawn(Arc::new(trigger).run(host.bus.clone(), host.stop.clone()));
        host
    }

    /// The one number that a statement answers.
    async fn query(&self, sql: &str) -> i64 {
        let mut connection = self.database.connection().await.expect("a connection");
        let rows = connection.query(sql, &[]).await.expect("done");
        rows[0].get(0)
    }

    /// Beginnings that are counted, of both partitions.
    async fn starts(&self) -> i64 {
        self.query("select sum(starts)::int8 from marquee.positions")
            .await
    }

    /// It stays so for a while.
    async fn stays_at(&self, starts: i64) {
        eventually(PATIENCE, "the first begins", async || {
            self.starts().await >= starts
        })
        .await;
        let since = std::time::Instant::now();
        while since.elapsed() < A_WHILE {
            assert_eq!(self.starts().await, starts);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deliveries go on, and the other has its turn.
    async fn both_begin(mut self, starts: i32) {
        let lock = std::mem::replace(&mut self.lock, self.database.unit());
        lock.rollback().await;
        let begun = format!(
            "select count(*) from marquee.positions where starts > {starts} or position > 0"
        );
        eventually(PATIENCE, "both have begun", async || {
            self.query(&begun).await == 2
        })
        .await;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_waits_for_its_place_has_begun_nothing() {
    let host = Host::start(1, 0).await;
    host.stays_at(1).await;
    host.both_begin(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_two_hosts_did_not_survive_one_is_begun_at_a_time() {
    let host = Host::start(4, 2).await;
    host.stays_at(5).await;
    host.both_begin(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_message_that_waits_for_its_place_is_not_claimed() {
    let host = Host::start(1, 0).await;
    host.stays_at(1).await;
    let park = "insert into marquee.parked
            (consumer, topic, key, event_id, value, state, reason, ordered, next_attempt_at)
        values ('it', 'numbers', '', gen_random_uuid(), 'x', 'parked', 'retry', false, now()) returning 1::int8";
    host.query(park).await;
    let retry = retry::Trigger {
        deliverer: Arc::clone(&host.deliverer),
        topic: TOPIC.to_owned(),
    };
    tokio::task::spawn(Arc::new(retry).run(host.stop.clone()));
    let since = std::time::Instant::now();
    let attempts = "select attempts::int8 from marquee.parked";
    while since.elapsed() < A_WHILE {
        assert_eq!(host.query(attempts).await, 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    host.both_begin(0).await;
}
