//! When a version does worse than another: pure rules over the figures of both in the same time.
//!
//! They are asked again and again, so what chance does now and then must not condemn: the old one's share of errors is
//! taken at the upper end of what its calls allow, and the new one has to have more than that by three deviations.
//! Latencies are judged in the same way, as calls slower than they may be.

use std::time::Duration;

use marquee_manifest::Guard;
use marquee_runtime::Figures;

/// Why the new one is to be rolled back, if it is.
pub(super) fn worse(guard: &Guard, new: &Figures, old: &Figures) -> Option<String> {
    let told = || {
        format!(
            "{} of its {} calls failed, of the old one's {} of {}",
            new.errors, new.calls, old.errors, old.calls
        )
    };
    let (mut had, mut failed) = (old.calls, old.errors);
    if had < FEW {
        if failed > 0 {
            // It fails too, and nobody knows how often.
            return None;
        }
        // It gets next to nothing: of a topic with one partition, say. Then it is taken for one that does not fail.
        had = had.max(new.calls);
        failed = 0;
    }
    // A consumer that rejects everything blocks each key with its first message: many calls may never come.
    if new.calls >= FEW && new.errors >= new.calls && failed * 2 < had {
        return Some(told());
    }
    if new.calls < guard.calls {
        return None;
    }
    let factor = f64::from(guard.factor);
    let share = (factor * at_most(failed, had) + ERRORS_MARGIN).min(1.0);
    if exceeds(new.errors, share * real(new.calls)) {
        return Some(told());
    }
    // A p99 of few calls is their slowest one.
    if new.calls < guard.calls * P99_CALLS || old.calls < guard.calls {
        return None;
    }
    let old_p99 = old.percentile(99)?;
    let slowest = old_p99 * guard.factor + P99_MARGIN;
    let new_p99 = new.percentile(99).filter(|p99| *p99 > slowest)?;
    exceeds(slower(new, slowest), 0.01 * real(new.calls)).then(|| {
        format!(
            "its p99 is {:.1} ms, the old one's {:.1} ms",
            new_p99.as_secs_f64() * 1e3,
            old_p99.as_secs_f64() * 1e3
        )
    })
}

/// The share that the old one fails of its calls, at the upper end of what `failed` of `calls` allow.
fn at_most(failed: u64, calls: u64) -> f64 {
    let failed = real(failed);
    (failed + 2.0 * (failed + 1.0).sqrt()) / real(calls.max(1))
}

/// Whether it is more than chance makes of so many that are expected.
fn exceeds(count: u64, expected: f64) -> bool {
    real(count) > expected + 3.0 * expected.sqrt()
}

/// How many calls took longer than this, at the least: in whole hundredths of all.
fn slower(figures: &Figures, than: Duration) -> u64 {
    let is_slow = |percent: &u64| figures.percentile(*percent).is_some_and(|p| p > than);
    let first = (1..=99).find(is_slow);
    first.map_or(0, |percent| figures.calls * (100 - percent) / 100)
}

