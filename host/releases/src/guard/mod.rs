//! New versions that do worse than the old ones are rolled back.
//!
//! A canary is looked at for as long as it is one, beside the version that gets the other calls, over the same time. A
//! version that got all calls has none beside it: for [`WATCHED`] it is compared with what the one before it did in its
//! last stretches, and then it is as good as any. What goes wrong in rolling back is tried again. Not here: the rules.

mod rules;
mod window;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use marquee_manifest::{ComponentId, Guard, Guarded};
use marquee_registry::{Digest, Live, States, StoreError, together};
use marquee_runtime::{Figures, Prepared};
use tokio_util::sync::CancellationToken;

use super::{Error, Inner, Releases, lock, step::Judged};
use window::Window;

/// What is known of a component's versions.
pub(super) struct Watch {
    version: Prepared,
    against: Against,
    window: Window,
}

enum Against {
    /// The version is a canary beside this one.
    Live(Prepared),
    /// It got all calls, and the one before it did this; until then.
    Before(Figures, Instant),
    /// Nothing: it is only remembered what it did.
    Nothing,
}

impl Watch {
    fn new(version: Prepared, against: Against, guard: &Guard) -> Self {
        let now = figures(&version, &against);
        Self {
            version,
            against,
            window: Window::new(Instant::now(), now, guard.calls),
        }
    }

    /// What was seen until `before` was no longer live decides what is looked at in `live`; None: nothing is.
    fn next(
        known: Option<Self>,
        before: Option<&Live<Prepared>>,
        live: &Live<Prepared>,
        guard: &Guard,
        judged: Judged,
    ) -> Option<Self> {
        let stable = &live.stable.payload;
        if guard.on == Guarded::Never {
            return None;
        }
        if let Some(canary) = &live.canary {
            let canary = &canary.version.payload;
            // The same one with another weight: what was seen of it counts.
            let same = known.filter(|known| known.is_of(canary, stable));
            let beside = Against::Live(stable.clone());
            return same.or_else(|| Some(Self::new(canary.clone(), beside, guard)));
        }
        if guard.on != Guarded::Always {
            return None;
        }
        let before = before.filter(|before| !before.stable.payload.is(stable));
        let Some(before) = before else {
            // What was stable is.
            let alone = known.filter(|known| known.version.is(stable));
            return alone.or_else(|| Some(Self::new(stable.clone(), Against::Nothing, guard)));
        };
        let did = known.and_then(|known| known.recent(&before.stable.payload));
        let against = match (judged, did) {
            (Judged::Yes, Some(did)) => Against::Before(did, Instant::now() + WATCHED),
            _ => Against::Nothing,
        };
        Some(Self::new(stable.clone(), against, guard))
    }

    fn is_of(&self, canary: &Prepared, stable: &Prepared) -> bool {
        let is_beside = matches!(&self.against, Against::Live(live) if live.is(stable));
        is_beside && self.version.is(canary)
    }

    /// What a version did lately.
    fn recent(&self, version: &Prepared) -> Option<Figures> {
        let [first, second] = self.window.all(&figures(&self.version, &self.against));
        match &self.against {
            Against::Live(live) if live.is(version) => Some(second),
            _ => self.version.is(version).then_some(first),
        }
    }

    /// Look once more. Why it is to be rolled back, if it is.
    fn look(&mut self, at: Instant, guard: &Guard) -> Option<String> {
        let now = figures(&self.version, &self.against);
        self.window.note(at, &now);
        if matches!(self.against, Against::Before(_, until) if at > until) {
            self.against = Against::Nothing;
        }
        let mut sides = self.window.sides(&now);
        match &self.against {
            Against::Live(_) => sides.find_map(|[new, old]| rules::worse(guard, &new, &old)),
            Against::Before(old, _) => sides.find_map(|[new, _]| rules::worse(guard, &new, old)),
            Against::Nothing => None,
        }
    }
}

/// Those of both sides. Without another one they are the same.
fn figures(version: &Prepared, against: &Against) -> [Figures; 2] {
    let first = version.figures();
    let second = match against {
        Against::Live(live) => live.figures(),
        Against::Before(..) | Against::Nothing => first.clone(),
    };
    [first, second]
}

impl Inner {
    /// Look at what is new about what is live, if the component's guard is on.
    pub(super) fn watch(
        &self,
        id: &ComponentId,
        before: Option<&Live<Prepared>>,
        live: &Live<Prepared>,
        judged: Judged,
    ) {
        let Some(component) = self.components.get(id) else {
            return;
        };
        let mut watched = lock(&self.watched);
        let known = watched.remove(id);
        if let Some(watch) = Watch::next(known, before, live, &component.guard, judged) {
            watched.insert(id.clone(), watch);
        }
    }

    /// Those that are to be rolled back, and why.
    pub(super) fn worse(&self, at: Instant) -> Vec<(ComponentId, Digest, String)> {
        let mut watched = lock(&self.watched);
        let worse = watched.iter_mut().filter_map(|(id, watch)| {
            let reason = watch.look(at, &self.components.get(id)?.guard)?;
            Some((id.clone(), watch.version.version(), reason))
        });
        worse.collect()
    }

