//! How long a call waited for whoever asked: for the rest of a request, or for room for more of its answer.
//!
//! That time is not the component's, and a call that passes its deadline in it is not the component's failure.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Of one call.
#[derive(Debug, Default)]
pub(crate) struct ClientTime(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    /// Those that are over.
    over: Duration,
    /// Since when it waits.
    since: Option<Instant>,
}

impl ClientTime {
    /// The client has not done its part yet.
    pub(crate) fn waits(&self) {
        let mut waits = self.lock();
        waits.since.get_or_insert_with(Instant::now);
    }

    /// It has done something.
    pub(crate) fn goes_on(&self) {
        let mut waits = self.lock();
        if let Some(since) = waits.since.take() {
            waits.over += since.elapsed();
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().since.is_some()
    }

    /// In all so far.
    pub(crate) fn waited(&self) -> Duration {
        let waits = self.lock();
        waits.over + waits.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
