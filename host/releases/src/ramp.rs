//! Ramps: the share of a canary grows by itself, under the guard, until somebody takes a step.
//!
//! Whichever host looks first when the time has come takes the step for all; a host that dies takes no ramp with it.

use std::time::Duration;

use marquee_registry::{State, States, together};
use tokio_util::sync::CancellationToken;

use super::{Inner, Releases, now_ms};

/// Look, until `stop`.
pub(super) async fn run(releases: Releases, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(LOOK))
        .await
        .is_some()
    {
        releases.0.rise().await;
    }
}

impl Inner {
    /// Take the steps whose time has come.
    async fn rise(&self) {
        for id in &self.order {
            let state = self.desired.lock().await.state(id);
            if state.is_none_or(|state| state.risen(now_ms()).is_none()) {
                continue;
            }
            let mut step = self.step("host, by its ramp", id, "ramp").await;
            step.widen = true;
            let next = |state: &State| state.risen(now_ms()).map(Ok);
            let risen = |states: &States| together::some(states, next);
            let result = self.take(&step, risen).await;
            self.end_unless_idle(step, result).await;
        }
    }
}

/// Ramps are slow.
const LOOK: Duration = Duration::from_secs(1);