    /// It is as it is, and not judged any more.
    fn leave(&self, component: &ComponentId) {
        if let Some(watch) = lock(&self.watched).get_mut(component) {
            watch.against = Against::Nothing;
        }
    }

    async fn take_back(
        &self,
        component: &ComponentId,
        digest: Digest,
        reason: &str,
    ) -> Result<(), Error> {
        let who = format!("host, since {reason}");
        let mut step = self.step_back(&who, component, "rollback").await?;
        step.versions.insert(component.clone(), digest);
        let next = |states: &States| {
            let state = states.get(component);
            match state.map(|state| (state.withdraw(digest), state)) {
                Some((Some(next), _)) if states.len() == 1 => {
                    Ok(States::from([(component.clone(), next)]))
                }
                // A person may have been quicker.
                Some((None, state)) if state.active.stable != digest => Ok(states.clone()),
                _ => together::rollback(states),
            }
        };
        let result = self.take(&step, next).await;
        self.end(step, result).await.map(drop)
    }
}

/// Look at all of them, again and again.
pub(super) async fn run(releases: Releases, stop: CancellationToken) {
    let inner = &releases.0;
    // Of those that could not be rolled back: when it is tried again, and how long it is waited then.
    let mut again: BTreeMap<ComponentId, (Instant, Duration)> = BTreeMap::new();
    while stop
        .run_until_cancelled(tokio::time::sleep(LOOK))
        .await
        .is_some()
    {
        for (id, digest, reason) in inner.worse(Instant::now()) {
            let pause = match again.get(&id) {
                Some((at, _)) if Instant::now() < *at => continue,
                Some((_, pause)) => *pause,
                None => FIRST_PAUSE,
            };
            tracing::warn!(component = %id, version = %digest, reason, "a new version does worse than the old one and is rolled back");
            let error = match inner.take_back(&id, digest, &reason).await {
                Ok(()) => {
                    inner.tally.rolled_back(&id);
                    again.remove(&id);
                    continue;
                }
                Err(error) => error,
            };
            let chain = marquee_runtime::chain(&error);
            if matches!(
                error,
                Error::Refused(_) | Error::Store(StoreError::Elsewhere(_))
            ) {
                inner.leave(&id);
                tracing::error!(component = %id, version = %digest, error = chain, "it is not rolled back");
            } else {
                let next = (Instant::now() + pause, (2 * pause).min(LONGEST_PAUSE));
                again.insert(id.clone(), next);
                tracing::error!(component = %id, version = %digest, error = chain, "it could not be rolled back; it is tried again");
            }
        }
    }
}

/// Short beside the time that a hundred calls take.
const LOOK: Duration = Duration::from_millis(250);
/// Of a version with all calls: what is wrong with it shows sooner, and what goes wrong later is not its being new.
const WATCHED: Duration = Duration::from_secs(3_600);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// So many calls in all, of which so many failed.
    fn figures(calls: usize, errors: u64) -> Figures {
        Figures::of(std::iter::repeat_n(Duration::from_millis(2), calls), errors)
    }

    /// Whether the new one is condemned at the end, of what both had had after each quarter of a minute.
    fn condemned(new: &[(usize, u64)], old: &[(usize, u64)]) -> bool {
        let begun = Instant::now();
        let guard = Guard::default();
        let none = [figures(0, 0), figures(0, 0)];
        let mut window = Window::new(begun, none.clone(), guard.calls);
        let mut now = none;
        for (quarter, (new, old)) in (1_u32..).zip(new.iter().zip(old)) {
            now = [figures(new.0, new.1), figures(old.0, old.1)];
            window.note(begun + quarter * Duration::from_secs(15), &now);
        }
        window
            .sides(&now)
            .any(|[new, old]| rules::worse(&guard, &new, &old).is_some())
    }

    #[test]
    fn neither_a_long_good_life_nor_an_old_outage_excuses_what_fails_now() {
        // A hundred thousand calls were fine; of the next three hundred a third fails.
        let good = [(100_000, 0), (100_150, 50), (100_300, 100)];
        let old = [(900_000, 0), (901_350, 0), (902_700, 0)];
        assert!(condemned(&good, &old));
        // The old one failed for a while, before.
        let new = [(1_000, 500), (2_000, 500), (3_000, 500), (3_150, 550)];
        let old = [
            (9_000, 4_500),
            (18_000, 4_500),
            (27_000, 4_500),
            (28_350, 4_500),
        ];
        assert!(condemned(&new, &old));
    }

    #[test]
    fn an_outage_of_what_both_need_condemns_neither() {
        let new = [
            (1_000, 0),
            (2_000, 0),
            (2_100, 100),
            (2_200, 200),
            (3_200, 200),
        ];
        let old = [
            (9_000, 0),
            (18_000, 0),
            (18_900, 900),
            (19_800, 1_800),
            (28_800, 1_800),
        ];
        for end in 1..=new.len() {
            assert!(!condemned(&new[..end], &old[..end]), "after {end}");
        }
    }
}
