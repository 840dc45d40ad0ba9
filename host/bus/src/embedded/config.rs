//! The bounds of the embedded bus.

use std::time::Duration;

/// Times of the embedded bus.
#[derive(Debug, Clone)]
pub struct Config {
    /// After this long without a heartbeat a member's partitions go to others. A member trusts its lease for 70 %
    /// of it.
    pub lease: Duration,
    /// How long a publish waits until it stands.
    pub publish_timeout: Duration,
    /// Days older than this are dropped whether they were read or not.
    pub retention: Duration,
    /// A group that was not heard of for this long no longer keeps days from being dropped.
    pub group_expiry: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: LEASE,
            publish_timeout: PUBLISH_TIMEOUT,
            retention: RETENTION,
            group_expiry: GROUP_EXPIRY,
        }
    }
}

/// A host that died is noticed in this time; long enough for a pause of the machine.
const LEASE: Duration = Duration::from_secs(15);
/// As for Kafka: a caller of HTTP waits no longer.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as consumers keep the event ids of what they have seen.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const GROUP_EXPIRY: Duration = Duration::from_secs(14 * 24 * 3600);
