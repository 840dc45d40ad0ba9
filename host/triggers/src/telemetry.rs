//! The triggers' metrics: requests, connections, deliveries and runs of schedules.
//!
//! Whoever counts holds its own counters, made when the host is put together: a request looks nothing up and allocates
//! nothing for them.

mod requests;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use marquee_delivery::{apply::Stretch, partition::Delivered};
use marquee_telemetry::{Histogram, Metric, Readings, Unit, label};

pub use self::requests::HttpTally;
pub(crate) use self::requests::{RouteTally, name};
use crate::{
    Deliverer, schedule,
    server::{Connections, Listener},
};

/// All of them.
pub static METRICS: &[&Metric] = &[
    &REQUESTS,
    &REQUEST_DURATION,
    &REQUESTS_UNDER_WAY,
    &REQUESTS_ABANDONED,
    &PROBLEMS,
    &ACCESS_LINES,
    &CONNECTIONS,
    &CONNECTIONS_OPENED,
    &CONNECTIONS_REFUSED,
    &DELIVERIES,
    &DELIVERY_DURATION,
    &DELIVERY_WAIT,
    &DELIVERED,
    &RUNS,
    &RUN_DURATION,
    &RUN_LATENESS,
];

static REQUESTS: Metric = Metric::counter(
    "marquee_http_requests",
    Unit::Of("requests"),
    &[&label::ROUTE, &label::METHOD, &label::STATUS],
    "Requests that were answered. One of gRPC that failed has status 200, too: see the calls of its component.",
);
static REQUEST_DURATION: Metric = Metric::durations(
    "marquee_http_request_duration",
    &[&label::ROUTE],
    "From the head of a request to the head of its answer.",
);
static REQUESTS_UNDER_WAY: Metric = Metric::gauge(
    "marquee_http_requests_under_way",
    Unit::Of("requests"),
    &[&label::ROUTE],
    "Requests that are not answered yet, by the manifest's route: the component has not named one.",
);
static REQUESTS_ABANDONED: Metric = Metric::counter(
    "marquee_http_requests_abandoned",
    Unit::Of("requests"),
    &[&label::ROUTE],
    "Requests whose client went away before the head of the answer, by the manifest's route; they are not among those that were \
     answered.",
);
static PROBLEMS: Metric = Metric::counter(
    "marquee_http_problems",
    Unit::Of("requests"),
    &[&label::REASON],
    "Requests that the host answered itself. Refused: `route` (there is none), `host`, `uri`, `method`, `protocol`, `body_size`, \
     `rate` (asked too often), `client_share` (too many of one client at once), `busy` (no place, no turn, or no room); given up: \
     `body_rate` (it came too slowly), `stopped`, `deadline`, `failed` (the component trapped, or the like).",
);
pub(crate) static ACCESS_LINES: Metric = Metric::counter(
    "marquee_access_log_lines",
    Unit::Of("lines"),
    &[&label::OUTCOME],
    "Lines of the access log, where there is one: `written`, `left_out` (it is sampled) or `dropped` (whoever reads it is too slow).",
);
static CONNECTIONS: Metric = Metric::gauge(
    "marquee_connections",
    Unit::Of("connections"),
    &[&label::LISTENER],
    "Connections that are served.",
);
static CONNECTIONS_OPENED: Metric = Metric::counter(
    "marquee_connections_opened",
    Unit::Of("connections"),
    &[&label::LISTENER],
    "Connections that were accepted and are, or were, served.",
);
static CONNECTIONS_REFUSED: Metric = Metric::counter(
    "marquee_connections_refused",
    Unit::Of("connections"),
    &[&label::LISTENER],
    "Connections that were closed at once, since their client has as many as it may.",
);
static DELIVERIES: Metric = Metric::counter(
    "marquee_deliveries",
    Unit::Of("deliveries"),
    &[
        &label::CONSUMER,
        &label::TOPIC,
        &label::SOURCE,
        &label::OUTCOME,
    ],
    "Attempts to have messages handled in one unit of work: `settled` (committed), `split` (some first), `conflict` (another transaction \
     was in the way), `failed` (the component did, as a whole) or `error` (the database or the bus was away).",
);
static DELIVERY_DURATION: Metric = Metric::durations(
    "marquee_delivery_duration",
    &[&label::CONSUMER, &label::TOPIC, &label::SOURCE],
    "How long an attempt took, from its first statement to the answer to its commit.",
);
static DELIVERY_WAIT: Metric = Metric::durations(
    "marquee_delivery_wait",
    &[&label::CONSUMER, &label::TOPIC],
    "How long deliveries waited for a place among the connections of their database.",
);
static DELIVERED: Metric = Metric::counter(
    "marquee_delivered_messages",
    Unit::Of("messages"),
    &[
        &label::CONSUMER,
        &label::TOPIC,
        &label::SOURCE,
        &label::OUTCOME,
    ],
    "Messages of deliveries that were settled: `done`, `duplicate`, `parked` or `dead`.",
);
static RUNS: Metric = Metric::counter(
    "marquee_schedule_runs",
    Unit::Of("runs"),
    &[&label::COMPONENT, &label::SCHEDULE, &label::OUTCOME],
    "Runs of a schedule on this host: `done`, or `failed` (rolled back; tried again).",
);
static RUN_DURATION: Metric = Metric::durations(
    "marquee_schedule_run_duration",
    &[&label::COMPONENT, &label::SCHEDULE],
    "How long a run took.",
);
static RUN_LATENESS: Metric = Metric::durations(
    "marquee_schedule_lateness",
    &[&label::COMPONENT, &label::SCHEDULE],
    "How long after its due time a run began, by this host's clock; that of a run that failed before counts from the same time.",
);

