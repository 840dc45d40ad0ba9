//! New versions that do worse than the old ones are rolled back.
//!
//! Both are looked at over the same time: since the new one was tried. Errors are compared as shares of the calls,
//! latencies by their p99; a margin keeps what is too small to matter from condemning a version.

use std::time::Duration;

use marquee_manifest::{ComponentId, Guard};
use marquee_registry::{Digest, State};
use marquee_runtime::{Figures, Prepared};
use tokio_util::sync::CancellationToken;

use super::{Error, Releases, Step, lock};

/// A new version beside, or after, an old one.
#[derive(Clone)]
pub(crate) struct Trial {
    new: Prepared,
    new_from: Figures,
    old: Old,
}

#[derive(Clone)]
enum Old {
    /// It gets the other calls.
    Live(Prepared, Figures),
    /// It got all calls until then.
    Gone(Figures),
}

impl Trial {
    /// A canary.
    pub(crate) fn beside(new: Prepared, old: Prepared) -> Self {
        let (new_from, old_from) = (new.figures(), old.figures());
        Self {
            new,
            new_from,
            old: Old::Live(old, old_from),
        }
    }

    /// A version that got all calls.
    pub(crate) fn after(new: Prepared, old: Figures) -> Self {
        let new_from = new.figures();
        Self {
            new,
            new_from,
            old: Old::Gone(old),
        }
    }

    /// Whether it is the same version against the same one.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        let old = |trial: &Self| match &trial.old {
            Old::Live(old, _) => Some(old.version()),
            Old::Gone(_) => None,
        };
        self.new.version() == other.new.version() && old(self) == old(other)
    }

    fn judge(&self, guard: &Guard) -> Judgement {
        let old = match &self.old {
            Old::Live(old, from) => old.figures().since(from),
            Old::Gone(figures) => figures.clone(),
        };
        judge(guard, &self.new.figures().since(&self.new_from), &old)
    }
}

/// What is thought of a new version.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// Too early, or as good as the old one so far.
    Fine,
    /// It is to be rolled back, for this reason.
    Worse(String),
}

/// Look at all trials, again and again.
pub(crate) async fn run(releases: Releases, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let trials: Vec<(ComponentId, Trial)> = lock(&releases.0.trials)
            .iter()
            .map(|(id, trial)| (id.clone(), trial.clone()))
            .collect();
        for (id, trial) in trials {
            let Ok(component) = releases.0.component(&id) else {
                continue;
            };
            if let Judgement::Worse(reason) = trial.judge(&component.guard) {
                let digest = trial.new.version();
                tracing::warn!(component = %id, version = %digest, reason, "a new version does worse than the old one and is rolled back");
                if let Err(error) = take_back(&releases, &id, digest, &reason).await {
                    tracing::error!(component = %id, version = %digest, error = %marquee_runtime::chain(&error), "it could not be rolled back");
                    lock(&releases.0.trials).remove(&id);
                }
            }
        }
    }
}

async fn take_back(
    releases: &Releases,
    component: &ComponentId,
    digest: Digest,
    reason: &str,
) -> Result<(), Error> {
    let who = format!("host, since {reason}");
    let step = Step {
        version: Some(digest),
        widen: true,
        ..Step::of(&who, component, "rollback")
    };
    releases
        .0
        .change(step, |state| {
            let withdrawn = state.withdraw(digest);
            match withdrawn {
                Some(next) => Ok(next),
                // A person may have been quicker.
                None if state.active.stable != digest => Ok(state.clone()),
                None => State::rollback(state),
            }
        })
        .await
        .map(drop)
}

