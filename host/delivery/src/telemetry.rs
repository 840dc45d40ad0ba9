//! The event path's metrics: what relays do, and what databases say of outboxes, consumers and audits.
//!
//! The relay counts what it does. The rest are answers of databases, which whoever asked hands over here. Not here: how
//! often they are asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use marquee_telemetry::{Histogram, Metric, Readings, Unit, label};

use crate::{
    audit::{Account, Audit},
    consumers::Standing,
    lag::Outbox,
    partition::State,
};

/// All of them.
pub static METRICS: &[&Metric] = &[
    &OUTBOX_ROWS,
    &OUTBOX_ASIDE,
    &OUTBOX_OLDEST,
    &RELAY_MESSAGES,
    &RELAY_FAILURES,
    &RELAY_PUBLISH,
    &LAG,
    &POSITION,
    &MOVED,
    &PAUSED,
    &PARKED,
    &DEAD,
    &BLOCKED_KEYS,
    &HELD,
    &AUDIT_FINDINGS,
    &AUDIT_TERMS,
    &AUDITED,
];

static OUTBOX_ROWS: Metric = Metric::gauge(
    "marquee_outbox_messages",
    Unit::Of("messages"),
    &[&label::DATABASE],
    "Messages that wait in an outbox, counted up to 10,000. From the database.",
);
static OUTBOX_ASIDE: Metric = Metric::gauge(
    "marquee_outbox_messages_aside",
    Unit::Of("messages"),
    &[&label::DATABASE],
    "Of those: what is set aside, since the bus refuses it or one before it of its key. From the database.",
);
static OUTBOX_OLDEST: Metric = Metric::gauge(
    "marquee_outbox_oldest_age",
    Unit::Seconds,
    &[&label::DATABASE],
    "How long the oldest of the others waits; 0 where none does. From the database.",
);
static RELAY_MESSAGES: Metric = Metric::counter(
    "marquee_relay_messages",
    Unit::Of("messages"),
    &[&label::DATABASE, &label::OUTCOME],
    "Messages that this host's relay gave to the bus: `acknowledged`, or `refused` (set aside, for a person).",
);
static RELAY_FAILURES: Metric = Metric::counter(
    "marquee_relay_failures",
    Unit::Of("runs"),
    &[&label::DATABASE],
    "Runs of a shard that the bus did not take for a passing reason; each is tried again, with growing pauses.",
);
static RELAY_PUBLISH: Metric = Metric::durations(
    "marquee_relay_publish_duration",
    &[&label::DATABASE],
    "How long the bus took to acknowledge a run of up to 2,000 messages.",
);
static LAG: Metric = Metric::gauge(
    "marquee_consumer_lag_messages",
    Unit::Of("messages"),
    &[&label::CONSUMER, &label::TOPIC, &label::PARTITION],
    "Messages that a consumer has not read yet, where the bus says how far its log goes. From the database and the bus.",
);
static POSITION: Metric = Metric::gauge(
    "marquee_consumer_position",
    Unit::Of("offset"),
    &[&label::CONSUMER, &label::TOPIC, &label::PARTITION],
    "Everything before this offset is dealt with. From the database.",
);
static MOVED: Metric = Metric::gauge(
    "marquee_consumer_moved_timestamp",
    Unit::Seconds,
    &[&label::CONSUMER, &label::TOPIC, &label::PARTITION],
    "When the position moved last, since 1970. From the database.",
);
static PAUSED: Metric = Metric::gauge(
    "marquee_consumer_paused",
    Unit::Of("0 or 1"),
    &[&label::CONSUMER, &label::TOPIC],
    "Whether a person has paused it. From the database.",
);
static PARKED: Metric = Metric::gauge(
    "marquee_consumer_parked_messages",
    Unit::Of("messages"),
    &[&label::CONSUMER, &label::TOPIC],
    "Messages to be retried, or waiting behind one that is. From the database.",
);
static DEAD: Metric = Metric::gauge(
    "marquee_consumer_dead_messages",
    Unit::Of("messages"),
    &[&label::CONSUMER, &label::TOPIC],
    "Messages that a person decides about. From the database.",
);
static BLOCKED_KEYS: Metric = Metric::gauge(
    "marquee_consumer_blocked_keys",
    Unit::Of("keys"),
    &[&label::CONSUMER, &label::TOPIC],
    "Keys that wait for a retry or a person, counted up to 10,000. From the database.",
);
static HELD: Metric = Metric::gauge(
    "marquee_consumer_held_partitions",
    Unit::Of("partitions"),
    &[&label::CONSUMER, &label::TOPIC, &label::STATE],
    "Partitions that this host holds: `working`, `one-by-one` (hosts died of one of its messages), `breaker-open` (the component fails \
     at everything), `paused`, `waiting` (for the database or the bus) or `unreadable`.",
);
static AUDIT_FINDINGS: Metric = Metric::gauge(
    "marquee_audit_findings",
    Unit::Of("findings"),
    &[&label::DATABASE],
    "What did not add up at the last audit, one a minute: `marquee audit` says what. From the database.",
);
static AUDIT_TERMS: Metric = Metric::gauge(
    "marquee_audit_term_messages",
    Unit::Of("messages"),
    &[&label::CONSUMER, &label::TOPIC, &label::TERM],
    "The terms of the last audit, over all partitions: position - from + carried = done + duplicates + parked + dead + skipped + \
     discarded + lost + holes + uncounted. From the database.",
);
static AUDITED: Metric = Metric::gauge(
    "marquee_audit_timestamp",
    Unit::Seconds,
    &[],
    "When the last audit ended, since 1970.",
);

