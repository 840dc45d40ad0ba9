//! What a client is told of the limit that it is nearest to.
//!
//! As `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, plain numbers as the IETF draft had them up to its
//! sixth version: these are what clients read. Later versions fold them into `RateLimit` and `RateLimit-Policy`, in a form
//! that has changed with several of them.

use std::{cmp::Reverse, time::Duration};

use governor::{NotUntil, clock::Clock, middleware::StateSnapshot};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// How a client stands to one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Requests at once, after a time without any.
    limit: u32,
    /// Requests that are possible now.
    remaining: u32,
    /// When, from now, `remaining` is `limit` again if nothing is asked.
    reset: Duration,
    /// When, from now, the next request is possible. None: this one was.
    retry_after: Option<Duration>,
}

impl Standing {
    /// After a request that may pass.
    pub(super) fn passed(state: &StateSnapshot) -> Self {
        let (quota, remaining) = (state.quota(), state.remaining_burst_capacity());
        let limit = quota.burst_size().get();
        Self {
            limit,
            remaining,
            reset: quota.replenish_interval() * limit.saturating_sub(remaining),
            retry_after: None,
        }
    }

    /// After one that may not.
    pub(super) fn refused<C: Clock>(until: &NotUntil<C::Instant>, clock: &C) -> Self {
        let quota = until.quota();
        let limit = quota.burst_size().get();
        let wait = until.wait_time_from(clock.now());
        Self {
            limit,
            remaining: 0,
            reset: wait + quota.replenish_interval() * (limit - 1),
            retry_after: Some(wait),
        }
    }

    /// When the client may ask again, if it was refused.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The one that a client should heed: what refuses, else what leaves less, else what takes longer to be as before.
    pub(super) fn tighter(self, other: Self) -> Self {
        let key = |of: &Self| (of.retry_after.is_none(), of.remaining, Reverse(of.reset));
        if key(&other) < key(&self) {
            other
        } else {
            self
        }
    }

    /// Tell it, in whole seconds rounded up.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let fields = [
            (LIMIT, u64::from(self.limit)),
            (REMAINING, u64::from(self.remaining)),
            (RESET, seconds(self.reset)),
        ];
        headers.extend(fields.map(|(name, number)| (name, HeaderValue::from(number))));
        if let Some(wait) = self.retry_after {
            // 0 would have a client ask again at once, in vain.
            headers.insert(header::RETRY_AFTER, seconds(wait).max(1).into());
        }
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