fn judge(guard: &Guard, new: &Figures, old: &Figures) -> Judgement {
    // A consumer that rejects everything blocks each key with its first message: many calls may never come.
    let has_only_errors = new.calls >= ONLY_ERRORS && new.errors >= new.calls;
    if new.calls < guard.calls && !has_only_errors {
        return Judgement::Fine;
    }
    let factor = u64::from(guard.factor);
    // errors / calls > factor * old errors / old calls + margin, in thousandths and without division by zero.
    let share = |figures: &Figures| figures.errors * 1_000 / figures.calls.max(1);
    let (new_share, old_share) = (share(new), share(old));
    if new_share > old_share * factor + ERRORS_MARGIN {
        return Judgement::Worse(format!(
            "{} of its {} calls failed, of the old one's {} of {}",
            new.errors, new.calls, old.errors, old.calls
        ));
    }
    // A p99 of few calls is their slowest one.
    if new.calls < guard.calls * P99_CALLS || old.calls < guard.calls {
        return Judgement::Fine;
    }
    match (new.percentile(99), old.percentile(99)) {
        (Some(new_p99), Some(old_p99)) if new_p99 > old_p99 * guard.factor + P99_MARGIN => {
            Judgement::Worse(format!(
                "its p99 is {:.1} ms, the old one's {:.1} ms",
                new_p99.as_secs_f64() * 1e3,
                old_p99.as_secs_f64() * 1e3
            ))
        }
        _ => Judgement::Fine,
    }
}

/// Short beside the time that a hundred calls take.
const LOOK: Duration = Duration::from_millis(250);
/// Calls of which each failed are enough, and no chance.
const ONLY_ERRORS: u64 = 5;
/// In thousandths of the calls: one error in a hundred is chance.
const ERRORS_MARGIN: u64 = 10;
const P99_MARGIN: Duration = Duration::from_millis(5);
/// Times the calls of the guard.
const P99_CALLS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(calls: usize, errors: u64, slow: usize, slow_ms: u64) -> Figures {
        let fast = std::iter::repeat_n(Duration::from_millis(2), calls - slow);
        let slow = std::iter::repeat_n(Duration::from_millis(slow_ms), slow);
        Figures::of(fast.chain(slow), errors)
    }

    fn is_worse(new: &Figures, old: &Figures) -> bool {
        judge(&Guard::default(), new, old) != Judgement::Fine
    }

    #[test]
    fn a_version_that_fails_more_than_the_old_one_is_worse() {
        let old = figures(1_000, 0, 0, 0);
        assert!(is_worse(&figures(100, 2, 0, 0), &old));
        assert!(!is_worse(&figures(100, 1, 0, 0), &old), "one is chance");
        assert!(!is_worse(&figures(99, 98, 0, 0), &old), "too early to say");
        // Where the old one fails too, as when a database is away, the new one is not to blame.
        let failing = figures(1_000, 300, 0, 0);
        assert!(!is_worse(&figures(100, 60, 0, 0), &failing));
        assert!(is_worse(&figures(100, 62, 0, 0), &failing));
    }

    #[test]
    fn a_version_that_only_fails_is_worse_after_few_calls() {
        let old = figures(10, 0, 0, 0);
        assert!(is_worse(&figures(5, 5, 0, 0), &old));
        assert!(!is_worse(&figures(4, 4, 0, 0), &old), "too early to say");
        assert!(!is_worse(&figures(6, 5, 0, 0), &old), "one was fine");
        let failing = figures(10, 10, 0, 0);
        assert!(!is_worse(&figures(5, 5, 0, 0), &failing));
    }

    #[test]
    fn a_version_that_is_slower_is_worse_once_there_were_enough_calls() {
        let old = figures(1_000, 0, 0, 0);
        assert!(is_worse(&figures(500, 0, 6, 50), &old));
        assert!(!is_worse(&figures(400, 0, 6, 50), &old), "too early to say");
        assert!(
            !is_worse(&figures(500, 0, 4, 50), &old),
            "fewer than one in a hundred"
        );
        assert!(
            !is_worse(&figures(500, 0, 6, 8), &old),
            "too little to matter"
        );
    }

    #[test]
    fn the_judgement_says_why() {
        let worse = judge(
            &Guard::default(),
            &figures(100, 5, 0, 0),
            &figures(900, 1, 0, 0),
        );
        let reason = "5 of its 100 calls failed, of the old one's 1 of 900";
        assert_eq!(worse, Judgement::Worse(reason.to_owned()));
    }
}
