//! A bug of the host's in what it does with a partition: on a real bus and a real database, without a component.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by its panic; a bug of the host's is what is tried"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use marquee_bus::{BatchLimits, Bus, Error, Log, Outgoing, Partition, Subscription, embedded};
use marquee_database::Database;
use marquee_delivery::outbox::Relay;
use marquee_testkit::{TestDatabase, eventually};
use marquee_triggers::{Watch, bus::Trigger};
use tokio_util::sync::CancellationToken;

use crate::support::{Servers, deliverer, servers};

const TOPIC: &str = "numbers";
const PATIENCE: Duration = Duration::from_secs(30);

/// The embedded bus. So often a partition's task panics where it asks for its log.
struct Buggy {
    bus: embedded::Embedded,
    panics: AtomicU32,
}

#[async_trait]
impl Bus for Buggy {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<i32, Error> {
        self.bus.ensure_topic(topic, partitions).await
    }

    async fn publish(&self, records: Vec<Outgoing>) -> Vec<Result<(), Error>> {
        self.bus.publish(records).await
    }

    async fn subscribe(
        &self,
        group: &str,
        topic: &str,
        limits: BatchLimits,
    ) -> Result<Arc<dyn Subscription>, Error> {
        self.bus.subscribe(group, topic, limits).await
    }

    async fn log(&self, partition: &Partition) -> Result<Log, Error> {
        let less = |left: u32| left.checked_sub(1);
        let order = Ordering::Relaxed;
        if self.panics.fetch_update(order, order, less).is_ok() {
            panic!("a bug of the host's");
        }
        self.bus.log(partition).await
    }

    async fn partitions(&self, topic: &str) -> Result<i32, Error> {
        self.bus.partitions(topic).await
    }

    async fn offset_at(&self, partition: &Partition, published_at_ms: i64) -> Result<i64, Error> {
        self.bus.offset_at(partition, published_at_ms).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.bus.ping().await
    }

    fn system(&self) -> &'static str {
        "buggy"
    }

    fn describe(&self) -> String {
        self.bus.describe()
    }

    async fn close(&self) {
        self.bus.close().await;
    }
}

/// A host with one subscription to a topic of one partition.
struct Host {
    database: Database,
    bus: Arc<Buggy>,
    watch: Watch,
    stop: CancellationToken,
    _dropped_last: [TestDatabase; 2],
}

impl Host {
    /// Three messages are there. Each delivery panics: so far away a deadline cannot be.
    async fn start(panics: u32) -> Self {
        let Servers {
            database,
            bus,
            kept,
        } = servers().await;
        let bus = Arc::new(Buggy {
            bus,
            panics: AtomicU32::new(panics),
        });
        bus.ensure_topic(TOPIC, 1).await.expect("a topic");
        let host = Self {
            database: database.clone(),
            bus: Arc::clone(&bus),
            watch: Watch::default(),
            stop: CancellationToken::new(),
            _dropped_last: kept,
        };
        let publish = "select marquee.publish('numbers', 'key-' || n, '{}', 'x')
            from generate_series(1, 3) as n";
        host.execute(publish).await;
        let relay = Relay::new(database.clone(), bus.clone());
        tokio::task::spawn(relay.run(host.stop.clone()));
        let trigger = Trigger {
            deliverer: deliverer(&database, 1, 1, Duration::MAX),
            group: "it".to_owned(),
            topic: TOPIC.to_owned(),
            partitions: 1,
            limits: BatchLimits::default(),
            watch: host.watch.clone(),
        };
        tokio::task::spawn(Arc::new(trigger).run(bus, host.stop.clone()));
        host
    }

    async fn execute(&self, sql: &str) -> u64 {
        let mut connection = self.database.connection().await.expect("a connection");
        connection.query(sql, &[]).await.expect("done").len() as u64
    }

    /// Each is parked with the panic as its reason.
    async fn goes_on(&self) {
        eventually(PATIENCE, "each is parked", async || {
            let sql = "select from marquee.parked where state = 'parked'
                and error like '%the host panicked in its delivery: overflow%'";
            self.execute(sql).await == 3
        })
        .await;
    }

    fn fails(&self) -> bool {
        let failing = self.watch.failing();
        let said = failing.concat();
        assert!(
            failing.is_empty()
                || said.contains("it begins numbers/0 again: ")
                    && said.contains("a bug of the host's"),
            "{said}"
        );
        !failing.is_empty()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_delivery_is_a_failure_of_its_messages_and_the_partition_goes_on() {
    let host = Host::start(0).await;
    host.goes_on().await;
    assert!(!host.fails());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_task_panics_is_begun_again_and_named_until_it_is_well() {
    let host = Host::start(4).await;
    eventually(PATIENCE, "it is named", async || host.fails()).await;
    assert!(
        host.bus.panics.load(Ordering::Relaxed) > 0,
        "there are pauses between its beginnings"
    );
    host.goes_on().await;
    assert!(host.fails(), "it has only begun to be well");
    eventually(PATIENCE, "it is well", async || !host.fails()).await;
    assert_eq!(host.bus.panics.load(Ordering::Relaxed), 0);
}
