//! The triggers' metrics: requests, connections, deliveries and runs of schedules.
//!
//! Whoever counts holds its own counters, made when the host is put together: a request looks nothing up and allocates
//! nothing for them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http::{Method, StatusCode};
use marquee_delivery::{apply::Stretch, partition::Delivered};
use marquee_telemetry::{Histogram, Metric, Readings, Unit, label};

use crate::{
    Deliverer,
    problem::{REASONS, Reason},
    schedule,
    server::{Connections, Listener},
};

/// All of them.
pub static METRICS: &[&Metric] = &[
    &REQUESTS,
    &REQUEST_DURATION,
    &REQUESTS_UNDER_WAY,
    &REQUESTS_ABANDONED,
    &PROBLEMS,
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
    "Requests that are not answered yet.",
);
static REQUESTS_ABANDONED: Metric = Metric::counter(
    "marquee_http_requests_abandoned",
    Unit::Of("requests"),
    &[&label::ROUTE],
    "Requests whose client went away before the head of the answer; they are not among those that were answered.",
);
static PROBLEMS: Metric = Metric::counter(
    "marquee_http_problems",
    Unit::Of("requests"),
    &[&label::REASON],
    "Requests that the host answered itself. Refused: `route` (there is none), `host`, `uri`, `method`, `protocol`, `body_size`, \
     `rate` (asked too often), `client_share` (too many of one client at once), `busy` (no place, no turn, or no room); given up: \
     `body_rate` (it came too slowly), `stopped`, `deadline`, `failed` (the component trapped, or the like).",
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

/// What is counted of requests: of each route, and over all.
#[derive(Debug, Default)]
pub struct HttpTally {
    routes: BTreeMap<String, Arc<RouteTally>>,
    none: Arc<RouteTally>,
    problems: [AtomicU64; REASONS],
}

/// Of one route.
#[derive(Debug)]
pub(crate) struct RouteTally {
    /// Of each method by status from 100 on; then all others.
    answered: Box<[[AtomicU64; STATUSES + 1]]>,
    took: Histogram,
    under_way: AtomicU64,
    abandoned: AtomicU64,
}

/// A request that is counted. Dropped before it was answered, it was abandoned.
pub(crate) struct Counted<'a> {
    tally: &'a RouteTally,
    /// Its place among the methods.
    method: usize,
    begun: Instant,
    is_answered: bool,
}

impl HttpTally {
    /// Of these routes, as they stand in the manifest.
    pub fn new(routes: impl IntoIterator<Item = String>) -> Self {
        let routes = routes.into_iter();
        Self {
            routes: routes.map(|route| (route, Arc::default())).collect(),
            ..Self::default()
        }
    }

    /// That of a route.
    pub(crate) fn route(&self, route: &str) -> &Arc<RouteTally> {
        self.routes.get(route).unwrap_or(&self.none)
    }

    /// Of requests that no route fits.
    pub(crate) fn none(&self) -> &RouteTally {
        &self.none
    }

    /// The host answers a request itself.
    pub(crate) fn problem(&self, reason: Reason) {
        if let Some(count) = self.problems.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What they say now.
    pub fn read(&self, into: &mut Readings) {
        for (route, tally) in &self.routes {
            tally.read(route, into);
        }
        self.none.read("none", into);
        for (reason, count) in Reason::ALL.into_iter().zip(&self.problems) {
            into.count(&PROBLEMS, &[reason.word()], count.load(Ordering::Relaxed));
        }
    }
}

impl Default for RouteTally {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            answered: METHODS.iter().map(|_| none()).collect(),
            took: Histogram::default(),
            under_way: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }
}

impl RouteTally {
    /// A request has come.
    pub(crate) fn begin(&self, method: &Method, at: Instant) -> Counted<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let known = METHODS.iter().position(|known| method == known);
        Counted {
            tally: self,
            method: known.unwrap_or(OTHER),
            begun: at,
            is_answered: false,
        }
    }

    fn read(&self, route: &str, into: &mut Readings) {
        for (method, statuses) in METHODS.iter().zip(&self.answered) {
            for (at, count) in statuses.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let status = match at {
                        STATUSES => "other".to_owned(),
                        at => (at + 100).to_string(),
                    };
                    into.count(&REQUESTS, &[route, method, &status], count);
                }
            }
        }
        into.durations(&REQUEST_DURATION, &[route], self.took.read());
        let under_way = self.under_way.load(Ordering::Relaxed);
        into.gauge(&REQUESTS_UNDER_WAY, &[route], under_way as f64);
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        into.count(&REQUESTS_ABANDONED, &[route], abandoned);
    }
}

impl Counted<'_> {
    /// The head of its answer is there.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.is_answered = true;
        let at = usize::from(status.as_u16()).saturating_sub(100);
        let statuses = self.tally.answered.get(self.method);
        if let Some(count) = statuses.and_then(|statuses| statuses.get(at.min(STATUSES))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.tally.took.observe(self.begun.elapsed());
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.tally.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered {
            self.tally.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

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

/// Of those that HTTP knows: 100 to 599.
const STATUSES: usize = 500;
/// The last stands for all others.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
const OTHER: usize = METHODS.len() - 1;
const DELIVERY_OUTCOMES: [&str; 5] = ["settled", "split", "conflict", "failed", "error"];
const MESSAGE_OUTCOMES: [&str; 4] = ["done", "duplicate", "parked", "dead"];

#[cfg(test)]
mod tests {
    use marquee_telemetry::Format;

    use super::*;

    #[test]
    fn a_request_is_counted_by_its_route_and_status_and_one_without_an_answer_is_abandoned() {
        let tally = HttpTally::new(["/v1/...".to_owned()]);
        let told = || {
            let mut readings = Readings::default();
            tally.read(&mut readings);
            readings.text(Format::Prometheus).expect("a text")
        };
        let route = tally.route("/v1/...");
        let status = |status| StatusCode::from_u16(status).expect("a status");
        let begin = |method| route.begin(&method, Instant::now());
        for answer in [200, 200, 503, 999] {
            begin(Method::GET).answered(status(answer));
        }
        let unheard_of = Method::from_bytes(b"BREW").expect("a method");
        begin(unheard_of).answered(status(200));
        let elsewhere = tally.none().begin(&Method::PUT, Instant::now());
        elsewhere.answered(status(404));
        tally.problem(Reason::Route);
        let under_way = begin(Method::GET);
        let said = told();
        for line in [
            "marquee_http_requests_total{route=\"/v1/...\",method=\"GET\",status=\"200\"} 2",
            "marquee_http_requests_total{route=\"/v1/...\",method=\"GET\",status=\"503\"} 1",
            "marquee_http_requests_total{route=\"/v1/...\",method=\"GET\",status=\"other\"} 1",
            "marquee_http_requests_total{route=\"/v1/...\",method=\"other\",status=\"200\"} 1",
            "marquee_http_requests_total{route=\"none\",method=\"PUT\",status=\"404\"} 1",
            "marquee_http_problems_total{reason=\"route\"} 1",
            "marquee_http_problems_total{reason=\"busy\"} 0",
            "marquee_http_requests_under_way{route=\"/v1/...\"} 1.0",
            "marquee_http_requests_abandoned_total{route=\"/v1/...\"} 0",
            "marquee_http_request_duration_seconds_count{route=\"/v1/...\"} 5",
        ] {
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
        drop(under_way);
        let said = told();
        for line in [
            "marquee_http_requests_under_way{route=\"/v1/...\"} 0.0",
            "marquee_http_requests_abandoned_total{route=\"/v1/...\"} 1",
        ] {
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
    }
}
