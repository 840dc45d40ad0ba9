//! How the cluster is reached, and librdkafka's settings.

use std::{collections::BTreeMap, time::Duration};

use marquee_database::Secret;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::Error;

/// A cluster and the bounds of its use.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// How long a publish waits for its acknowledgement.
    pub publish_timeout: Duration,
    /// After this long without a heartbeat a member's partitions go to others. The broker's bounds hold
    /// (6 s to 30 min unless it was told otherwise).
    pub session_timeout: Duration,
    /// How long a commit of offsets may take.
    pub commit_timeout: Duration,
    /// Further properties of librdkafka for all clients, as `security.protocol` and `SASL_SSL`. They win over what is
    /// set here, but for those that a promise of the bus rests on: they are refused. Any of them may be a secret.
    pub properties: BTreeMap<String, Secret>,
}

impl Config {
    /// A cluster with the default bounds.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            publish_timeout: PUBLISH_TIMEOUT,
            session_timeout: SESSION_TIMEOUT,
            commit_timeout: COMMIT_TIMEOUT,
            properties: BTreeMap::new(),
        }
    }

    /// Refuse properties that would break what the bus promises.
    pub(super) fn check(&self) -> Result<(), Error> {
        let ours = self.properties.keys().find_map(|name| {
            let (_, why) = OURS.iter().find(|(ours, _)| ours.contains(&&**name))?;
            Some((name, why))
        });
        match ours {
            Some((name, why)) => Err(Error::Refused(format!(
                "property {name} cannot be set: {why}"
            ))),
            None => Ok(()),
        }
    }

    /// What all clients share.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "marquee")
            .set("socket.nagle.disable", "true")
            .set("socket.keepalive.enable", "true")
            .set("socket.connection.setup.timeout.ms", "5000")
            // Back soon after an outage, without a storm.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("allow.auto.create.topics", "false");
        self.finish(config)
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("partitioner", "murmur2_random")
            // What comes while requests are under way is sent together anyway.
            .set("linger.ms", "0")
            .set("batch.size", "524288")
            .set("message.max.bytes", MESSAGE_BYTES)
            // Our own deadline comes first and drops all that waits at once, so that no record can overtake an
            // earlier one of its key that timed out alone. This is the backstop.
            .set(
                "message.timeout.ms",
                (self.publish_timeout * 4).as_millis().to_string(),
            )
            .set("topic.metadata.propagation.max.ms", "5000")
            // More than the semaphore lets in, so that the queue is never full.
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "131072");
        self.finish(config)
    }

    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // A partition whose queue was full waits for the back-off (a second by default), and then for the fetch under
            // way: both short, or reading goes in bursts.
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.message.max.bytes", "1048576")
            .set("queued.min.messages", "2000")
            // Of each partition, since each has a queue of its own. One fetch more may come.
            .set("queued.max.messages.kbytes", "1024");
        // No shorter than a session may be.
        if !self.properties.contains_key("session.timeout.ms") {
            // A rebalance waits so long for a member that does not join, or that was to share out the partitions and died; 300 s
            // by default. Our thread polls whatever the caller does.
            config.set(
                "max.poll.interval.ms",
                (self.session_timeout * 2).as_millis().to_string(),
            );
        }
        if !self.is_next_generation() {
            let session = self.session_timeout.as_millis();
            config
                // Eager: known bugs of the cooperative one commit stale offsets after a rebalance.
                .set("partition.assignment.strategy", "range,roundrobin")
                .set("session.timeout.ms", session.to_string())
                .set("heartbeat.interval.ms", (session / 5).max(1).to_string());
        }
        self.finish(config)
    }

    /// Whether the broker assigns partitions and says how long a session is (KIP-848).
    fn is_next_generation(&self) -> bool {
        let protocol = self.properties.get("group.protocol");
        protocol.is_some_and(|protocol| protocol.reveal().eq_ignore_ascii_case("consumer"))
    }

    fn finish(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            config.set(name, value.reveal());
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }
}

/// What is not anybody's to set, and why.
const OURS: &[(&[&str], &str)] = &[
    (
        &["bootstrap.servers", "metadata.broker.list"],
        "the brokers are a setting of their own",
    ),
    (
        &[
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "enable.gapless.guarantee",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "queuing.strategy",
            "transactional.id",
            "delivery.report.only.error",
        ],
        "an acknowledged message must be durable, once, and in the order of its key",
    ),
    (
        &["partitioner", "sticky.partitioning.linger.ms"],
        "a key must stay in its partition",
    ),
    (
        &[
            "group.id",
            "group.instance.id",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "auto.offset.reset",
            "offset.store.method",
            "partition.assignment.strategy",
            "enable.partition.eof",
            "isolation.level",
        ],
        "the host decides what is read, and when it is dealt with",
    ),
    (
        &["allow.auto.create.topics"],
        "topics are made with the partitions of the manifest",
    ),
];

/// A leader's fail-over takes a few seconds; a caller of HTTP waits no longer than this.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// A member that died is noticed in this time; long enough for a pause of the machine.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// A value, a key and headers at their largest, and Kafka's own framing.
const MESSAGE_BYTES: &str = "1245184";
/// Kafka's default for a topic (1 MiB and 12 bytes) leaves no place for headers.
pub(super) const TOPIC_MESSAGE_BYTES: &str = "2097152";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_message_is_sent_at_once_unless_somebody_says_otherwise() {
        let mut config = Config::new("127.0.0.1:9092");
        assert_eq!(config.producer().get("linger.ms"), Some("0"));
        assert_eq!(
            config.client().get("socket.nagle.disable"),
            Some("true"),
            "nor does the kernel wait for more"
        );
        let linger = ("linger.ms".to_owned(), Secret::new("5"));
        config.properties.insert(linger.0, linger.1);
        assert_eq!(config.producer().get("linger.ms"), Some("5"));
    }
}
