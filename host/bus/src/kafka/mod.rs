//! Kafka as the bus: librdkafka's idempotent producer, and one consumer with a thread of its own a subscription.
//!
//! Promise: a record is acknowledged once all in-sync replicas have it. A key's partition is `murmur2(key)` modulo
//! the topic's partitions, as Kafka's own clients choose it. Offsets are committed only when the caller says so; what
//! comes late from an old holding is refused. What other producers write is read so that nothing is lost or confused: see
//! `foreign`.
//! Bound: [`Config`] for times; 32 MiB of records on their way out; read-ahead as `Intake` says, and 2 MiB in
//! librdkafka a partition. Not here: transactions of Kafka (positions are kept in the consumer's database).

mod commits;
mod config;
mod context;
mod foreign;
mod headers;
mod identity;
mod producer;
mod queues;
mod subscription;
mod thread;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::FromClientConfigAndContext as _,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::{Offset, TopicPartitionList},
};
use std::sync::Arc;

pub use self::config::Config;
use self::context::Logging;
use self::producer::Producer;
use crate::{BatchLimits, Bus, Error, Log, Outgoing, Partition, Subscription};

/// A Kafka cluster.
pub struct Kafka {
    config: Config,
    admin: Arc<AdminClient<Logging>>,
    producer: Producer,
}

impl Kafka {
    /// Prepare the clients. Nothing is connected yet, so brokers that are down are no error here.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let admin =
            AdminClient::from_config_and_context(&config.client(), Logging).map_err(refused)?;
        Ok(Self {
            producer: Producer::new(&config),
            admin: Arc::new(admin),
            config,
        })
    }

    /// Number of partitions of a topic whose partitions all have a leader; none where there is no such topic yet.
    async fn partitions_of(&self, topic: &str) -> Result<Option<i32>, Error> {
        let admin = Arc::clone(&self.admin);
        let topic = topic.to_owned();
        blocking(ASK_TIMEOUT, move || {
            // All topics are asked for: asking for one by name could create it.
            let metadata = admin
                .inner()
                .fetch_metadata(None, ASK_TIMEOUT)
                .map_err(unavailable)?;
            let found = metadata.topics().iter().find(|it| it.name() == topic);
            Ok(found.and_then(|found| {
                let is_led = found.partitions().iter().all(|it| it.leader() >= 0);
                (found.error().is_none() && is_led && !found.partitions().is_empty())
                    .then(|| i32::try_from(found.partitions().len()).ok())
                    .flatten()
            }))
        })
        .await
    }
}

