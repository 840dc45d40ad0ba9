//! What became of the calls of a version: counted without locks.
//!
//! One set of counters that statistics, the guard of releases and metrics read. Latencies are kept in buckets of which each is
//! an eighth wider than the one before, so a percentile is right to 13 %.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use marquee_telemetry::{Durations, Histogram};

use crate::outcome::{BLAMES, Blame, KINDS, Outcome};

/// The counters of a version.
pub(crate) struct Stats {
    calls: AtomicU64,
    /// By what happened and whose doing it was.
    failures: [[AtomicU64; BLAMES]; KINDS],
    /// Calls that did not begin.
    refused: AtomicU64,
    in_flight: AtomicU64,
    buckets: Box<[AtomicU64]>,
    took_ns: AtomicU64,
    /// How long calls waited for their turn, those that had to.
    waits: Histogram,
}

/// The counters at one moment, or the difference of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Calls that ended.
    pub calls: u64,
    /// How many of them failed by the version's own doing: see [`Blame::Version`](crate::Blame::Version).
    pub errors: u64,
    /// How many of them failed by the doing of others: clients, the host, what the component relies on.
    pub excused: u64,
    /// Calls under way now, and those that wait for their turn.
    pub in_flight: u64,
    buckets: Vec<u64>,
}

/// The counters of a version, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Calls that ended.
    pub(crate) calls: u64,
    /// Those of them that failed, by what happened and whose doing it was.
    pub(crate) failures: [[u64; BLAMES]; KINDS],
    /// Calls that did not begin.
    pub(crate) refused: u64,
    /// Calls under way now, and those that wait for their turn.
    pub(crate) in_flight: u64,
    /// How long those that ended took.
    pub(crate) took: Durations,
    /// How long calls waited for their turn.
    pub(crate) waits: Durations,
}

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failures: Default::default(),
            refused: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            took_ns: AtomicU64::new(0),
            waits: Histogram::default(),
        }
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended, after so long.
    pub(crate) fn end(&self, outcome: Outcome, took: Duration) {
        if let Some(bucket) = self.buckets.get(bucket(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.took_ns.fetch_add(took_ns, Ordering::Relaxed);
        self.failed(outcome);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call did not begin after all.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call waited so long for its turn, whether it got it or not.
    pub(crate) fn waited(&self, time: Duration) {
        self.waits.observe(time);
    }

    /// A call that has been counted, or will be, turns out to have failed.
    pub(crate) fn failed(&self, outcome: Outcome) {
        let Some(blame) = outcome.blame else { return };
        let kinds = self.failures.get(outcome.kind as usize);
        if let Some(counter) = kinds.and_then(|blames| blames.get(blame as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many failed by these doings.
    fn failures(&self, blamed: impl Fn(usize) -> bool) -> u64 {
        let blames = self
            .failures
            .iter()
            .flat_map(|kind| kind.iter().enumerate());
        let blames = blames.filter(|(blame, _)| blamed(*blame));
        blames.map(|(_, count)| count.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.failures(|blame| blame == Blame::Version as usize),
            excused: self.failures(|blame| blame != Blame::Version as usize),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            buckets: self
                .buckets
                .iter()
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .collect(),
        }
    }

    /// All that is counted, for metrics.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally {
            calls: self.calls.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waits: self.waits.read(),
            ..Tally::default()
        };
        let counted = tally.failures.iter_mut().zip(&self.failures);
        for (counts, kinds) in counted {
            for (count, failures) in counts.iter_mut().zip(kinds) {
                *count = failures.load(Ordering::Relaxed);
            }
        }
        for (doublings, eighths) in (0_u32..).zip(self.buckets.chunks(8)) {
            let calls = eighths.iter();
            let calls = calls.map(|bucket| bucket.load(Ordering::Relaxed)).sum();
            tally.took.add(doublings, calls);
        }
        tally.took.and_took(self.took_ns.load(Ordering::Relaxed));
        tally
    }
}

impl Figures {
    /// Those of calls that took so long, of which so many failed.
    pub fn of(latencies: impl IntoIterator<Item = Duration>, errors: u64) -> Self {
        let stats = Stats::new();
        for latency in latencies {
            stats.begin();
            stats.end(Outcome::DONE, latency);
        }
        Self {
            errors,
            ..stats.figures()
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            errors: self.errors.saturating_sub(earlier.errors),
            excused: self.excused.saturating_sub(earlier.excused),
            in_flight: self.in_flight,
            buckets: self
                .buckets
                .iter()
                .zip(&earlier.buckets)
                .map(|(now, before)| now.saturating_sub(*before))
                .collect(),
        }
    }

    /// The time within which `percent` of the calls ended: the upper end of its bucket. None without calls.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let all: u64 = self.buckets.iter().sum();
        let wanted = (all * percent.min(100)).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(upper(index));
            }
        }
        None
    }
}

