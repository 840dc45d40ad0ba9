//! The embedded bus: a durable log in PostgreSQL.
//!
//! Promise: a record is acknowledged once its transaction is committed. Offsets are dense and their order is the
//! commit order: an append locks its partitions' counters until it commits, so a reader sees rows exactly in the
//! order of their offsets and none can appear behind it. A key's partition is `murmur2(key)` modulo the topic's
//! partitions, as on Kafka. Groups hold partition leases with epochs on PostgreSQL's clock; what comes late from an
//! old epoch is refused.
//! Bound: [`Config`] for times; 256 publishing calls in the queue; read-ahead as `Intake` says; two connections beside
//! those of the statements under way.
//!
//! Publishing is not idempotent: a record whose acknowledgement was lost may stand twice when it is published again.
//! Consumers drop it by `marquee-seq` or `marquee-event-id`. There is likewise no fence for publishers: the relay's
//! lease keeps two of them apart, and the numbers of a key make a late one harmless.

mod append;
mod config;
mod headers;
mod hints;
mod member;
mod retention;
mod store;
mod subscription;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use async_trait::async_trait;
use marquee_database::{Database, Migrations, migrate::MigrateError};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use uuid::Uuid;

pub use self::config::{Config, RETENTION};
use self::hints::Hints;
use crate::{
    BatchLimits, Bus, Error, Log, Outgoing, Partition, Subscription, intake::Intake, partitioner,
    size,
};

/// The bus in a database of PostgreSQL, in its schema `marquee_bus`.
pub struct Embedded {
    database: Database,
    config: Config,
    topics: RwLock<HashMap<String, store::Topic>>,
    hints: Arc<Hints>,
    requests: Mutex<Option<mpsc::Sender<append::Request>>>,
    /// Ends when the last request is appended.
    appender: Mutex<JoinSet<()>>,
    /// Hints and retention: nothing is lost when they end in the middle.
    tasks: Mutex<JoinSet<()>>,
}

impl Embedded {
    /// Install or migrate the schema, and begin.
    pub async fn open(database: Database, config: Config) -> Result<Self, MigrateError> {
        Migrations::built_in("bus", FILES)?.apply(&database).await?;
        // The newest migration may be days old.
        let prepared = store::prepare_days(&database).await;
        if let Err(error) = &prepared {
            tracing::warn!(%error, "the days to come were not prepared; it is tried again");
        }

        let hints = Arc::new(Hints::default());
        let (requests, receiver) = mpsc::channel(append::WAITING);
        let appender = append::run(database.clone(), Arc::clone(&hints), receiver);
        let mut appending = JoinSet::new();
        appending.spawn(appender);
        let mut tasks = JoinSet::new();
        tasks.spawn(hints::send(database.clone(), Arc::clone(&hints)));
        tasks.spawn(hints::listen(database.clone(), Arc::clone(&hints)));
        tasks.spawn(retention::run(
            database.clone(),
            config.clone(),
            u32::from(prepared.is_err()),
        ));
        Ok(Self {
            database,
            config,
            topics: RwLock::default(),
            hints,
            requests: Mutex::new(Some(requests)),
            appender: Mutex::new(appending),
            tasks: Mutex::new(tasks),
        })
    }

    /// Drop days that are read by all, or too old, now. Returns their tables. It also happens by itself.
    pub async fn sweep(&self) -> Result<Vec<String>, Error> {
        retention::sweep(&self.database, &self.config).await
    }

    /// A topic never changes once it is there, so it is asked for once.
    async fn topic(&self, name: &str) -> Result<store::Topic, Error> {
        let known = {
            let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            topics.get(name).copied()
        };
        if let Some(topic) = known {
            return Ok(topic);
        }
        let Some(topic) = store::topic(&self.database, name).await? else {
            return Err(Error::Refused(format!("there is no topic {name}")));
        };
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(name.to_owned(), topic);
        Ok(topic)
    }

    /// Sort out what is refused. Later records of a refused one's key are not sent.
    async fn prepare(&self, records: Vec<Outgoing>) -> Prepared {
        let mut prepared = Prepared::default();
        let mut failed = BTreeSet::new();
        for Outgoing { topic, record } in records {
            let is_behind =
                !record.key.is_empty() && failed.contains(&(topic.clone(), record.key.clone()));
            let checked = if is_behind {
                Err(Error::Unavailable(
                    "an earlier record of its key was not taken".to_owned(),
                ))
            } else {
                match size::check(&record) {
                    Ok(()) => self.topic(&topic).await,
                    Err(error) => Err(error),
                }
            };
            match checked {
                Ok(found) => {
                    let number = if record.key.is_empty() {
                        rand::random_range(0..found.partitions.max(1))
                    } else {
                        partitioner::partition_of(&record.key, found.partitions)
                    };
                    prepared.columns.topic_ids.push(found.id);
                    prepared.columns.partitions.push(number);
                    prepared
                        .columns
                        .headers
                        .push(headers::encode(&record.headers));
                    prepared.columns.keys.push(record.key);
                    prepared.columns.values.push(record.value);
                    prepared.topics.push(topic);
                    prepared.results.push(Ok(()));
                }
                Err(error) => {
                    failed.insert((topic, record.key));
                    prepared.results.push(Err(error));
                }
            }
        }
        prepared.topics.sort_unstable();
        prepared.topics.dedup();
        prepared
    }