fn real(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Calls of which each failed are enough, and no chance.
const FEW: u64 = 5;
/// A share of the calls: one error in a hundred is too little to matter.
const ERRORS_MARGIN: f64 = 0.01;
const P99_MARGIN: Duration = Duration::from_millis(5);
/// Times the calls of the guard.
const P99_CALLS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// So many calls of 2 ms, of which so many failed.
    fn failing(calls: usize, errors: u64) -> Figures {
        Figures::of(std::iter::repeat_n(Duration::from_millis(2), calls), errors)
    }

    /// So many calls of 2 ms, but for some that took so long.
    fn slow(calls: usize, slow: usize, slow_ms: u64) -> Figures {
        let fast = std::iter::repeat_n(Duration::from_millis(2), calls - slow);
        let slow = std::iter::repeat_n(Duration::from_millis(slow_ms), slow);
        Figures::of(fast.chain(slow), 0)
    }

    fn check(cases: impl IntoIterator<Item = (&'static str, Figures, Figures, bool)>) {
        for (what, new, old, is_worse) in cases {
            let judged = worse(&Guard::default(), &new, &old);
            assert_eq!(judged.is_some(), is_worse, "{what}: {judged:?}");
        }
    }

    #[test]
    fn a_version_that_fails_more_than_the_old_one_is_worse() {
        let good = || failing(1_000, 0);
        check([
            ("none fails", failing(100, 0), good(), false),
            (
                "four of a hundred are chance",
                failing(100, 4),
                good(),
                false,
            ),
            ("five are not", failing(100, 5), good(), true),
            ("too early to say", failing(99, 98), good(), false),
            (
                "less than one in a hundred",
                failing(10_000, 90),
                good(),
                false,
            ),
            ("two in a hundred", failing(10_000, 200), good(), true),
            (
                "of many calls of the old one some fail too",
                failing(10_000, 180),
                failing(10_000, 100),
                false,
            ),
            (
                "three times as many, and more than a hundredth",
                failing(10_000, 700),
                failing(10_000, 200),
                true,
            ),
        ]);
    }

    #[test]
    fn what_hits_both_condemns_neither() {
        check([
            ("a third", failing(100, 40), failing(1_000, 330), false),
            (
                "everything",
                failing(100, 100),
                failing(1_000, 1_000),
                false,
            ),
            ("half, of few", failing(10, 5), failing(8, 4), false),
            ("all, of few", failing(5, 5), failing(5, 5), false),
            (
                "the old one has next to nothing",
                failing(100, 100),
                failing(3, 3),
                false,
            ),
            (
                "a third of one, all of the other",
                failing(300, 300),
                failing(3_000, 1_000),
                true,
            ),
        ]);
    }

    #[test]
    fn a_version_that_only_fails_is_worse_after_few_calls() {
        check([
            ("all of five", failing(5, 5), failing(10, 0), true),
            ("too early to say", failing(4, 4), failing(10, 0), false),
            ("one was fine", failing(6, 5), failing(10, 0), false),
            (
                "the old one gets nothing",
                failing(5, 5),
                failing(0, 0),
                true,
            ),
            (
                "half of the old one's fail",
                failing(5, 5),
                failing(10, 5),
                false,
            ),
        ]);
    }

    #[test]
    fn a_version_that_gets_everything_is_judged_without_the_old_one() {
        check([
            ("it fails", failing(1_000, 200), failing(0, 0), true),
            ("it does not", failing(1_000, 5), failing(0, 0), false),
        ]);
    }

    #[test]
    fn a_version_that_is_slower_is_worse_once_there_were_enough_calls() {
        let good = || slow(1_000, 0, 0);
        check([
            ("three in a hundred", slow(500, 16, 50), good(), true),
            ("too early to say", slow(400, 16, 50), good(), false),
            (
                "fewer than one in a hundred",
                slow(500, 4, 50),
                good(),
                false,
            ),
            ("chance", slow(500, 7, 50), good(), false),
            ("too little to matter", slow(500, 16, 8), good(), false),
            (
                "a pause that hits both",
                slow(500, 16, 50),
                slow(1_000, 11, 50),
                false,
            ),
        ]);
    }

    #[test]
    fn good_versions_are_left_alone_however_often_they_are_looked_at() {
        // A fixed stream of numbers: 1 % of the calls of both fail, by chance, in a hundred thousand looks.
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut failures = |calls: usize| {
            let failed = (0..calls).filter(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.is_multiple_of(100)
            });
            u64::try_from(failed.count()).expect("small")
        };
        let guard = Guard::default();
        let condemned = (0..20_000).filter(|_| {
            let new = failing(100, failures(100));
            let old = failing(900, failures(900));
            worse(&guard, &new, &old).is_some()
        });
        assert_eq!(condemned.count(), 0);
    }

    #[test]
    fn the_judgement_says_why() {
        let judged = worse(&Guard::default(), &failing(100, 9), &failing(900, 1));
        let reason = "9 of its 100 calls failed, of the old one's 1 of 900";
        assert_eq!(judged.as_deref(), Some(reason));
    }
}
