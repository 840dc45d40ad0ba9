//! Durations, counted by fixed bounds, without a lock.
//!
//! The bounds double from 32 us to 33.6 s: the same for all, so that what is measured can be added up over hosts, and a
//! quantile is right to a factor of two at the worst. Cost: two additions in memory.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Counts durations.
#[derive(Debug)]
pub struct Histogram {
    /// Of each bound those that are no longer, and longer than the one before; at last those beyond all.
    counts: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

/// What a histogram has at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BOUNDS + 1],
    sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: array::from_fn(|_| AtomicU64::new(0)),
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let ns = nanoseconds(took);
        if let Some(count) = self.counts.get(place(ns.div_ceil(1_000))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What it has now.
    pub fn read(&self) -> Durations {
        Durations {
            counts: array::from_fn(|place| {
                let count = self.counts.get(place);
                count.map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }
}

impl Durations {
    /// `count` more that took from 2^`doublings` us to twice that; how long in all is told by [`Self::and_took`].
    pub fn add(&mut self, doublings: u32, count: u64) {
        let us = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        if let Some(counted) = self.counts.get_mut(place(us.saturating_add(1))) {
            *counted += count;
        }
    }

    /// They took so many nanoseconds in all.
    pub fn and_took(&mut self, ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Those of both.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them one after the other, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        Duration::from_nanos(self.sum_ns).as_secs_f64()
    }

    /// Of each bound, in seconds, those that are no longer and longer than the one before. The last has none.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let counts = self.counts.iter().enumerate();
        counts
            .map(|(place, count)| (bound(place), *count))
            .collect()
    }
}

/// The bounds, in seconds.
pub(crate) fn bounds() -> impl Iterator<Item = f64> {
    (0..BOUNDS).map(bound)
}

/// Where what took so many microseconds, rounded up, is counted.
fn place(us: u64) -> usize {
    let doublings = us.saturating_sub(1).max(1).ilog2();
    let above = usize::try_from(doublings + 1).map_or(BOUNDS, |place| place.saturating_sub(FIRST));
    above.min(BOUNDS)
}

fn bound(place: usize) -> f64 {
    match place < BOUNDS {
        true => Duration::from_micros(1 << (FIRST + place)).as_secs_f64(),
        false => f64::INFINITY,
    }
}

fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The first is 2^5 us: less is as good as nothing.
const FIRST: usize = 5;
/// The last is 2^25 us, longer than any call may take by default.
const BOUNDS: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound that it is counted under, in microseconds.
    fn counted(took: Duration) -> Option<u64> {
        let histogram = Histogram::default();
        histogram.observe(took);
        let buckets = histogram.read().buckets();
        let (bound, _) = *buckets
            .iter()
            .find(|(_, count)| *count == 1)
            .expect("it counts");
        bound
            .is_finite()
            .then(|| Duration::from_secs_f64(bound).as_micros() as u64)
    }

    #[test]
    fn a_duration_is_counted_under_the_first_bound_that_it_does_not_pass() {
        for (ns, bound_us) in [
            (0, Some(32)),
            (1, Some(32)),
            (32_000, Some(32)),
            (32_001, Some(64)),
            (64_000, Some(64)),
            (64_001, Some(128)),
            (1_000_000, Some(1_024)),
            (33_554_432_000, Some(33_554_432)),
            (33_554_432_001, None),
            (u64::MAX, None),
        ] {
            assert_eq!(counted(Duration::from_nanos(ns)), bound_us, "{ns} ns");
        }
    }

    #[test]
    fn what_was_counted_by_doublings_is_counted_under_the_same_bounds() {
        for doublings in 0..30 {
            let mut durations = Durations::default();
            durations.add(doublings, 1);
            let histogram = Histogram::default();
            // In the middle between the two ends.
            histogram.observe(Duration::from_nanos(1_500 << doublings));
            assert_eq!(durations.counts, histogram.read().counts, "{doublings}");
        }
    }

    #[test]
    fn two_are_added_up() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_millis(1));
        other.observe(Duration::from_millis(3));
        let mut both = one.read();
        both.merge(&other.read());
        assert_eq!((both.count(), both.sum()), (2, 0.004));
    }
}
