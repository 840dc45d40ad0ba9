//! What the host holds for a call while things that it has asked for are under way: their arguments, and what other
//! components have answered before it is taken.
//!
//! Bound: [`PENDING_BYTES`] a call, so that a guest cannot fill the host's memory by asking for more and more without
//! waiting for any of it. An instance runs one call at a time: it is the bound of an instance too.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How much is held for one call. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Pending(Arc<AtomicUsize>);

/// Some of it, while it is held.
#[derive(Debug)]
pub struct Held {
    pending: Pending,
    bytes: usize,
    answer: AtomicUsize,
}

impl Pending {
    /// Hold so many bytes more. None: then it would be too much, and whoever asks has to wait for something that it has
    /// asked for before.
    pub fn hold(&self, bytes: usize) -> Option<Held> {
        self.add(bytes).then(|| Held {
            pending: self.clone(),
            bytes,
            answer: AtomicUsize::new(0),
        })
    }

    fn add(&self, bytes: usize) -> bool {
        let more = |held: usize| {
            let sum = held.checked_add(bytes)?;
            (sum <= PENDING_BYTES).then_some(sum)
        };
        let added = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        added.is_ok()
    }

    fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// Hold so many bytes of an answer beside the arguments, instead of those of an answer before. Whether that is not too
    /// much.
    pub(crate) fn answered(&self, bytes: usize) -> bool {
        self.pending.sub(self.answer.swap(0, Ordering::Relaxed));
        let fits = self.pending.add(bytes);
        if fits {
            self.answer.store(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pending.sub(self.bytes + *self.answer.get_mut());
    }
}

/// Twice what one call of the host may copy: what is under way and what comes next.
pub const PENDING_BYTES: usize = 2 * crate::limits::HOSTCALL_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_over_all_that_is_under_way_and_let_go_with_it() {
        let pending = Pending::default();
        let half = pending.hold(PENDING_BYTES / 2);
        let other = pending.hold(PENDING_BYTES / 2);
        assert!(half.is_some() && other.is_some());
        assert!(pending.hold(1).is_none());
        assert!(pending.hold(usize::MAX).is_none());
        drop(half);
        assert!(pending.hold(PENDING_BYTES / 2 + 1).is_none());
        assert!(pending.hold(PENDING_BYTES / 2).is_some());
    }

    #[test]
    fn an_answer_is_held_beside_what_was_asked_and_only_the_last_one() {
        let pending = Pending::default();
        let held = pending.hold(1).expect("there is room");
        assert!(held.answered(PENDING_BYTES - 1));
        assert!(pending.hold(1).is_none());
        assert!(held.answered(PENDING_BYTES - 2));
        assert!(pending.hold(1).is_some());
        assert!(!held.answered(PENDING_BYTES));
        assert!(pending.hold(PENDING_BYTES - 1).is_some(), "it is not held");
        assert!(held.answered(10));
        drop(held);
        assert!(pending.hold(PENDING_BYTES).is_some());
    }
}
