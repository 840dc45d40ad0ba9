//! A bus, a topic and a group of a test's own, and what most tests do with them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use marquee_bus::{
    Assignment, Batch, BatchLimits, Bus, Event, Incoming, Outgoing, Partition, Record,
    Subscription,
    embedded::{self, Embedded},
    kafka::{self, Kafka},
};
use marquee_database::{Config, Database, Secret};
use marquee_testkit as servers;

/// Longer than any lease, session or rebalance of these tests on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Short, so that a vanished member is noticed soon; long enough to be kept by a busy machine.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// The least that a broker allows unless it was told otherwise.
const SESSION: Duration = Duration::from_secs(6);
pub(crate) const PARTITIONS: i32 = 4;

pub(crate) struct Fixture {
    pub(crate) topic: String,
    pub(crate) group: String,
    server: Server,
}

enum Server {
    Kafka(kafka::Config),
    Embedded(servers::TestDatabase),
}

impl Fixture {
    pub(crate) async fn kafka() -> Self {
        Self::kafka_at(&servers::kafka().await).await
    }

    pub(crate) async fn kafka_at(brokers: &str) -> Self {
        Self::on(Server::Kafka(kafka_config(brokers))).await
    }

    /// With the group protocol in which the broker assigns partitions (KIP-848).
    pub(crate) async fn kafka_assigning() -> Self {
        let mut config = kafka_config(&servers::kafka().await);
        let protocol = ("group.protocol".to_owned(), Secret::new("consumer"));
        config.properties.extend([protocol]);
        Self::on(Server::Kafka(config)).await
    }

    pub(crate) async fn embedded() -> Self {
        Self::on(Server::Embedded(servers::database().await)).await
    }

    async fn on(server: Server) -> Self {
        let fixture = Self {
            topic: servers::unique("ratings"),
            group: servers::unique("rating"),
            server,
        };
        let bus = fixture.bus().await;
        bus.ensure_topic(&fixture.topic, PARTITIONS).await.unwrap();
        bus.close().await;
        fixture
    }

    /// The bus as one more host has it.
    pub(crate) async fn bus(&self) -> Box<dyn Bus> {
        match &self.server {
            Server::Kafka(config) => Box::new(Kafka::new(config.clone()).unwrap()),
            Server::Embedded(database) => Box::new(open(database.url()).await),
        }
    }

    pub(crate) fn url(&self) -> &str {
        match &self.server {
            Server::Kafka(config) => &config.brokers,
            Server::Embedded(database) => database.url(),
        }
    }

    pub(crate) async fn subscribe(&self, bus: &dyn Bus) -> Reader {
        self.subscribe_with(bus, BatchLimits::default()).await
    }

    pub(crate) async fn subscribe_with(&self, bus: &dyn Bus, limits: BatchLimits) -> Reader {
        let subscription = bus
            .subscribe(&self.group, &self.topic, limits)
            .await
            .unwrap();
        Reader::new(subscription)
    }

    pub(crate) fn partition(&self, number: i32) -> Partition {
        Partition {
            topic: self.topic.clone(),
            number,
        }
    }

    pub(crate) fn record(&self, key: &str, value: impl Into<String>) -> Outgoing {
        Outgoing {
            topic: self.topic.clone(),
            record: Record {
                key: key.to_owned(),
                value: Bytes::from(value.into()),
                headers: Vec::new(),
            },
        }
    }

    /// Publish `value` 0 to `amount - 1`, spread over some keys.
    pub(crate) async fn fill(&self, bus: &dyn Bus, amount: usize) {
        let records = (0..amount)
            .map(|value| self.record(&format!("movie-{}", value % 16), value.to_string()))
            .collect();
        publish(bus, records).await;
    }
}

pub(crate) fn kafka_config(brokers: &str) -> kafka::Config {
    let mut config = kafka::Config::new(brokers);
    config.session_timeout = SESSION;
    config
}

pub(crate) fn database(url: &str) -> Database {
    Database::new(&Config::new("bus", Secret::new(url))).unwrap()
}

pub(crate) async fn open(url: &str) -> Embedded {
    let config = embedded::Config {
        lease: LEASE,
        ..embedded::Config::default()
    };
    Embedded::open(database(url), config).await.unwrap()
}

