//! Says to whoever drives an instance that there is something to do for it, and wakes them only where they are away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use futures::task::AtomicWaker;

/// Says that there is something to do.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    /// The task that is to come then; nobody while it is there.
    task: AtomicWaker,
}

impl Bell {
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }

    /// Nobody comes any more.
    pub(crate) fn leave(&self) {
        self.task.take();
    }

    /// Wake this task when it is rung.
    pub(crate) fn await_by(&self, waker: &Waker) {
        self.task.register(waker);
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Whether it was rung since.
    pub(crate) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bell_wakes_a_task_that_is_away_once_and_none_that_is_there() {
        let (bell, woken) = (Bell::default(), Arc::new(Woken::default()));
        bell.ring();
        assert!(bell.answer(), "it was rung before anybody was away");
        bell.await_by(&Waker::from(Arc::clone(&woken)));
        bell.ring();
        bell.ring();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(bell.answer());
        assert!(!bell.answer());
        bell.await_by(&Waker::from(Arc::clone(&woken)));
        bell.leave();
        bell.ring();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "it is there");
        assert!(bell.answer());
    }
}
