//! The bounds of the embedded bus.

use std::{ops::RangeInclusive, time::Duration};

/// Times of the embedded bus.
#[derive(Debug, Clone)]
pub struct Config {
    /// After this long without a heartbeat a member's partitions go to others. A member trusts its lease for 70 %
    /// of it.
    pub lease: Duration,
    /// How long a publish waits until it stands.
    pub publish_timeout: Duration,
    /// Days older than this are dropped whether they were read or not; within [`RETENTION`].
    pub retention: Duration,
    /// A group that was not heard of for this long no longer keeps days from being dropped.
    pub group_expiry: Duration,
}

/// What [`Config::retention`] may be: whole days are dropped, and beyond a century PostgreSQL's calendar ends.
pub const RETENTION: RangeInclusive<Duration> =
    Duration::from_secs(24 * 3600)..=Duration::from_secs(36_525 * 24 * 3600);

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: LEASE,
            publish_timeout: PUBLISH_TIMEOUT,
            retention: WEEK,
            group_expiry: GROUP_EXPIRY,
        }
    }
}

/// A host that died is noticed in this time; long enough for a pause of the machine.
const LEASE: Duration = Duration::from_secs(15);
/// As for Kafka: a caller of HTTP waits no longer.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as consumers keep the event ids of what they have seen.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const GROUP_EXPIRY: Duration = Duration::from_secs(14 * 24 * 3600);
