//! The releases' metrics: what is live, and what steps cost and came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use marquee_manifest::ComponentId;
use marquee_registry::Weight;
use marquee_telemetry::{Histogram, Metric, Readings, Unit, label};

use crate::{Error, Releases, lock};

/// All of them.
pub static METRICS: &[&Metric] = &[
    &SHARE,
    &STEPS,
    &PHASE_DURATION,
    &COMPILE_FAILURES,
    &GUARD_ROLLBACKS,
    &CALLS_ENDED,
    &BEHIND,
    &MISSING,
];

static SHARE: Metric = Metric::gauge(
    "marquee_version_share",
    Unit::Ratio,
    &[&label::COMPONENT, &label::VERSION, &label::ROLE],
    "The versions of a component that this host has live, with their shares of the calls; a `shadow` gets copies of so many, and one \
     that is `draining` gets nothing new.",
);
static STEPS: Metric = Metric::counter(
    "marquee_release_steps",
    Unit::Of("steps"),
    &[&label::ACTION, &label::OUTCOME],
    "Steps that were begun on this host: `done`, `refused` (by the rules) or `failed`.",
);
static PHASE_DURATION: Metric = Metric::durations(
    "marquee_release_phase_duration",
    &[&label::PHASE],
    "How long the parts of steps took. `commit` is under the lock of the states; `drain` goes on after the step, and is counted of each \
     version that leaves.",
);
static COMPILE_FAILURES: Metric = Metric::counter(
    "marquee_compile_failures",
    Unit::Of("versions"),
    &[],
    "Versions that could not be compiled.",
);
static GUARD_ROLLBACKS: Metric = Metric::counter(
    "marquee_guard_rollbacks",
    Unit::Of("rollbacks"),
    &[&label::COMPONENT],
    "Versions that this host's guard took back, since they did worse than the one beside or before them.",
);
static CALLS_ENDED: Metric = Metric::counter(
    "marquee_drain_calls_ended",
    Unit::Of("calls"),
    &[],
    "Calls that did not end while their version drained, and were ended and rolled back.",
);
static BEHIND: Metric = Metric::gauge(
    "marquee_release_behind",
    Unit::Of("0 or 1"),
    &[],
    "Whether a step that another host took is not live here, or it is not known.",
);
static MISSING: Metric = Metric::gauge(
    "marquee_components_missing",
    Unit::Of("components"),
    &[],
    "Components of the manifest of which nothing is live.",
);

/// What is counted of steps.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By action and outcome.
    steps: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    rollbacks: Mutex<BTreeMap<ComponentId, u64>>,
    pub(crate) prepare: Histogram,
    pub(crate) commit: Histogram,
}

/// What is counted of compiling.
#[derive(Debug, Default)]
pub(crate) struct Compiling {
    took: Histogram,
    failed: AtomicU64,
}

/// What is counted of versions on their way out.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) took: Histogram,
    calls_ended: AtomicU64,
}

impl Tally {
    /// A step ended.
    pub(crate) fn step<T>(&self, action: &'static str, result: &Result<T, Error>) {
        let outcome = match result {
            Ok(_) => "done",
            Err(Error::Refused(_)) => "refused",
            Err(_) => "failed",
        };
        let mut steps = lock(&self.steps);
        *steps.entry((action, outcome)).or_default() += 1;
    }

    /// The guard took a version back.
    pub(crate) fn rolled_back(&self, component: &ComponentId) {
        let mut rollbacks = lock(&self.rollbacks);
        *rollbacks.entry(component.clone()).or_default() += 1;
    }
}

impl Compiling {
    /// It took so long, and came to something.
    pub(crate) fn ended(&self, took: Duration, is_done: bool) {
        self.took.observe(took);
        if !is_done {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drained {
    /// A version is drained, and so many calls were ended for it.
    pub(crate) fn ended(&self, took: Duration, calls: u64) {
        self.took.observe(took);
        self.calls_ended.fetch_add(calls, Ordering::Relaxed);
    }
}

impl Releases {
    /// What they say now.
    pub fn read(&self, into: &mut Readings) {
        for id in self.0.components.keys() {
            self.read_shares(id, into);
            let rollbacks = lock(&self.0.tally.rollbacks).get(id).copied();
            into.count(&GUARD_ROLLBACKS, &[id.as_str()], rollbacks.unwrap_or(0));
        }
        for ((action, outcome), count) in lock(&self.0.tally.steps).iter() {
            into.count(&STEPS, &[*action, *outcome], *count);
        }
        let (compiling, drained) = (self.0.versions.compiling(), self.0.draining.drained());
        for (phase, took) in [
            ("compile", &compiling.took),
            ("prepare", &self.0.tally.prepare),
            ("commit", &self.0.tally.commit),
            ("drain", &drained.took),
        ] {
            into.durations(&PHASE_DURATION, &[phase], took.read());
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        into.count(&COMPILE_FAILURES, &[], count(&compiling.failed));
        into.count(&CALLS_ENDED, &[], count(&drained.calls_ended));
        into.number(&BEHIND, &[], usize::from(self.lags().is_some()));
        into.number(&MISSING, &[], self.missing().len());
    }

    fn read_shares(&self, id: &ComponentId, into: &mut Readings) {
        let component = id.as_str();
        let share = |weight: Weight| f64::from(weight.per_mille()) / 1_000.0;
        if let Some(live) = self.0.runtime.live(id) {
            let canary = live.canary.as_ref();
            let rest = canary.map_or(Weight::ALL, |canary| canary.weight().rest());
            let stable = live.stable.digest.to_string();
            into.gauge(&SHARE, &[component, &stable, "stable"], share(rest));
            if let Some(canary) = canary {
                let version = canary.version.digest.to_string();
                let weight = share(canary.weight());
                into.gauge(&SHARE, &[component, &version, "canary"], weight);
            }
            if let Some(shadow) = &live.shadow {
                let version = shadow.version.digest.to_string();
                into.gauge(
                    &SHARE,
                    &[component, &version, "shadow"],
                    share(shadow.weight),
                );
            }
        }
        // One that came back and leaves again is there twice.
        let draining = self.0.draining.of(id).into_iter();
        let draining: BTreeSet<_> = draining.map(|version| version.version()).collect();
        for digest in draining {
            into.gauge(&SHARE, &[component, &digest.to_string(), "draining"], 0.0);
        }
    }
}
