//! What became of the calls of two versions over the last stretches of time, the same for both.
//!
//! A stretch is [`STRETCH`] long, or as long as it takes the first version to have a share of the calls that a judgement
//! needs: where there are few calls, it goes further back. Bound: [`STRETCHES`] of them, some 3 KiB each.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use marquee_runtime::Figures;

/// The figures at the beginning of each stretch, oldest first; the last one goes on.
#[derive(Debug)]
pub(super) struct Window {
    marks: VecDeque<Mark>,
    /// Calls of the first that a stretch has at the least.
    calls: u64,
}

#[derive(Debug)]
struct Mark {
    at: Instant,
    sides: [Figures; 2],
}

impl Window {
    /// It begins, and is to have `calls` of the first at the least.
    pub(super) fn new(at: Instant, sides: [Figures; 2], calls: u64) -> Self {
        Self {
            marks: VecDeque::from([Mark { at, sides }]),
            calls: calls.div_ceil(PARTS),
        }
    }

    /// Time has passed.
    pub(super) fn note(&mut self, at: Instant, now: &[Figures; 2]) {
        let Some(Mark { at: begun, sides }) = self.marks.back() else {
            return;
        };
        let calls = now[0].calls.saturating_sub(sides[0].calls);
        if at.saturating_duration_since(*begun) >= STRETCH && calls >= self.calls {
            if self.marks.len() >= STRETCHES {
                self.marks.pop_front();
            }
            let sides = now.clone();
            self.marks.push_back(Mark { at, sides });
        }
    }

    /// What came in the last stretch, the last two, four and so on, up to all that are known.
    pub(super) fn sides(&self, now: &[Figures; 2]) -> impl Iterator<Item = [Figures; 2]> {
        let all = self.marks.len();
        let lengths = std::iter::successors(Some(1), move |length| {
            (*length < all).then(|| (2 * length).min(all))
        });
        let marks = lengths.filter_map(move |length| self.marks.get(all.checked_sub(length)?));
        marks.map(|mark| {
            let [first, second] = &mark.sides;
            [now[0].since(first), now[1].since(second)]
        })
    }

    /// What came in all stretches that are known.
    pub(super) fn all(&self, now: &[Figures; 2]) -> [Figures; 2] {
        self.sides(now).last().unwrap_or_else(|| now.clone())
    }
}

/// Short beside the time in which a person would notice; long beside that of a call.
const STRETCH: Duration = Duration::from_secs(15);
/// A quarter of an hour at the least.
const STRETCHES: usize = 60;
/// Of a judgement's calls, in a stretch.
const PARTS: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(calls: usize, errors: u64) -> Figures {
        Figures::of(std::iter::repeat_n(Duration::from_millis(1), calls), errors)
    }

    /// What is known of the first's calls and errors after this much time and these figures, one after the other.
    fn noted(steps: &[(u64, usize, u64)], per_judgement: u64) -> Vec<(u64, u64)> {
        let begun = Instant::now();
        let none = [calls(0, 0), calls(0, 0)];
        let mut window = Window::new(begun, none.clone(), per_judgement);
        let mut now = none;
        for (seconds, all, errors) in steps {
            now = [calls(*all, *errors), calls(*all, 0)];
            window.note(begun + Duration::from_secs(*seconds), &now);
        }
        window
            .sides(&now)
            .map(|[first, _]| (first.calls, first.errors))
            .collect()
    }

    #[test]
    fn the_last_stretches_are_seen_each_for_itself_and_with_those_before() {
        let steps = [(15, 100, 0), (30, 200, 50), (45, 300, 50), (50, 310, 60)];
        assert_eq!(
            noted(&steps, 100),
            [(10, 10), (110, 10), (310, 60)],
            "the open one, it and one more, all"
        );
    }

    #[test]
    fn a_stretch_with_few_calls_goes_on_until_it_has_enough() {
        // An hour with a call each minute, of a hundred that a judgement needs.
        let steps: Vec<(u64, usize, u64)> = (1..=60_u32)
            .map(|minute| {
                let calls = usize::try_from(minute).expect("small");
                (u64::from(minute) * 60, calls, 0)
            })
            .collect();
        let seen = noted(&steps, 100);
        assert_eq!(seen.last(), Some(&(60, 0)), "nothing is forgotten yet");
        assert_eq!(seen.first(), Some(&(60 % 13, 0)), "13 calls a stretch");
    }

    #[test]
    fn what_is_long_ago_is_forgotten_and_memory_is_bounded() {
        let steps: Vec<(u64, usize, u64)> = (1..=1_000_u32)
            .map(|n| {
                (
                    u64::from(n) * 15,
                    usize::try_from(n).expect("small") * 10,
                    7,
                )
            })
            .collect();
        let seen = noted(&steps, 10);
        let oldest = seen.last().expect("it is never empty");
        assert_eq!(*oldest, (590, 0), "{seen:?}");
    }
}
