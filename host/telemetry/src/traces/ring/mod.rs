//! The traces of the last minutes, in memory, for people without a collector.
//!
//! Promise: a span costs one short lock when it ends, and none before; nothing is written for anybody. Bound: [`Bounds`], of
//! spans as they are in memory. Where room is short, what failed and what was slow stays longest (see `shelf.rs`). It is of
//! this host and gone with it. Not here: which requests are recorded at all, who may look.

mod kept;
mod shelf;
mod waterfall;

use std::{
    cmp::Reverse,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use self::{kept::Kept, shelf::Shelf};
pub use self::{
    kept::Summary,
    shelf::Bounds,
    waterfall::{Event, Other, Row, Waterfall},
};

/// The traces of a host. Cheap to clone.
#[derive(Clone)]
pub struct Ring(Arc<Mutex<Shelf>>);

/// Which traces are wanted; all that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// In which this component did something.
    pub component: Option<String>,
    /// That began with a request of this route, as the manifest or the component names it.
    pub route: Option<String>,
    /// Whose first span took so long at least.
    pub at_least: Option<Duration>,
    /// In which something failed.
    pub failed: bool,
    /// That began then or later.
    pub since: Option<SystemTime>,
    /// The newest first. Else those that failed, the slowest first, and behind them the others, the slowest first.
    pub newest: bool,
    /// How many at the most.
    pub limit: usize,
}

/// Why there is no such trace to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// It is not one, nor the beginning of one.
    #[error("a trace is named by 4 to 32 hexadecimal digits")]
    Name,
    /// It was not recorded, or had to make room.
    #[error("no such trace is kept: it was not recorded, or had to make room for others")]
    Unknown,
    /// More than one begins so.
    #[error("several traces begin so: give more of the digits")]
    Several,
}

impl Ring {
    /// One without any traces yet.
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(Shelf::new(bounds))))
    }

    /// What gives it the spans that end.
    pub fn processor(&self) -> Box<dyn SpanProcessor> {
        Box::new(self.clone())
    }

    /// What a list says of those that are wanted.
    pub fn list(&self, wanted: &Wanted) -> Vec<Summary> {
        let shelf = self.lock();
        let mut found: Vec<&Kept> = shelf.all().filter(|kept| wanted.fits(kept)).collect();
        if wanted.newest {
            found.sort_unstable_by_key(|kept| Reverse(kept.began()));
        } else {
            found.sort_unstable_by_key(|kept| Reverse((kept.failed(), kept.took(), kept.began())));
        }
        found.truncate(wanted.limit);
        found.into_iter().map(Kept::summary).collect()
    }

    /// One trace by its id, or the first digits of it, with those that go on with its messages.
    ///
    /// # Errors
    /// It is not there, or not the only one.
    pub fn show(&self, name: &str) -> Result<Waterfall, Missing> {
        let (summary, left_out, parts) = {
            let shelf = self.lock();
            let id = shelf.named(name)?;
            let kept = shelf.one(id).ok_or(Missing::Unknown)?;
            // Copied here, put in order when the lock is gone.
            let parts = shelf.with_followers(id);
            (kept.summary(), parts.left_out, parts.spans)
        };
        Ok(Waterfall::of(summary, left_out, parts))
    }

    /// How many traces there are, and how many bytes they take, roughly.
    pub fn size(&self) -> (usize, usize) {
        let shelf = self.lock();
        (shelf.all().count(), shelf.bytes())
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (traces, bytes) = self.size();
        write!(f, "Ring({traces} traces, {bytes} bytes)")
    }
}

impl SpanProcessor for Ring {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.lock().take(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Wanted {
    fn fits(&self, kept: &Kept) -> bool {
        (!self.failed || kept.errors() > 0)
            && self.at_least.is_none_or(|least| kept.took() >= least)
            && self.since.is_none_or(|since| kept.began() >= since)
            && { self.component.as_ref() }.is_none_or(|name| kept.has_part(name))
            && { self.route.as_deref() }.is_none_or(|route| kept.route() == Some(route))
    }
}

#[cfg(test)]
mod tests;
