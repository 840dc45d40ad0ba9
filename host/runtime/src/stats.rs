//! What became of the calls of a version: counted without locks.
//!
//! Latencies are kept in buckets of which each is an eighth wider than the one before, so a percentile is right to 13 %.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::outcome::{Blame, Outcome};

/// The counters of a version.
pub(crate) struct Stats {
    calls: AtomicU64,
    errors: AtomicU64,
    excused: AtomicU64,
    in_flight: AtomicU64,
    buckets: Box<[AtomicU64]>,
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

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
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
        self.failed(outcome);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call did not begin after all.
    pub(crate) fn refuse(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call that has been counted, or will be, turns out to have failed.
    pub(crate) fn failed(&self, outcome: Outcome) {
        let counter = match outcome.blame {
            None => return,
            Some(Blame::Version) => &self.errors,
            Some(Blame::Client | Blame::Host | Blame::Dependency) => &self.excused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            excused: self.excused.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            buckets: self
                .buckets
                .iter()
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .collect(),
        }
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
}
