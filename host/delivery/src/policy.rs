//! How often and how soon a message is tried again.

use std::time::Duration;

use rand::RngExt as _;

/// A consumer of one topic: its name, and what happens to messages that it cannot apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// The component's id in the manifest. Everything that is kept about deliveries is kept by this name.
    pub name: String,
    /// When to try again, and when to stop.
    pub policy: Policy,
    /// Where it begins.
    pub from: Begin,
}

impl Consumer {
    /// A consumer with the default policy.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            policy: Policy::default(),
            from: Begin::default(),
        }
    }
}

/// When a message is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Deliveries of a message before it is dead.
    pub attempts: u32,
    /// From the first failure to the second delivery; doubled with each further failure.
    pub interval: Duration,
}

impl Policy {
    /// How long to wait after delivery number `attempt`, counted from 1, has failed: between half of and the whole
    /// doubled interval, at random, so that what failed together does not come back together.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(MAX_DOUBLINGS);
        let whole = self.interval.saturating_mul(1 << doublings).min(MAX_DELAY);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: ATTEMPTS,
            interval: INTERVAL,
        }
    }
}

/// Where a consumer begins in a topic of which it has seen nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the oldest message that the bus still has.
    #[default]
    Earliest,
    /// With what is published from now on.
    Latest,
}

/// Eight tries at 10 s and doubled are about twenty minutes: longer than a restart or a deployment, shorter than a
/// person's attention.
pub const ATTEMPTS: u32 = 8;
/// As the system that this one replaces had it for ratings.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Once an outage is over, nothing waits for longer than this.
const MAX_DELAY: Duration = Duration::from_secs(600);
/// Keeps the factor within 32 bits.
const MAX_DOUBLINGS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_with_jitter_and_stop_growing_at_ten_minutes() {
        let policy = Policy::default();
        for (attempt, whole) in [
            (1, 10),
            (2, 20),
            (3, 40),
            (7, 600),
            (8, 600),
            (u32::MAX, 600),
        ] {
            for _ in 0..100 {
                let delay = policy.delay(attempt).as_secs_f64();
                assert!(
                    (f64::from(whole) / 2.0..=f64::from(whole)).contains(&delay),
                    "attempt {attempt}: {delay}"
                );
            }
        }
    }
}
