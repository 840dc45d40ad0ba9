//! The host's life: one value, which readiness and the listeners follow.
//!
//! It is *starting* until it serves, then *ready*, then *draining*: not ready any more, though it serves for a while yet, so
//! that whoever spreads requests hears of it before the listener closes. Then it is stopped, and nobody can ask.

use std::sync::{Arc, Mutex, PoisonError};

/// Where a host is in its life. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Life(Arc<Mutex<Phase>>);

/// A part of a host's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// With what it does just now.
    Starting(&'static str),
    /// It serves.
    Ready,
    /// It serves what comes still, and is not ready.
    Draining,
}

impl Life {
    pub(crate) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Phase::Starting("begins"))))
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It goes on to this.
    pub fn goes_on(&self, to: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}
