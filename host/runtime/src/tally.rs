//! What became of the calls of each version, over all the times that it was loaded.
//!
//! Promise: what is told of a version never shrinks while it is known, so that whoever watches its growth sees no call twice.
//! Bound: versions that are loaded, and the last [`KEPT`] that were. Not here: what is done with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marquee_manifest::ComponentId;
use marquee_registry::Digest;

use crate::stats::{Stats, Tally};

/// Those of all versions.
#[derive(Default)]
pub(crate) struct Tallies(Mutex<Vec<Version>>);

struct Version {
    component: ComponentId,
    digest: Digest,
    /// Of pools that are gone.
    past: Tally,
    /// Of those that are there: somebody else holds each, too.
    stats: Vec<Arc<Stats>>,
}

impl Tallies {
    /// Counters for a version that is loaded, perhaps once more.
    pub(crate) fn open(&self, component: &ComponentId, digest: Digest) -> Arc<Stats> {
        let stats = Arc::new(Stats::new());
        let mut versions = self.lock();
        versions.iter_mut().for_each(Version::look);
        let gone = |version: &Version| version.stats.is_empty();
        if versions.iter().filter(|version| gone(version)).count() > KEPT
            && let Some(first) = versions.iter().position(gone)
        {
            versions.remove(first);
        }
        let known = versions
            .iter_mut()
            .find(|version| version.component == *component && version.digest == digest);
        match known {
            Some(version) => version.stats.push(Arc::clone(&stats)),
            None => versions.push(Version {
                component: component.clone(),
                digest,
                past: Tally::default(),
                stats: vec![Arc::clone(&stats)],
            }),
        }
        stats
    }

    /// What became of the calls of each.
    pub(crate) fn all(&self) -> Vec<(ComponentId, Digest, Tally)> {
        let mut versions = self.lock();
        let of = |version: &mut Version| {
            version.look();
            let mut tally = version.past.clone();
            for stats in &version.stats {
                tally.merge(&stats.tally());
            }
            (version.component.clone(), version.digest, tally)
        };
        versions.iter_mut().map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Version>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    /// What nobody else holds counts nothing any more.
    fn look(&mut self) {
        let past = &mut self.past;
        self.stats.retain(|stats| {
            let is_held = Arc::strong_count(stats) > 1;
            if !is_held {
                past.merge(&stats.tally());
            }
            is_held
        });
    }
}

/// Some releases of each component.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::Outcome;

    fn call(stats: &Stats) {
        stats.begin();
        stats.end(Outcome::DONE, Duration::from_millis(1));
    }

    #[test]
    fn what_a_version_did_is_told_after_it_has_gone_and_goes_on_where_it_comes_back() {
        let tallies = Tallies::default();
        let id: ComponentId = "rating".parse().expect("a name");
        let digest = Digest::of(b"code");
        let first = tallies.open(&id, digest);
        call(&first);
        let second = tallies.open(&id, digest);
        call(&second);
        let told = || {
            let all = tallies.all();
            all.iter()
                .map(|(.., tally)| tally.calls)
                .collect::<Vec<_>>()
        };
        assert_eq!(told(), [2], "one version, however often it is loaded");
        drop(first);
        assert_eq!(told(), [2]);
        call(&second);
        drop(second);
        assert_eq!(told(), [3]);
        call(&tallies.open(&id, digest));
        assert_eq!(told(), [4]);
    }

    #[test]
    fn versions_that_are_long_gone_are_forgotten_and_those_that_are_loaded_never() {
        let tallies = Tallies::default();
        let id: ComponentId = "rating".parse().expect("a name");
        let stays = tallies.open(&id, Digest::of(b"stays"));
        for number in 0..10 * KEPT {
            drop(tallies.open(&id, Digest::of(number.to_string().as_bytes())));
        }
        let all = tallies.all();
        assert!(all.len() <= KEPT + 2, "{}", all.len());
        assert!(
            all.iter()
                .any(|(_, digest, _)| *digest == Digest::of(b"stays"))
        );
        drop(stays);
    }
}
