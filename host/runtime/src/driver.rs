//! What drives instances while they have calls: whoever waits for a call, in its own task.
//!
//! A call of an instance is then no change of tasks, and no other thread has to wake up for it. A call that a component makes of
//! another one is driven by whoever drives the caller, beside it and not inside it: an event loop of wasmtime's may not be
//! polled inside another one's, and a caller that computes or waits in its store keeps no callee waiting.
//!
//! Each instance has a [`Bell`], which says that there is something to do for it. Whoever rings from outside wakes the task
//! of the driver; whoever rings while it works does not.
//!
//! Bounds: [`TURNS`] turns, then the task makes way for others; an instance that makes way itself has its next turn after
//! them. Not here: what becomes of what is left when nobody waits any more (`pool`).

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use crate::{bell::Bell, instance::Active};

/// Instances with calls that one task drives.
pub(crate) struct Driver {
    active: Vec<Active>,
    desk: Arc<Desk>,
    /// Rings for whoever waits for one of the calls.
    waker: Waker,
}

/// What a driver and those that it drives share.
#[derive(Default)]
struct Desk {
    /// To be driven from now on.
    new: Mutex<Vec<Active>>,
    bell: Bell,
}

thread_local! {
    /// The driver that is at work on this thread.
    static HERE: RefCell<Option<Arc<Desk>>> = const { RefCell::new(None) };
}

/// The driver is at work until this is dropped.
struct AtWork(Option<Arc<Desk>>);

impl Wake for Desk {
    fn wake(self: Arc<Self>) {
        self.bell.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bell.ring();
    }
}

impl Driver {
    /// Let it be driven by whoever drives the instance that calls it. Where none does, whoever waits for the call is to.
    pub(crate) fn admit(active: Active) -> Option<Self> {
        HERE.with_borrow(|here| match here {
            Some(desk) => {
                desk.lock().push(active);
                None
            }
            None => Some(Self::of(active)),
        })
    }

    fn of(active: Active) -> Self {
        let desk = Arc::new(Desk::default());
        Self {
            active: vec![active],
            waker: Waker::from(Arc::clone(&desk)),
            desk,
        }
    }

    /// Whether no call is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.desk.lock().is_empty()
    }

    /// Drive until all calls have ended.
    pub(crate) async fn run(mut self) {
        let mut ever = pending::<()>();
        poll_fn(|cx| {
            let poll = self.poll(cx, &mut ever);
            if self.is_empty() {
                Poll::Ready(())
            } else {
                poll
            }
        })
        .await;
    }

    /// Wait until this is there, driving what may have to be driven for it.
    pub(crate) async fn wait<F: Future + Unpin>(
        driver: &mut Option<Self>,
        awaited: &mut F,
    ) -> F::Output {
        match driver {
            Some(driver) => driver.until(awaited).await,
            None => awaited.await,
        }
    }

    /// Drive until this is there. What is left is left as it is.
    async fn until<F: Future + Unpin>(&mut self, awaited: &mut F) -> F::Output {
        self.desk.bell.ring();
        poll_fn(|cx| self.poll(cx, awaited)).await
    }

    fn poll<F: Future + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        awaited: &mut F,
    ) -> Poll<F::Output> {
        let _at_work = AtWork::begin(&self.desk);
        let mut turns = 0;
        loop {
            // Nobody has to be woken to come here.
            self.bells().for_each(Bell::leave);
            while self.turn(&mut turns) {}
            if self.desk.bell.answer() {
                let mut cx = Context::from_waker(&self.waker);
                if let Poll::Ready(there) = Pin::new(&mut *awaited).poll(&mut cx) {
                    return Poll::Ready(there);
                }
            }
            self.bells().for_each(|bell| bell.await_by(cx.waker()));
            // Those that made way are rung too.
            if !self.bells().any(Bell::is_rung) {
                return Poll::Pending;
            }
            if turns >= TURNS || self.active.iter().any(Active::makes_way) {
                for active in &mut self.active {
                    active.comes_back();
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// A turn for each that has something to do. Whether any had.
    fn turn(&mut self, turns: &mut usize) -> bool {
        let before = *turns;
        self.active.retain_mut(|active| {
            if *turns >= TURNS || active.makes_way() || !active.bell().answer() {
                return true;
            }
            *turns += 1;
            active.turn().is_pending()
        });
        let mut new = self.desk.lock();
        self.active.append(&mut new);
        *turns > before && *turns < TURNS
    }

    fn bells(&self) -> impl Iterator<Item = &Bell> {
        let of_active = self.active.iter().map(Active::bell);
        of_active.chain([&self.desk.bell])
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Vec<Active>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtWork {
    fn begin(desk: &Arc<Desk>) -> Self {
        Self(HERE.replace(Some(Arc::clone(desk))))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        HERE.set(self.0.take());
    }
}

/// So many in a row; a turn is a few microseconds.
const TURNS: usize = 64;
