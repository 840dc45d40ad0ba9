//! What the host looks at by itself: whether everything adds up, and whether consumers and relays keep up.
//!
//! Promise: what an audit finds is an error in the log, once for each finding; what is beyond a threshold is a part that
//! is not ready, as of the last look. Bound: one look at a time, four a minute, one audit.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use marquee_admin::{Events, health::Part, metrics::Audited};
use marquee_delivery::{Error, consumers::PartitionStanding, lag, telemetry};
use marquee_runtime::chain;
use marquee_telemetry::Readings;
use tokio_util::sync::CancellationToken;

/// When the host is not ready, although all that it needs answers. Where none is set, it is ready however far behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Messages that a consumer has not read yet.
    pub(crate) lag: Option<i64>,
    /// How long the oldest row of an outbox waits.
    pub(crate) outbox: Option<Duration>,
    /// How long a position does not move, although there is something to read.
    pub(crate) stuck: Option<Duration>,
}

/// Looks at the event path of an application.
pub(crate) struct Alarms {
    events: Events,
    thresholds: Thresholds,
    known: Known,
    audited: Audited,
}

/// What was seen at the last look.
type Known = Arc<Mutex<Seen>>;

#[derive(Debug, Clone, Default)]
struct Seen {
    /// What was beyond a threshold.
    beyond: Vec<String>,
    /// Messages that wait for nobody: for a person to know, and no reason not to serve.
    unattended: Vec<String>,
}

impl Alarms {
    pub(crate) fn new(events: Events, thresholds: Thresholds) -> Self {
        Self {
            events,
            thresholds,
            known: Known::default(),
            audited: Audited::default(),
        }
    }

    /// What the last audit came to, for metrics.
    pub(crate) fn audited(&self) -> Audited {
        self.audited.clone()
    }

    /// Ready while nothing is beyond its threshold, and no partition that is held fails.
    pub(crate) fn part(&self) -> Part {
        let known = Arc::clone(&self.known);
        let watch = self.events.watch.clone();
        Part {
            name: "events".to_owned(),
            ask: Box::new(move || {
                let Seen {
                    mut beyond,
                    unattended,
                } = lock(&known).clone();
                beyond.extend(watch.failing());
                Box::pin(async move {
                    if !beyond.is_empty() {
                        return Err(beyond.join("; "));
                    }
                    Ok((!unattended.is_empty()).then(|| unattended.join("; ")))
                })
            }),
        }
    }

    /// Look until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut known = BTreeSet::new();
        for look in 0_u64.. {
            if look.is_multiple_of(LOOKS_AN_AUDIT)
                && let Err(error) = self.audit(&mut known).await
            {
                tracing::warn!(
                    error = chain(&error),
                    "the audit could not be done; trying again"
                );
            }
            if self.thresholds != Thresholds::default() {
                let beyond = match self.compare().await {
                    Ok(beyond) => beyond,
                    Err(error) => vec![format!(
                        "it is not known how far they are: {}",
                        chain(&error)
                    )],
                };
                lock(&self.known).beyond = beyond;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tell of what was not told of before.
    async fn audit(&self, known: &mut BTreeSet<String>) -> Result<(), Error> {
        let mut found = BTreeSet::new();
        let mut unattended = Vec::new();
        let mut readings = Readings::default();
        for audited in self.events.audit().await?.databases {
            let database = &audited.database;
            telemetry::audit(database, &audited.audit, &mut readings);
            unattended.extend(audited.unattended.iter().map(ToString::to_string));
            for finding in audited.audit.findings {
                let text = format!("{}: {}", finding.place, finding.what);
                if !known.contains(&text) {
                    tracing::error!(
                        database,
                        "the audit finds what does not add up: {text}; see `marquee audit`"
                    );
                }
                found.insert(text);
            }
        }
        telemetry::audited(Utc::now(), &mut readings);
        self.audited.set(readings);
        *known = found;
        lock(&self.known).unattended = unattended;
        Ok(())
    }

    async fn compare(&self) -> Result<Vec<String>, Error> {
        let Thresholds { lag, outbox, stuck } = self.thresholds;
        let mut beyond = Vec::new();
        for consumer in self.events.consumers().await? {
            let standing = &consumer.standing;
            let name = format!("consumer {} of {}", standing.consumer, standing.topic);
            if let (Some(most), Some(is)) = (lag, standing.lag)
                && is > most
            {
                let messages = if is == 1 { "message" } else { "messages" };
                beyond.push(format!("{name} is {is} {messages} behind"));
            }
            let stands = |partition: &&PartitionStanding| {
                let since = (Utc::now() - partition.moved_at)
                    .to_std()
                    .unwrap_or_default();
                partition.lag.is_some_and(|lag| lag > 0) && stuck.is_some_and(|most| since > most)
            };
            let stuck = standing.partitions.iter().find(stands);
            if let Some(partition) = stuck.filter(|_| standing.paused.is_none()) {
                let PartitionStanding {
                    partition,
                    moved_at,
                    ..
                } = partition;
                beyond.push(format!(
                    "{name} has not moved in partition {partition} since {moved_at}"
                ));
            }
        }
        if let Some(most) = outbox {
            for database in self.events.databases.iter() {
                let oldest = lag::outbox(database).await?.oldest.unwrap_or_default();
                if oldest > most {
                    let (name, seconds) = (database.name(), oldest.as_secs());
                    beyond.push(format!("the outbox of {name} waits for {seconds} s"));
                }
            }
        }
        Ok(beyond)
    }
}

fn lock(known: &Known) -> MutexGuard<'_, Seen> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Soon enough for an alarm, seldom enough to cost nothing.
const LOOK: Duration = Duration::from_secs(15);
/// An audit looks at all that is parked.
const LOOKS_AN_AUDIT: u64 = 4;
