//! The bus: topics, partitions and consumer groups, behind one pair of traits.
//!
//! Two implementations: Kafka (production) and a durable log in PostgreSQL (nothing configured). Both promise:
//! at least once, in order within a partition; a key always goes to the same partition; what was acknowledged
//! is durable. It knows no component and no consumer's database.

pub mod embedded;
mod intake;
pub mod kafka;
mod partitioner;
mod size;

pub use size::{
    MAX_HEADERS, MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_OWN_HEADERS, MAX_TOPIC_BYTES,
    MAX_VALUE_BYTES, is_topic,
};

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

/// A message as the bus carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key; decides the partition. Empty: any partition.
    pub key: String,
    /// The payload.
    pub value: Bytes,
    /// In order; names may repeat.
    pub headers: Vec<(String, Bytes)>,
}

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub topic: String,
    /// What.
    pub record: Record,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its place in the partition.
    pub offset: i64,
    /// When the bus took it, in milliseconds since 1970.
    pub published_at_ms: i64,
    /// What.
    pub record: Record,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// Its number, from 0.
    pub number: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// What the bus has of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Names the log that it is: a position in one with another name means nothing in this one. See [`Log::is`].
    pub id: String,
    /// The offset of its first record that is still there, or `end`.
    pub begin: i64,
    /// The offset that its next record will have. A position beyond it belongs to another log: one that was deleted and
    /// made again, or that lost its end.
    pub end: i64,
}

impl Log {
    /// Whether it is the one that was kept under this name. A kept name may say less than the bus says today: a Kafka
    /// cluster, and not which topic of it.
    pub fn is(&self, name: &str) -> bool {
        let more = self.id.strip_prefix(name);
        more.is_some_and(|more| more.is_empty() || more.starts_with(' '))
    }
}

/// One holding of a partition by one member of a group. A later holding of the same partition, by whomever, has
/// another number; what comes late from an old one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// The partition.
    pub partition: Partition,
    /// Which holding of it.
    pub generation: i64,
}

/// A stretch of one partition.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Under which holding it was read.
    pub assignment: Assignment,
    /// After which `seek` of that holding, counted from 1; 0: before any. One from before the last seek is stale.
    pub seek: u64,
    /// At least one, in order of offset.
    pub records: Vec<Incoming>,
}

/// What a subscription has to say.
#[derive(Debug)]
pub enum Event {
    /// A partition is now held by this member. Its records follow, from the group's committed offset, or from
    /// the partition's beginning where the group has none; the holder may `seek` before or between batches.
    Assigned(Assignment),
    /// The partition must be given back: finish or abandon what is in flight, commit, then drop the guard. The bus
    /// waits for the guard, at most two seconds.
    Revoked(Assignment, RevokeGuard),
    /// Records to be handled. The next batch of this partition comes only after `more` or `seek` for it.
    Batch(Batch),
}

/// Keeps a partition from going to another member until it is dropped.
#[derive(Debug)]
pub struct RevokeGuard(
    #[expect(dead_code, reason = "its drop is the message")]
    Option<tokio::sync::oneshot::Sender<()>>,
);

impl RevokeGuard {
    /// A guard, and what resolves when it is dropped.
    pub fn new() -> (Self, tokio::sync::oneshot::Receiver<()>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// A guard that nobody waits for: the partition is lost already.
    pub fn lost() -> Self {
        Self(None)
    }
}

/// Why the bus did not do as it was told.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be reached, or did not acknowledge in time. It is worth trying again.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// The partition is held by another member by now; what was read under the old holding must be dropped.
    #[error("partition {0} is no longer held by this host")]
    Fenced(Partition),
    /// Nothing can be read of the partition where the subscription stands, and it was tried for some seconds: damaged or
    /// of an unknown kind, or this host may not. It is tried on. The bus answers otherwise.
    #[error("partition {partition} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        partition: Partition,
        /// What the bus says of it.
        reason: String,
    },
    /// It will not take this, now or later: too large, a topic that may not be.
    #[error("the bus refused it: {0}")]
    Refused(String),
}

/// A bus.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Make sure that a topic exists. Its number of partitions never changes afterwards. Returns how many it has: another
    /// number where it was there before.
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<i32, Error>;

    /// Publish records; returns when all of them are durable, with one result for each in their order. Records of one
    /// key that follow each other keep their order; after a failed one of a key, later ones of that key in the same
    /// call are failed too.
    ///
    /// Concurrent calls are gathered into few round trips. A failed record may stand nevertheless, when only its
    /// acknowledgement was lost; so may those of a call that was cancelled. A topic that is not there is refused.
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<Result<(), Error>>;

    /// Join a consumer group for one topic.
    async fn subscribe(
        &self,
        group: &str,
        topic: &str,
        limits: BatchLimits,
    ) -> Result<Arc<dyn Subscription>, Error>;

    /// What it has of a partition.
    async fn log(&self, partition: &Partition) -> Result<Log, Error>;

    /// How many partitions a topic has. One that is not there is refused.
    async fn partitions(&self, topic: &str) -> Result<i32, Error>;

    /// The offset of the first record that it took at `published_at_ms` (milliseconds since 1970) or later; where there is
    /// none, the one that its next record will have. May read a day's records.
    async fn offset_at(&self, partition: &Partition, published_at_ms: i64) -> Result<i64, Error>;

    /// Whether it answers now.
    async fn ping(&self) -> Result<(), Error>;

    /// Remove what nobody needs any more, where the bus does not do it by itself. To be called from time to time, by any
    /// number of hosts.
    async fn sweep(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What to call it in a summary: `Kafka at 127.0.0.1:9092`, `the embedded bus in database bus`. No secrets.
    fn describe(&self) -> String;

    /// What it is, as traces name it: `kafka`, or a name of its own.
    fn system(&self) -> &'static str;

    /// Flush what was taken and stop. Bounded by its caller.
    async fn close(&self);
}

/// A member of a consumer group: one task asks what comes `next`, any number say how far their partitions are. Dropped
/// without `close`, its partitions go to others when it times out, or before.
#[async_trait]
pub trait Subscription: Send + Sync {
    /// What comes next. Cancel-safe. An error is passing: call again (the implementation backs off by itself).
    async fn next(&self) -> Result<Event, Error>;

    /// The batch is dealt with. Asks for the next one of the partition, whether or not the bus knows. Nothing comes of it
    /// under a holding that is over.
    fn more(&self, assignment: &Assignment);

    /// Everything before `offset` is dealt with: there the group goes on in its next holding. Asks for nothing, and need
    /// not follow each batch.
    ///
    /// `Fenced`: drop what was read; a `Revoked` for it came, or comes with `next`.
    async fn commit(&self, assignment: &Assignment, offset: i64) -> Result<(), Error>;

    /// Read on from `offset` instead (one that the log still has or is about to get); drops what was read ahead. Asks
    /// for the next batch of the partition. Returns the number that batches read after it bear.
    async fn seek(&self, assignment: &Assignment, offset: i64) -> Result<u64, Error>;

    /// Leave the group: partitions go to other members at once. Nothing comes `next` after it.
    async fn close(&self);
}

/// How large a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Records.
    pub records: usize,
    /// Bytes of keys, values and headers together; one record may exceed it alone.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            records: 500,
            bytes: 4 * 1024 * 1024,
        }
    }
}
