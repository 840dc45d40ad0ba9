//! When a failed request is sent again.
//!
//! Exponential with full jitter, so that many clients do not come back at once; a server's `Retry-After` is the
//! least that is waited. Bound: `CAP` for the jitter, `RETRY_AFTER_CAP` for what a server may ask.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use rand::RngExt;

/// The widest wait after the first failure.
pub const BASE: Duration = Duration::from_millis(50);
/// The widest wait after any number of failures: short enough that a server that is back is soon noticed.
pub const CAP: Duration = Duration::from_secs(3);
/// The longest `Retry-After` that is believed.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(60);
/// How long nothing may succeed before a run ends.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The widest wait after `failures` failures (1 is the first).
#[must_use]
pub fn ceiling(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    BASE.saturating_mul(1_u32 << doublings).min(CAP)
}

/// What to wait after `failures` failures: `luck` from 0 to 1 of the ceiling, on top of what the server asked for.
#[must_use]
pub fn wait(failures: u32, retry_after: Option<Duration>, luck: f64) -> Duration {
    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_CAP);
    asked + ceiling(failures).mul_f64(luck.clamp(0.0, 1.0))
}

/// [`wait`] with a fresh draw.
#[must_use]
pub fn draw(failures: u32, retry_after: Option<Duration>) -> Duration {
    wait(failures, retry_after, rand::rng().random_range(0.0..=1.0))
}

/// Remembers when anything succeeded last, for all requests of a run.
#[derive(Debug)]
pub struct Pulse {
    last: Mutex<Instant>,
}

impl Pulse {
    /// Starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
        }
    }

    /// A request was answered as it should be.
    pub fn beat(&self) {
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = Instant::now();
    }

    /// How long nothing has succeeded.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .elapsed()
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_its_cap() {
        assert_eq!(ceiling(1), BASE);
        assert_eq!(ceiling(2), BASE * 2);
        assert_eq!(ceiling(4), BASE * 8);
        assert_eq!(ceiling(7), CAP);
        assert_eq!(ceiling(u32::MAX), CAP);
    }

    #[test]
    fn a_wait_is_anywhere_below_the_ceiling() {
        assert_eq!(wait(3, None, 0.0), Duration::ZERO);
        assert_eq!(wait(3, None, 0.5), BASE * 2);
        assert_eq!(wait(3, None, 1.0), BASE * 4);
    }

    #[test]
    fn retry_after_is_the_least_that_is_waited_and_bounded() {
        let two = Duration::from_secs(2);
        assert_eq!(wait(1, Some(two), 0.0), two);
        assert!(wait(1, Some(two), 1.0) > two);
        assert_eq!(
            wait(1, Some(Duration::from_secs(86_400)), 0.0),
            RETRY_AFTER_CAP
        );
    }
}
