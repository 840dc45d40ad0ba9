//! How long the slow lane rests after it has worked. A pure rule: what was measured comes in.

use std::time::Duration;

use super::waits::Waits;

/// What is known of those that are not to wait.
#[derive(Debug, Clone, Copy)]
pub(super) enum Others {
    /// How long they waited for a CPU lately, and how long they had one.
    Waited(Waits),
    /// Only whether any of their calls is under way.
    UnderWay(bool),
}

/// How long to rest after so much work. Nothing while the others hardly wait, seven times the work at the most: then one
/// part in eight is left, so that what computes comes to its end on a full machine too.
pub(super) fn rest(worked: Duration, others: Others) -> Duration {
    let full = worked * MOST;
    let waits = match others {
        Others::UnderWay(true) => return full,
        Others::UnderWay(false) => return Duration::ZERO,
        Others::Waited(waits) => waits,
    };
    let free = waits.ran_us * FREE_PERCENT / 100;
    let much = waits.ran_us * MUCH_PERCENT / 100;
    let beyond = waits.waited_us.saturating_sub(free);
    if beyond == 0 {
        return Duration::ZERO;
    }
    let full_ns = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(full_ns.saturating_mul(beyond) / beyond.max(much - free))
}

/// Times what was worked.
const MOST: u32 = 7;
/// Others that wait no longer than this part of what they run do so for each other.
const FREE_PERCENT: u64 = 5;
/// From this part on they wait as much as matters. With 20 and 100 the p99 of others came to three times what it was
/// (BENCHMARKS.md, *Log-ins beside others*).
const MUCH_PERCENT: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(2);

    #[test]
    fn it_rests_by_how_long_others_waited_for_a_cpu_beside_how_long_they_had_one() {
        let check = |ran_us, waited_us, rest_us| {
            let others = Others::Waited(Waits { ran_us, waited_us });
            let rest = rest(SLICE, others);
            let us = u64::try_from(rest.as_micros()).expect("short");
            assert_eq!(us, rest_us, "{ran_us} {waited_us}");
        };
        // Nobody was there, or nobody had to wait.
        check(0, 0, 0);
        check(10_000, 0, 0);
        check(100_000, 5_000, 0);
        // Some did, in proportion.
        check(100_000, 14_000, 2_800);
        check(100_000, 27_500, 7_000);
        check(100_000, 45_500, 12_600);
        // As much as there is.
        check(100_000, 50_000, 14_000);
        check(100_000, 900_000, 14_000);
        check(0, 10, 14_000);
    }

    #[test]
    fn where_waits_are_not_known_it_rests_while_others_have_calls() {
        assert_eq!(rest(SLICE, Others::UnderWay(true)), SLICE * 7);
        assert_eq!(rest(SLICE, Others::UnderWay(false)), Duration::ZERO);
    }
}