impl Listener {
    /// What its connections say now, under its name.
    pub fn read(&self, name: &str, into: &mut Readings) {
        let Connections {
            open,
            accepted,
            refused,
        } = self.connections();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        into.gauge(&CONNECTIONS, &[name], count(open) as f64);
        into.count(&CONNECTIONS_OPENED, &[name], count(accepted));
        into.count(&CONNECTIONS_REFUSED, &[name], count(refused));
    }
}

/// What is counted of deliveries.
#[derive(Debug, Default)]
pub struct DeliveryTally {
    bus: SourceTally,
    parked: SourceTally,
    pub(crate) waits: Histogram,
}

/// Of those from one source.
#[derive(Debug, Default)]
pub(crate) struct SourceTally {
    outcomes: [AtomicU64; DELIVERY_OUTCOMES.len()],
    messages: [AtomicU64; MESSAGE_OUTCOMES.len()],
    took: Histogram,
}

impl DeliveryTally {
    /// Where this stretch is counted.
    pub(crate) fn of(&self, stretch: &Stretch<'_>) -> &SourceTally {
        match stretch {
            Stretch::Fresh { .. } => &self.bus,
            Stretch::Parked { .. } => &self.parked,
        }
    }
}

impl SourceTally {
    /// An attempt came to this, after so long.
    pub(crate) fn ended(&self, delivered: &Delivered, took: Duration) {
        self.took.observe(took);
        // As in `DELIVERY_OUTCOMES`.
        let outcome = match delivered {
            Delivered::Settled(_) => 0,
            Delivered::Split(_) => 1,
            Delivered::Conflict => 2,
            Delivered::Failed { .. } => 3,
            Delivered::Error(_) => 4,
        };
        add(self.outcomes.get(outcome), 1);
        if let Delivered::Settled(summary) = delivered {
            // As in `MESSAGE_OUTCOMES`.
            let messages = [
                summary.done,
                summary.duplicates,
                summary.parked,
                summary.dead,
            ];
            for (counter, messages) in self.messages.iter().zip(messages) {
                add(Some(counter), messages);
            }
        }
    }
}

impl Deliverer {
    /// What its deliveries of a topic say now.
    pub fn read(&self, topic: &str, into: &mut Readings) {
        let consumer = self.consumer.name.as_str();
        for (source, tally) in [("bus", &self.tally.bus), ("parked", &self.tally.parked)] {
            for (outcome, count) in DELIVERY_OUTCOMES.into_iter().zip(&tally.outcomes) {
                let count = count.load(Ordering::Relaxed);
                into.count(&DELIVERIES, &[consumer, topic, source, outcome], count);
            }
            for (outcome, count) in MESSAGE_OUTCOMES.into_iter().zip(&tally.messages) {
                let count = count.load(Ordering::Relaxed);
                into.count(&DELIVERED, &[consumer, topic, source, outcome], count);
            }
            let labels = [consumer, topic, source];
            into.durations(&DELIVERY_DURATION, &labels, tally.took.read());
        }
        let waits = self.tally.waits.read();
        into.durations(&DELIVERY_WAIT, &[consumer, topic], waits);
    }
}

/// What is counted of a schedule.
#[derive(Debug, Default)]
pub(crate) struct ScheduleTally {
    done: AtomicU64,
    failed: AtomicU64,
    took: Histogram,
    lateness: Histogram,
}

impl ScheduleTally {
    /// A run begins that was due then, in milliseconds since 1970.
    pub(crate) fn begins(&self, due_at_ms: i64) {
        let due = Duration::from_millis(u64::try_from(due_at_ms).unwrap_or(0));
        let due = SystemTime::UNIX_EPOCH + due;
        // Before it was due by this clock: in time.
        self.lateness.observe(due.elapsed().unwrap_or_default());
    }

    /// It ended after so long.
    pub(crate) fn ended(&self, took: Duration, is_done: bool) {
        self.took.observe(took);
        let counter = if is_done { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl schedule::Trigger {
    /// What its runs say now.
    pub fn read(&self, into: &mut Readings) {
        let (labels, tally) = ([self.component(), self.name()], self.tally());
        for (outcome, count) in [("done", &tally.done), ("failed", &tally.failed)] {
            let labels = [self.component(), self.name(), outcome];
            into.count(&RUNS, &labels, count.load(Ordering::Relaxed));
        }
        into.durations(&RUN_DURATION, &labels, tally.took.read());
        into.durations(&RUN_LATENESS, &labels, tally.lateness.read());
    }
}

fn add(counter: Option<&AtomicU64>, more: usize) {
    if let Some(counter) = counter {
        counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

const DELIVERY_OUTCOMES: [&str; 5] = ["settled", "split", "conflict", "failed", "error"];
const MESSAGE_OUTCOMES: [&str; 4] = ["done", "duplicate", "parked", "dead"];