/// Eight buckets each time that the time doubles, from a microsecond.
fn bucket(time: Duration) -> usize {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let doublings = us.ilog2();
    let eighth = match doublings.checked_sub(3) {
        Some(shift) => (us >> shift) & 7,
        None => (us << (3 - doublings)) & 7,
    };
    let index = u64::from(doublings) * 8 + eighth;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

fn upper(bucket: usize) -> Duration {
    let (doublings, eighth) = (bucket / 8, bucket % 8);
    let eighths = u64::try_from(eighth + 9).unwrap_or(9);
    Duration::from_nanos((eighths << doublings).saturating_mul(125))
}

/// Up to 2^27 us, more than two minutes: no call lasts longer.
const BUCKETS: usize = 27 * 8;

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.refused += other.refused;
        self.in_flight += other.in_flight;
        for (kinds, others) in self.failures.iter_mut().zip(&other.failures) {
            for (count, more) in kinds.iter_mut().zip(others) {
                *count += more;
            }
        }
        self.took.merge(&other.took);
        self.waits.merge(&other.waits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Kind;

    #[test]
    fn a_percentile_is_right_to_an_eighth_and_never_too_low() {
        for us in [
            1, 2, 7, 8, 9, 100, 999, 1_000, 12_345, 1_000_000, 60_000_000,
        ] {
            let stats = Stats::new();
            let time = Duration::from_micros(us);
            stats.begin();
            stats.end(Outcome::DONE, time);
            let told = stats.figures().percentile(99).expect("a call");
            assert!(
                told >= time && told <= time.mul_f64(1.13).max(time + Duration::from_micros(1)),
                "{us} us: {told:?}"
            );
        }
    }

    #[test]
    fn of_a_hundred_calls_the_slowest_is_beyond_p99_and_a_difference_forgets_what_was_before() {
        let stats = Stats::new();
        let end = |took| {
            stats.begin();
            stats.end(Outcome::DONE, took);
        };
        end(Duration::from_secs(1));
        for _ in 0..99 {
            end(Duration::from_millis(1));
        }
        let before = stats.figures();
        assert!(before.percentile(99).expect("calls") < Duration::from_millis(2));
        assert!(before.percentile(100).expect("calls") > Duration::from_millis(900));
        stats.begin();
        let failed = Outcome::new(Kind::Failed, Blame::Version);
        stats.end(failed, Duration::from_millis(50));
        let since = stats.figures().since(&before);
        assert_eq!((since.calls, since.errors, since.excused), (1, 1, 0));
        assert!(since.percentile(50).expect("one") >= Duration::from_millis(50));
    }

    #[test]
    fn a_failure_is_an_error_or_excused_by_whose_doing_it_was_and_a_refusal_is_neither() {
        let stats = Stats::new();
        for blame in [
            Blame::Client,
            Blame::Host,
            Blame::Dependency,
            Blame::Version,
        ] {
            stats.begin();
            stats.end(Outcome::new(Kind::Late, blame), Duration::from_millis(3));
        }
        stats.begin();
        stats.refuse();
        let figures = stats.figures();
        let counted = (figures.calls, figures.errors, figures.excused);
        assert_eq!((counted, figures.in_flight), ((4, 1, 3), 0));
        let tally = stats.tally();
        assert_eq!((tally.calls, tally.refused, tally.took.count()), (4, 1, 4));
        assert_eq!(tally.failures[Kind::Late as usize], [1; BLAMES]);
    }
}