/// What a relay counts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RelayTally(Arc<Relayed>);

#[derive(Debug, Default)]
struct Relayed {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    publishing: Histogram,
}

impl RelayTally {
    /// The bus answered after so long.
    pub(crate) fn answered(&self, took: Duration) {
        self.0.publishing.observe(took);
    }

    /// A run came to this: messages that were acknowledged and refused, shards that failed.
    pub(crate) fn run(&self, acknowledged: usize, refused: usize, failed: usize) {
        for (counter, count) in [
            (&self.0.acknowledged, acknowledged),
            (&self.0.refused, refused),
            (&self.0.failed, failed),
        ] {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What it says now, of the relay of this database.
    pub fn read(&self, database: &str, into: &mut Readings) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcome = |outcome| [database, outcome];
        into.count(
            &RELAY_MESSAGES,
            &outcome("acknowledged"),
            count(&self.0.acknowledged),
        );
        into.count(&RELAY_MESSAGES, &outcome("refused"), count(&self.0.refused));
        into.count(&RELAY_FAILURES, &[database], count(&self.0.failed));
        into.durations(&RELAY_PUBLISH, &[database], self.0.publishing.read());
    }
}

/// What a database says of its outbox.
pub fn outbox(database: &str, outbox: &Outbox, into: &mut Readings) {
    into.gauge(&OUTBOX_ROWS, &[database], outbox.rows as f64);
    into.gauge(&OUTBOX_ASIDE, &[database], outbox.aside as f64);
    let oldest = outbox.oldest.unwrap_or_default();
    into.gauge(&OUTBOX_OLDEST, &[database], oldest.as_secs_f64());
}

/// What a database says of a consumer; and in which states the partitions of it are that this host holds.
pub fn standing(standing: &Standing, held: impl IntoIterator<Item = State>, into: &mut Readings) {
    let (consumer, topic) = (standing.consumer.as_str(), standing.topic.as_str());
    for partition in &standing.partitions {
        let number = partition.partition.to_string();
        let labels = [consumer, topic, number.as_str()];
        if let Some(lag) = partition.lag {
            into.gauge(&LAG, &labels, lag as f64);
        }
        into.gauge(&POSITION, &labels, partition.position as f64);
        into.gauge(&MOVED, &labels, timestamp(partition.moved_at));
    }
    let labels = [consumer, topic];
    into.number(&PAUSED, &labels, usize::from(standing.paused.is_some()));
    into.gauge(&PARKED, &labels, standing.parked as f64);
    into.gauge(&DEAD, &labels, standing.dead as f64);
    into.gauge(&BLOCKED_KEYS, &labels, standing.blocked_keys as f64);
    let held: Vec<State> = held.into_iter().collect();
    for (state, word) in [
        (State::Working, "working"),
        (State::OneByOne, "one-by-one"),
        (State::BreakerOpen, "breaker-open"),
        (State::Paused, "paused"),
        (State::Waiting, "waiting"),
        (State::Unreadable, "unreadable"),
    ] {
        let partitions = held.iter().filter(|it| **it == state).count();
        into.number(&HELD, &[consumer, topic, word], partitions);
    }
}

/// What an audit of a database came to.
pub fn audit(database: &str, audit: &Audit, into: &mut Readings) {
    into.number(&AUDIT_FINDINGS, &[database], audit.findings.len());
    let mut accounts = audit.accounts.iter().peekable();
    // They are in order.
    while let Some(first) = accounts.next() {
        let (consumer, topic) = (first.consumer.as_str(), first.topic.as_str());
        let mut sums = terms(first);
        while let Some(next) =
            accounts.next_if(|next| next.consumer == consumer && next.topic == topic)
        {
            for ((_, sum), (_, more)) in sums.iter_mut().zip(terms(next)) {
                *sum += more;
            }
        }
        for (term, messages) in sums {
            into.gauge(&AUDIT_TERMS, &[consumer, topic, term], messages as f64);
        }
    }
}

/// The last audit ended then.
pub fn audited(at: DateTime<Utc>, into: &mut Readings) {
    into.gauge(&AUDITED, &[], timestamp(at));
}

/// The terms of the identity, by their names.
fn terms(account: &Account) -> [(&'static str, i64); 12] {
    [
        ("position", account.position),
        ("from", account.from),
        ("carried", account.carried),
        ("done", account.done),
        ("duplicates", account.duplicates),
        ("parked", account.parked),
        ("dead", account.dead),
        ("skipped", account.skipped),
        ("discarded", account.discarded),
        ("lost", account.lost),
        ("holes", account.holes),
        ("uncounted", account.uncounted),
    ]
}

fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1_000.0
}