pub(crate) async fn publish(bus: &dyn Bus, records: Vec<Outgoing>) {
    for result in bus.publish(records).await {
        result.unwrap();
    }
}

pub(crate) fn text(record: &Incoming) -> String {
    String::from_utf8(record.record.value.to_vec()).unwrap()
}

/// A subscription, and what it holds by what it was told.
pub(crate) struct Reader {
    pub(crate) subscription: Arc<dyn Subscription>,
    pub(crate) held: BTreeMap<i32, Assignment>,
    /// Batches that came while something else was waited for.
    kept: VecDeque<Batch>,
}

impl Reader {
    pub(crate) fn new(subscription: Arc<dyn Subscription>) -> Self {
        Self {
            subscription,
            held: BTreeMap::new(),
            kept: VecDeque::new(),
        }
    }

    /// The next event; passing troubles are passed over.
    pub(crate) async fn next(&mut self) -> Event {
        let next = async {
            loop {
                if let Ok(event) = self.subscription.next().await {
                    return event;
                }
            }
        };
        let event = tokio::time::timeout(PATIENCE, next)
            .await
            .expect("the subscription has something to say");
        match &event {
            Event::Assigned(assignment) => {
                let before = self
                    .held
                    .insert(assignment.partition.number, assignment.clone());
                assert!(
                    before.is_none(),
                    "assigned while it is held: {assignment:?}"
                );
            }
            Event::Revoked(assignment, _) => {
                let before = self.held.remove(&assignment.partition.number);
                assert_eq!(
                    before.as_ref(),
                    Some(assignment),
                    "revoked what was not held"
                );
            }
            Event::Batch(batch) => {
                let holding = self.held.get(&batch.assignment.partition.number);
                assert_eq!(
                    holding,
                    Some(&batch.assignment),
                    "a batch of what is not held"
                );
                assert!(!batch.records.is_empty());
                let sorted = batch.records.is_sorted_by(|a, b| a.offset < b.offset);
                assert!(sorted, "offsets within a batch rise");
            }
        }
        event
    }

    /// The next batch of what is held.
    pub(crate) async fn batch(&mut self) -> Batch {
        while let Some(batch) = self.kept.pop_front() {
            let number = batch.assignment.partition.number;
            if self.held.get(&number) == Some(&batch.assignment) {
                return batch;
            }
        }
        loop {
            if let Event::Batch(batch) = self.next().await {
                return batch;
            }
        }
    }

    /// Handle one event; a batch is kept for later.
    pub(crate) async fn step(&mut self) {
        if let Event::Batch(batch) = self.next().await {
            self.kept.push_back(batch);
        }
    }

    /// Read and commit until so many records came.
    pub(crate) async fn read(&mut self, amount: usize) -> Vec<(i32, Incoming)> {
        let mut all = Vec::new();
        while all.len() < amount {
            let batch = self.batch().await;
            self.commit(&batch).await;
            let number = batch.assignment.partition.number;
            all.extend(batch.records.into_iter().map(|record| (number, record)));
        }
        assert_eq!(all.len(), amount, "more came than was published");
        all
    }

    /// Commit all of a batch, and ask for the next one.
    pub(crate) async fn commit(&mut self, batch: &Batch) {
        let after = batch.records.last().unwrap().offset + 1;
        self.subscription
            .commit(&batch.assignment, after)
            .await
            .unwrap();
        self.subscription.more(&batch.assignment);
    }

    /// Handle events until exactly so many partitions are held.
    pub(crate) async fn hold(&mut self, amount: usize) {
        while self.held.len() != amount {
            self.step().await;
        }
    }

    pub(crate) fn numbers(&self) -> BTreeSet<i32> {
        self.held.keys().copied().collect()
    }
}

/// Handle both members' events until each holds so many partitions.
pub(crate) async fn share(first: &mut Reader, second: &mut Reader, each: usize) {
    let settled = async {
        while first.held.len() != each || second.held.len() != each {
            tokio::select! {
                () = first.step() => {}
                () = second.step() => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, settled)
        .await
        .expect("the partitions are shared");
}
