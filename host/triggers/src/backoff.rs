//! Pauses between tries: exponential with full jitter, from 100 ms to 10 s.

use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

/// How long the next pause is.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Wait, unless `stop` comes first.
    pub(crate) async fn pause(&mut self, stop: &CancellationToken) {
        pause(self.tries, stop).await;
        self.tries = self.tries.saturating_add(1);
    }

    /// It worked: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Wait as is due after so many pauses in a row, unless `stop` comes first.
pub(crate) async fn pause(tries: u32, stop: &CancellationToken) {
    let most = FIRST.saturating_mul(1 << tries.min(10)).min(LONGEST);
    let pause = most.mul_f64(rand::rng().random_range(0.1..=1.0));
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