    async fn append(&self, columns: store::Columns, topics: Vec<String>) -> Result<(), Error> {
        let requests = {
            let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.clone()
        };
        let closed = || Error::Unavailable("the bus is closed".to_owned());
        let Some(requests) = requests else {
            return Err(closed());
        };
        let (done, answer) = oneshot::channel();
        let request = append::Request {
            columns,
            topics,
            done,
        };
        requests.send(request).await.map_err(|_| closed())?;
        // The bus closes when the last sender is gone.
        drop(requests);
        answer.await.map_err(|_| closed())?
    }
}

/// What of a call can be appended, and what came of the rest.
#[derive(Default)]
struct Prepared {
    columns: store::Columns,
    topics: Vec<String>,
    results: Vec<Result<(), Error>>,
}

#[async_trait]
impl Bus for Embedded {
    async fn sweep(&self) -> Result<(), Error> {
        Self::sweep(self).await.map(drop)
    }

    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<i32, Error> {
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES || topic.contains('\0') {
            return Err(Error::Refused(format!(
                "a topic's name has 1 to {MAX_TOPIC_BYTES} bytes"
            )));
        }
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(Error::Refused(format!(
                "a topic has 1 to {MAX_PARTITIONS} partitions"
            )));
        }
        let found = match self.topic(topic).await {
            Ok(found) => found,
            Err(Error::Refused(_)) => {
                store::create_topic(&self.database, topic, partitions).await?;
                self.topic(topic).await?
            }
            Err(error) => return Err(error),
        };
        if found.partitions != partitions {
            tracing::warn!(
                topic,
                "topic {topic} has {} partitions and not {partitions}; it is used as it is",
                found.partitions
            );
        }
        Ok(found.partitions)
    }

    async fn publish(&self, records: Vec<Outgoing>) -> Vec<Result<(), Error>> {
        let amount = records.len();
        let work = async {
            let mut prepared = self.prepare(records).await;
            if !prepared.columns.keys.is_empty()
                && let Err(error) = self.append(prepared.columns, prepared.topics).await
            {
                let taken = prepared.results.iter_mut().filter(|result| result.is_ok());
                taken.for_each(|result| *result = Err(error.clone()));
            }
            prepared.results
        };
        match tokio::time::timeout(self.config.publish_timeout, work).await {
            Ok(results) => results,
            Err(_) => {
                let late = Error::Unavailable("the database did not answer in time".to_owned());
                vec![Err(late); amount]
            }
        }
    }

    async fn subscribe(
        &self,
        group: &str,
        topic: &str,
        limits: BatchLimits,
    ) -> Result<Arc<dyn Subscription>, Error> {
        let who = store::Identity {
            group: group.to_owned(),
            topic: self.topic(topic).await?,
            member: Uuid::now_v7(),
        };
        store::join(&self.database, &who).await?;
        let task = member::Task {
            database: self.database.clone(),
            member: store::member(&who, self.config.lease),
            who,
            intake: Arc::new(Intake::new(topic, limits)),
            hints: Arc::clone(&self.hints),
            wake: self.hints.register(topic),
            leaving: JoinSet::new(),
            going: BTreeSet::new(),
        };
        Ok(Arc::new(subscription::Member::start(task)))
    }

    async fn log(&self, partition: &Partition) -> Result<Log, Error> {
        store::log(&self.database, partition).await
    }

    async fn partitions(&self, topic: &str) -> Result<i32, Error> {
        Ok(self.topic(topic).await?.partitions)
    }

    async fn offset_at(&self, partition: &Partition, published_at_ms: i64) -> Result<i64, Error> {
        match store::offset_at(&self.database, partition, published_at_ms).await? {
            Some(offset) => Ok(offset),
            None => Ok(self.log(partition).await?.end),
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        store::within(&self.database, self.database.ping()).await
    }

    fn system(&self) -> &'static str {
        "marquee"
    }

    fn describe(&self) -> String {
        format!("the embedded bus in database {}", self.database.name())
    }

    async fn close(&self) {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(requests);
        let mut appender =
            std::mem::take(&mut *self.appender.lock().unwrap_or_else(PoisonError::into_inner));
        let appended = tokio::time::timeout(self.config.publish_timeout, appender.join_next());
        if appended.await.is_err() {
            tracing::warn!("not all records were appended before the bus closed");
        }
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

const FILES: &[(&str, &str)] = &[
    ("0001_log.sql", include_str!("schema/0001_log.sql")),
    ("0002_days.sql", include_str!("schema/0002_days.sql")),
];
/// As Kafka's.
const MAX_TOPIC_BYTES: usize = 249;
const MAX_PARTITIONS: i32 = 64;
