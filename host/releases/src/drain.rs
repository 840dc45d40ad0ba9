//! Versions on their way out: they get nothing new, and what is in flight ends on them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use marquee_manifest::ComponentId;
use marquee_runtime::Prepared;
use tokio::sync::Notify;

use super::{lock, telemetry::Drained};

/// Those under way.
#[derive(Clone, Default)]
pub(crate) struct Draining(Arc<Inner>);

#[derive(Default)]
struct Inner {
    all: Mutex<Vec<Leaving>>,
    /// Told when one has ended.
    ended: Notify,
    drained: Drained,
}

struct Leaving {
    component: ComponentId,
    version: Prepared,
    /// When it began: a version may have come back, and drain a second time.
    begun: Instant,
}

impl Draining {
    /// Those of a component.
    pub(crate) fn of(&self, component: &ComponentId) -> Vec<Prepared> {
        let all = lock(&self.0.all);
        let these = all.iter().filter(|one| one.component == *component);
        these.map(|one| one.version.clone()).collect()
    }

    /// Those of all components.
    pub(crate) fn all(&self) -> Vec<Prepared> {
        let all = lock(&self.0.all);
        all.iter().map(|one| one.version.clone()).collect()
    }

    /// What is counted.
    pub(crate) fn drained(&self) -> &Drained {
        &self.0.drained
    }

    /// Wait until this version of these is drained.
    pub(crate) async fn ended(&self, version: &Prepared) {
        loop {
            let ended = self.0.ended.notified();
            let mut ended = std::pin::pin!(ended);
            // First the wake-up, then the look.
            ended.as_mut().enable();
            let is_there = lock(&self.0.all).iter().any(|one| one.version.is(version));
            if !is_there {
                return;
            }
            ended.await;
        }
    }

    /// Wait until a version has no calls left, neither under way nor waiting for their turn; after `patience` end those
    /// that it has.
    pub(crate) fn watch(
        &self,
        component: ComponentId,
        version: Prepared,
        patience: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        let begun = Instant::now();
        lock(&self.0.all).push(Leaving {
            component: component.clone(),
            version: version.clone(),
            begun,
        });
        let draining = self.clone();
        async move {
            let at_first = version.figures().in_flight;
            while !version.is_idle() && begun.elapsed() < patience {
                tokio::time::sleep(LOOK).await;
            }
            let ended = version.figures().in_flight;
            if !version.is_idle() {
                version.end_calls();
            }
            let digest = version.version();
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            lock(&draining.0.all).retain(|one| !(one.version.is(&version) && one.begun == begun));
            draining.0.drained.ended(begun.elapsed(), ended);
            draining.0.ended.notify_waiters();
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
