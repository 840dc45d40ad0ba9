//! The access log: what became of each request, in one line.
//!
//! Promise: it keeps no request waiting, and has nothing of a request's body, query or headers but the client's name for itself;
//! what goes wrong or takes long is written however many others are left out. Bounds: the bytes of a line; lines a second, where
//! it is told to be sampled. Not here: how a line looks, and where it goes.

mod body;
mod entry;
mod line;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use marquee_telemetry::Readings;

pub use self::line::{Line, Outcome};
pub(crate) use self::{
    body::Logged,
    entry::{Came, Entry, TraceIds},
};
use crate::telemetry::ACCESS_LINES;

/// Where lines go. It keeps nobody waiting: what it cannot take it drops, and counts.
pub trait Sink: Send + Sync {
    /// Write a line.
    fn write(&self, line: &Line<'_>);

    /// How many were dropped so far.
    fn dropped(&self) -> u64;
}

/// Which requests have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that went wrong or were slow, and of all others so many as `rate` lets through.
    Sampled {
        /// Lines a second.
        rate: NonZeroU32,
        /// From this duration on a request is slow.
        slow: Duration,
    },
}

/// The access log of a host.
pub struct AccessLog {
    which: Which,
    rate: DefaultDirectRateLimiter,
    sink: Box<dyn Sink>,
    written: AtomicU64,
    left_out: AtomicU64,
    /// How many of these a line has told of.
    told: AtomicU64,
}

impl AccessLog {
    /// One that writes these requests there.
    pub fn new(which: Which, sink: impl Sink + 'static) -> Arc<Self> {
        let rate = match which {
            Which::All => NonZeroU32::MAX,
            Which::Sampled { rate, .. } => rate,
        };
        Arc::new(Self {
            which,
            rate: RateLimiter::direct(Quota::per_second(rate)),
            sink: Box::new(sink),
            written: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            told: AtomicU64::new(0),
        })
    }

    /// What it says of itself now.
    pub fn read(&self, into: &mut Readings) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dropped = self.sink.dropped();
        for (outcome, lines) in [
            ("written", count(&self.written).saturating_sub(dropped)),
            ("left_out", count(&self.left_out)),
            ("dropped", dropped),
        ] {
            into.count(&ACCESS_LINES, &[outcome], lines);
        }
    }

    /// Write it, if it is one of those.
    fn take(&self, entry: &Entry) {
        let took = entry.begun().elapsed();
        let is_kept = match self.which {
            Which::All => true,
            Which::Sampled { slow, .. } => {
                entry.went_wrong() || took >= slow || self.rate.check().is_ok()
            }
        };
        if !is_kept {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.left_out.load(Ordering::Relaxed);
        let told = self.told.fetch_max(left_out, Ordering::Relaxed);
        let mut line = entry.line(took);
        line.left_out = left_out.saturating_sub(told);
        self.sink.write(&line);
        self.written.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLog")
            .field("which", &self.which)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
