//! Events that are published meanwhile, by either way, through whichever host answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use http::Method;
use tokio::task::JoinSet;

use super::{PATIENCE, stage::Stage};
use crate::load::ask;

/// What is sent until it is told to end.
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<Sent>,
}

struct Shared {
    addresses: Mutex<Vec<String>>,
    acknowledged: AtomicUsize,
    ends: AtomicBool,
}

/// What was sent of a key, in its order: the tag, and whether it was acknowledged.
pub(super) struct Sent {
    pub(super) key: String,
    /// Through the outbox; else by the producer.
    pub(super) by_outbox: bool,
    pub(super) tags: Vec<(String, bool)>,
}

impl Load {
    pub(super) fn start(stage: &Stage) -> Self {
        let shared = Arc::new(Shared {
            addresses: Mutex::new(stage.addresses()),
            acknowledged: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
        });
        let mut senders = JoinSet::new();
        for number in 0..SENDERS {
            let shared = Arc::clone(&shared);
            senders.spawn(async move { shared.send(number).await });
        }
        Self { shared, senders }
    }

    pub(super) fn is_served_by(&self, stage: &Stage) {
        let mut addresses = self
            .shared
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *addresses = stage.addresses();
    }

    /// Wait until more was acknowledged, and more was applied, than is now.
    pub(super) async fn goes_on(&self, stage: &Stage) -> anyhow::Result<()> {
        let acknowledged = || self.shared.acknowledged.load(Ordering::Relaxed);
        let before = (acknowledged(), applied(stage).await.unwrap_or_default());
        let begun = Instant::now();
        loop {
            let now = (acknowledged(), applied(stage).await.unwrap_or_default());
            if now.0 >= before.0 + MORE && now.1 >= before.1 + 20 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "it does not go on: {} acknowledged, {} applied, since {PATIENCE:?} {} and {}\n{}",
                    now.0,
                    now.1,
                    now.0 - before.0,
                    now.1 - before.1,
                    stage.logs()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Stop; then one more of each key, behind all that its partition has.
    pub(super) async fn end(mut self) -> anyhow::Result<BTreeMap<String, Sent>> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        while let Some(sent) = self.senders.join_next().await {
            let mut sent = sent?;
            let begun = Instant::now();
            for attempt in 0.. {
                let tag = format!("last-{attempt}");
                let done = self
                    .shared
                    .publish(attempt, sent.by_outbox, &sent.key, &tag)
                    .await;
                sent.tags.push((tag, done));
                if done {
                    break;
                }
                if begun.elapsed() > PATIENCE {
                    bail!("nothing can be published any more");
                }
                tokio::time::sleep(LOOK).await;
            }
            all.insert(sent.key.clone(), sent);
        }
        Ok(all)
    }
}

impl Shared {
    /// Publish one message of a key after the other. What was not acknowledged is not sent again.
    async fn send(&self, number: usize) -> Sent {
        let by_outbox = number.is_multiple_of(2);
        let key = format!("{}-{number}", if by_outbox { "outbox" } else { "producer" });
        let mut tags = Vec::new();
        for n in 0.. {
            if self.ends.load(Ordering::Relaxed) {
                break;
            }
            // Some are applied with their third delivery, and their key waits meanwhile.
            let tag = if n % LATER == LATER / 2 {
                format!("later-{n}")
            } else {
                n.to_string()
            };
            let done = self.publish(n, by_outbox, &key, &tag).await;
            tags.push((tag, done));
            self.acknowledged
                .fetch_add(usize::from(done), Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        Sent {
            key,
            by_outbox,
            tags,
        }
    }

    async fn publish(&self, n: usize, by_outbox: bool, key: &str, tag: &str) -> bool {
        let address = {
            let addresses = self
                .addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let place = n.checked_rem(addresses.len()).unwrap_or_default();
            addresses.get(place).cloned().unwrap_or_default()
        };
        let method = if by_outbox { Method::PUT } else { Method::POST };
        ask(&address, method, &format!("/{key}/{tag}/1")).await == Some(202)
    }
}

async fn applied(stage: &Stage) -> anyhow::Result<i64> {
    let sql = "select coalesce(sum(total), 0)::bigint from counters";
    let row = stage.connect("counter").await?.query_one(sql, &[]).await?;
    Ok(row.get(0))
}

/// Half of them through the outbox; each has a key of its own.
const SENDERS: usize = 24;
/// Between two messages of a key: a load that two cores bear with debug builds.
const PAUSE: Duration = Duration::from_millis(100);
/// One in so many messages of a key is answered *retry* at first.
const LATER: usize = 100;
/// Acknowledged messages before the next fault.
const MORE: usize = 200;
const LOOK: Duration = Duration::from_millis(100);
