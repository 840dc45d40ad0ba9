//! The runtime's metrics: calls, instances and what they hold.

use marquee_telemetry::{Metric, Readings, Unit, label};

use crate::{
    Runtime,
    memory::Standing,
    outcome::{Blame, Kind},
};

/// All of them.
pub static METRICS: &[&Metric] = &[
    &CALLS,
    &CALL_FAILURES,
    &CALL_DURATION,
    &CALLS_UNDER_WAY,
    &QUEUE_WAIT,
    &CALLS_WAITING,
    &INSTANCES,
    &MEMORY,
    &PLACES,
    &PLACES_LIMIT,
    &ROOM,
    &ROOM_LIMIT,
    &EVICTED,
    &LINES_LEFT_OUT,
];

static CALLS: Metric = Metric::counter(
    "marquee_component_calls",
    Unit::Of("calls"),
    &[&label::COMPONENT, &label::VERSION],
    "Calls of a component's version that ended, and those that were refused. Copies for a shadow are none.",
);
static CALL_FAILURES: Metric = Metric::counter(
    "marquee_component_call_failures",
    Unit::Of("calls"),
    &[
        &label::COMPONENT,
        &label::VERSION,
        &label::OUTCOME,
        &label::BLAME,
    ],
    "Those that did not end well. `outcome`: `failed` (it said so itself: a status of 500 and above, a batch or job that failed), \
     `trapped`, `late` (past its deadline), `cancelled`, `refused` (no turn or no room in time; it never began), `undone` (its unit of \
     work does not stand, or may not).",
);
static CALL_DURATION: Metric = Metric::durations(
    "marquee_component_call_duration",
    &[&label::COMPONENT, &label::VERSION],
    "How long calls that ended took from their turn on, without the time in which they waited for a client.",
);
static CALLS_UNDER_WAY: Metric = Metric::gauge(
    "marquee_component_calls_under_way",
    Unit::Of("calls"),
    &[&label::COMPONENT, &label::VERSION],
    "Calls that have not ended, those that wait for their turn included.",
);
static QUEUE_WAIT: Metric = Metric::durations(
    "marquee_component_queue_wait",
    &[&label::COMPONENT, &label::VERSION],
    "How long calls waited for their turn, of those that had to (`concurrent_calls` were under way), whether they got it or not.",
);
static CALLS_WAITING: Metric = Metric::gauge(
    "marquee_component_calls_waiting",
    Unit::Of("calls"),
    &[&label::COMPONENT, &label::VERSION],
    "Calls that wait for their turn now.",
);
static INSTANCES: Metric = Metric::gauge(
    "marquee_component_instances",
    Unit::Of("instances"),
    &[&label::COMPONENT, &label::VERSION, &label::STATE],
    "Instances of a version: `busy` in a call, or `idle`.",
);
static MEMORY: Metric = Metric::gauge(
    "marquee_component_memory",
    Unit::Bytes,
    &[&label::COMPONENT, &label::VERSION],
    "Linear memory of the instances of a version.",
);
static PLACES: Metric = Metric::gauge(
    "marquee_instances",
    Unit::Of("instances"),
    &[],
    "Instances of all components, dry runs' too.",
);
static PLACES_LIMIT: Metric = Metric::gauge(
    "marquee_instances_limit",
    Unit::Of("instances"),
    &[],
    "As many may be there.",
);
static ROOM: Metric = Metric::gauge(
    "marquee_instance_memory",
    Unit::Bytes,
    &[],
    "Linear memory of all instances.",
);
static ROOM_LIMIT: Metric = Metric::gauge(
    "marquee_instance_memory_limit",
    Unit::Bytes,
    &[],
    "As much may be in use: half of the machine's or the container's.",
);
static EVICTED: Metric = Metric::counter(
    "marquee_instances_evicted",
    Unit::Of("instances"),
    &[],
    "Idle instances that were let go since others needed their place or memory.",
);
static LINES_LEFT_OUT: Metric = Metric::counter(
    "marquee_component_log_lines_left_out",
    Unit::Of("lines"),
    &[&label::COMPONENT],
    "Lines of a component that were not logged, since it had more a second than `log_lines`.",
);

impl Runtime {
    /// What they say now.
    pub fn read(&self, into: &mut Readings) {
        for (id, digest, tally) in self.0.floor.tallies.all() {
            let (component, version) = (id.as_str(), digest.to_string());
            let labels = [component, version.as_str()];
            into.count(&CALLS, &labels, tally.calls + tally.refused);
            for (kind, counts) in Kind::ALL.into_iter().zip(&tally.failures) {
                for (blame, count) in Blame::ALL.into_iter().zip(counts) {
                    let count = match (kind, blame) {
                        (Kind::Refused, Blame::Host) => count + tally.refused,
                        _ => *count,
                    };
                    // What is looked at most is there before it grows: growth from nothing is not seen.
                    if count > 0 || is_usual(kind, blame) {
                        let labels = [component, version.as_str(), kind.word(), blame.word()];
                        into.count(&CALL_FAILURES, &labels, count);
                    }
                }
            }
            into.gauge(&CALLS_UNDER_WAY, &labels, tally.in_flight as f64);
            into.durations(&CALL_DURATION, &labels, tally.took);
            into.durations(&QUEUE_WAIT, &labels, tally.waits);
        }
        for Standing {
            component,
            version,
            busy,
            idle,
            memory_bytes,
            waiting,
        } in self.standing()
        {
            let (component, version) = (component.as_str(), version.to_string());
            let labels = [component, version.as_str()];
            into.number(&CALLS_WAITING, &labels, waiting);
            into.number(&INSTANCES, &[component, &version, "busy"], busy);
            into.number(&INSTANCES, &[component, &version, "idle"], idle);
            into.gauge(&MEMORY, &labels, memory_bytes as f64);
        }
        let usage = self.0.floor.workshop.budget.usage();
        into.number(&PLACES, &[], usage.instances);
        into.number(&PLACES_LIMIT, &[], usage.most_instances);
        into.gauge(&ROOM, &[], usage.bytes as f64);
        into.gauge(&ROOM_LIMIT, &[], usage.most_bytes as f64);
        into.count(&EVICTED, &[], usage.evicted);
        for (component, lines) in self.0.left_out() {
            into.count(&LINES_LEFT_OUT, &[component.as_str()], lines);
        }
    }

    /// How each version's instances are, also where it is loaded twice.
    fn standing(&self) -> Vec<Standing> {
        let mut all: Vec<Standing> = Vec::new();
        let pools = self.0.floor.workshop.budget.pools();
        for standing in pools.iter().filter_map(|pool| pool.standing()) {
            let known = all.iter_mut().find(|known| {
                known.component == standing.component && known.version == standing.version
            });
            match known {
                Some(known) => {
                    known.busy += standing.busy;
                    known.idle += standing.idle;
                    known.memory_bytes += standing.memory_bytes;
                    known.waiting += standing.waiting;
                }
                None => all.push(standing),
            }
        }
        all
    }
}

/// Whether a failure is one that dashboards ask for.
fn is_usual(kind: Kind, blame: Blame) -> bool {
    match blame {
        Blame::Version => matches!(kind, Kind::Failed | Kind::Trapped | Kind::Late),
        Blame::Host => kind == Kind::Refused,
        Blame::Client | Blame::Dependency => false,
    }
}
