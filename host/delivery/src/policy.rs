//! How often and how soon a message is tried again.

use std::time::Duration;

use marquee_database::Backoff;

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
    /// How long to wait after delivery number `attempt`, counted from 1, has failed.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        Backoff::new(self.interval, MAX_DELAY).delay(attempt)
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