#[async_trait]
impl Bus for Kafka {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<i32, Error> {
        if self.partitions_of(topic).await?.is_none() {
            let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(CLUSTERS_DEFAULT))
                .set("max.message.bytes", config::TOPIC_MESSAGE_BYTES);
            let options = AdminOptions::new().operation_timeout(Some(ASK_TIMEOUT));
            let results =
                tokio::time::timeout(ASK_TIMEOUT * 2, self.admin.create_topics([&new], &options))
                    .await
                    .map_err(|_| {
                        Error::Unavailable("no answer to the wish for a topic".to_owned())
                    })?
                    .map_err(unavailable)?;
            for result in results {
                match result {
                    Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((
                        _,
                        code @ (RDKafkaErrorCode::InvalidTopic
                        | RDKafkaErrorCode::InvalidPartitions
                        | RDKafkaErrorCode::PolicyViolation
                        | RDKafkaErrorCode::InvalidReplicationFactor
                        | RDKafkaErrorCode::TopicAuthorizationFailed),
                    )) => return Err(Error::Refused(code.to_string())),
                    Err((_, code)) => return Err(Error::Unavailable(code.to_string())),
                }
            }
        }
        // Brokers learn of a new topic one after the other.
        let settled = async {
            loop {
                if let Some(found) = self.partitions_of(topic).await? {
                    return Ok(found);
                }
                tokio::time::sleep(SETTLE_POLL).await;
            }
        };
        let found = tokio::time::timeout(ASK_TIMEOUT * 2, settled)
            .await
            .map_err(|_| Error::Unavailable(format!("topic {topic} has no leaders yet")))??;
        if found != partitions {
            tracing::warn!(
                topic,
                "topic {topic} has {found} partitions and not {partitions}; it is used as it is"
            );
        }
        Ok(found)
    }

    async fn publish(&self, records: Vec<Outgoing>) -> Vec<Result<(), Error>> {
        self.producer.publish(records).await
    }

    async fn subscribe(
        &self,
        group: &str,
        topic: &str,
        limits: BatchLimits,
    ) -> Result<Arc<dyn Subscription>, Error> {
        if self.partitions_of(topic).await?.is_none() {
            return Err(Error::Refused(format!("there is no topic {topic}")));
        }
        let member = subscription::Member::join(&self.config, group, topic, limits)?;
        Ok(Arc::new(member))
    }

    async fn log(&self, partition: &Partition) -> Result<Log, Error> {
        let admin = Arc::clone(&self.admin);
        let Partition { topic, number } = partition.clone();
        blocking(ASK_TIMEOUT * 3, move || {
            let client = admin.inner();
            // First: where the topic is made again between the two, a position in the new log is kept under the old one's
            // name, and judged again. The other way round an old position would be believed.
            let id = identity::log_id(client.native_client(), &topic, ASK_TIMEOUT)?;
            let (begin, end) = client
                .fetch_watermarks(&topic, number, ASK_TIMEOUT)
                .map_err(unavailable)?;
            Ok(Log { id, begin, end })
        })
        .await
    }

    async fn partitions(&self, topic: &str) -> Result<i32, Error> {
        let found = self.partitions_of(topic).await?;
        found.ok_or_else(|| Error::Refused(format!("there is no topic {topic}")))
    }

    /// Only a consumer can ask it; one in no group, for this question.
    async fn offset_at(&self, partition: &Partition, published_at_ms: i64) -> Result<i64, Error> {
        let config = self.config.client();
        let Partition { topic, number } = partition.clone();
        let found = blocking(ASK_TIMEOUT * 2, move || {
            let consumer: BaseConsumer<Logging> =
                BaseConsumer::from_config_and_context(&config, Logging).map_err(refused)?;
            let mut wanted = TopicPartitionList::new();
            let since = Offset::Offset(published_at_ms.max(0));
            wanted
                .add_partition_offset(&topic, number, since)
                .map_err(refused)?;
            let found = consumer.offsets_for_times(wanted, ASK_TIMEOUT);
            let found = found.map_err(unavailable)?;
            Ok(found.find_partition(&topic, number).map(|it| it.offset()))
        })
        .await?;
        match found {
            Some(Offset::Offset(offset)) => Ok(offset),
            // Nothing that young.
            _ => Ok(self.log(partition).await?.end),
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        self.partitions_of("").await.map(drop)
    }

    fn system(&self) -> &'static str {
        "kafka"
    }

    fn describe(&self) -> String {
        format!("Kafka at {}", self.config.brokers)
    }

    async fn close(&self) {
        self.producer.close().await;
    }
}

/// Run a call of librdkafka that blocks, off the async threads. It has a timeout of its own; the one here is for the
/// case that it does not keep it.
async fn blocking<T: Send + 'static>(
    bound: Duration,
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::time::timeout(bound + GRACE, tokio::task::spawn_blocking(call)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
        Err(_) => Err(Error::Unavailable("no answer in time".to_owned())),
    }
}

fn unavailable(error: KafkaError) -> Error {
    Error::Unavailable(error.to_string())
}

fn refused(error: KafkaError) -> Error {
    Error::Refused(error.to_string())
}

/// Names that were asked for twice in one call are told apart by topic and key.
type KeySet<'a> = BTreeSet<(&'a str, &'a str)>;

/// Shorter than anybody waits for a readiness probe.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
const GRACE: Duration = Duration::from_millis(500);
const SETTLE_POLL: Duration = Duration::from_millis(50);
/// The broker's `default.replication.factor` (KIP-464).
const CLUSTERS_DEFAULT: i32 = -1;
