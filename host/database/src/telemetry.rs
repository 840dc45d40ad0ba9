//! A database's metrics: its pool, the time of its statements, and what became of units of work.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use marquee_telemetry::{Histogram, Metric, Readings, Unit, label};

use crate::Database;

/// All of them.
pub static METRICS: &[&Metric] = &[
    &CONNECTIONS,
    &CONNECTIONS_LIMIT,
    &CONNECTION_WAITERS,
    &CONNECTION_WAIT,
    &CONNECTION_FAILURES,
    &STATEMENT_DURATION,
    &STATEMENT_FAILURES,
    &UNITS,
];

static CONNECTIONS: Metric = Metric::gauge(
    "marquee_database_connections",
    Unit::Of("connections"),
    &[&label::DATABASE, &label::STATE],
    "Connections of the pool: `busy` or `idle`.",
);
static CONNECTIONS_LIMIT: Metric = Metric::gauge(
    "marquee_database_connections_limit",
    Unit::Of("connections"),
    &[&label::DATABASE],
    "As many may be there (`pool_size`).",
);
static CONNECTION_WAITERS: Metric = Metric::gauge(
    "marquee_database_connection_waiters",
    Unit::Of("statements"),
    &[&label::DATABASE],
    "Whoever waits for a connection now.",
);
static CONNECTION_WAIT: Metric = Metric::durations(
    "marquee_database_connection_wait",
    &[&label::DATABASE],
    "How long it took to get a connection, a new one to be opened included.",
);
static CONNECTION_FAILURES: Metric = Metric::counter(
    "marquee_database_connection_failures",
    Unit::Of("connections"),
    &[&label::DATABASE],
    "Connections that were not to be had: the server was away or refused them, or none was free in time.",
);
static STATEMENT_DURATION: Metric = Metric::durations(
    "marquee_database_statement_duration",
    &[&label::DATABASE],
    "From sending a statement to its whole answer: the component's and the host's own on its database, commits too.",
);
static STATEMENT_FAILURES: Metric = Metric::counter(
    "marquee_database_statement_failures",
    Unit::Of("statements"),
    &[&label::DATABASE],
    "Statements that failed, conflicts between transactions included, or had no answer in time.",
);
static UNITS: Metric = Metric::counter(
    "marquee_database_units",
    Unit::Of("units of work"),
    &[&label::DATABASE, &label::OUTCOME],
    "Units of work that had a statement and ended: `committed`, `rolled_back`, or `unknown` (the answer to the commit was lost). One \
     that is dropped with its call is not among them.",
);

/// What is counted of a database.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    waits: Histogram,
    without_connection: AtomicU64,
    statements: Histogram,
    failures: AtomicU64,
    committed: AtomicU64,
    rolled_back: AtomicU64,
    unknown: AtomicU64,
}

/// How a unit of work ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Committed,
    RolledBack,
    Unknown,
}

impl Tally {
    /// Somebody waited so long for a connection.
    pub(crate) fn waited(&self, time: Duration, got_one: bool) {
        self.waits.observe(time);
        if !got_one {
            self.without_connection.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A statement took so long.
    pub(crate) fn statement(&self, took: Duration, has_failed: bool) {
        self.statements.observe(took);
        if has_failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A unit ended.
    pub(crate) fn unit(&self, end: End) {
        let counter = match end {
            End::Committed => &self.committed,
            End::RolledBack => &self.rolled_back,
            End::Unknown => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Database {
    /// What they say now.
    pub fn read(&self, into: &mut Readings) {
        let (name, tally) = (self.name(), self.tally());
        let pool = self.pool();
        let busy = pool.size.saturating_sub(pool.available);
        into.number(&CONNECTIONS, &[name, "busy"], busy);
        into.number(&CONNECTIONS, &[name, "idle"], pool.available);
        into.number(&CONNECTIONS_LIMIT, &[name], pool.max_size);
        into.number(&CONNECTION_WAITERS, &[name], pool.waiting);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        into.durations(&CONNECTION_WAIT, &[name], tally.waits.read());
        into.count(
            &CONNECTION_FAILURES,
            &[name],
            count(&tally.without_connection),
        );
        into.durations(&STATEMENT_DURATION, &[name], tally.statements.read());
        into.count(&STATEMENT_FAILURES, &[name], count(&tally.failures));
        for (outcome, counter) in [
            ("committed", &tally.committed),
            ("rolled_back", &tally.rolled_back),
            ("unknown", &tally.unknown),
        ] {
            into.count(&UNITS, &[name, outcome], count(counter));
        }
    }
}
