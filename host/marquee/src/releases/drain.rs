//! Versions on their way out: they get nothing new, and what is in flight ends on them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use marquee_manifest::ComponentId;
use marquee_runtime::Prepared;

use super::lock;

/// Those under way.
#[derive(Clone, Default)]
pub(crate) struct Draining(Arc<Mutex<Vec<(ComponentId, Prepared)>>>);

impl Draining {
    /// Those of a component.
    pub(crate) fn of(&self, component: &ComponentId) -> Vec<Prepared> {
        let all = lock(&self.0);
        let these = all.iter().filter(|(id, _)| id == component);
        these.map(|(_, version)| version.clone()).collect()
    }

    /// Wait until a version has no calls left; after `patience` end those that it has.
    pub(crate) fn watch(
        &self,
        component: ComponentId,
        version: Prepared,
        patience: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        lock(&self.0).push((component.clone(), version.clone()));
        let draining = self.clone();
        async move {
            let begun = Instant::now();
            let at_first = version.figures().in_flight;
            while version.figures().in_flight > 0 && begun.elapsed() < patience {
                tokio::time::sleep(LOOK).await;
            }
            let ended = version.figures().in_flight;
            if ended > 0 {
                version.end_calls();
            }
            let digest = version.version();
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut all = lock(&draining.0);
            let one = all
                .iter()
                .position(|(id, one)| *id == component && one.version() == digest);
            // Only one: a version may have come back, and drain a second time.
            if let Some(one) = one {
                all.swap_remove(one);
            }
            drop(all);
            if ended > 0 {
                tracing::warn!(
                    %component, version = %digest, in_flight = at_first, ended, took_ms,
                    "a version is drained; calls that did not end in time were ended and rolled back"
                );
            } else {
                tracing::info!(
                    %component, version = %digest, in_flight = at_first, ended, took_ms,
                    "a version is drained"
                );
            }
        }
    }
}

/// Counters cannot be waited for; a version that lingers for so long costs nothing.
const LOOK: Duration = Duration::from_millis(20);
