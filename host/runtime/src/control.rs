//! What a store and the task that drives its calls tell each other.
//!
//! A guest's future is never dropped half-way while it can be ended in order: the task says that the call is over, a
//! guest that computes is interrupted at the next tick of the epoch, and one that waits returns at once.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::Poll,
};

use rustix::time::{ClockId, clock_gettime};

/// Of one store. Its calls come one after the other, and each has its turns on one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct Control {
    over: AtomicBool,
    /// A tick of the epoch has met the call while it computed.
    met: AtomicBool,
    /// The CPU time of the thread, in microseconds, from which this turn of the call is counted.
    since_us: AtomicU64,
    /// What the call has taken of a CPU since the first tick that met it, in microseconds.
    taken_us: AtomicU64,
}

impl Control {
    /// A call begins.
    pub(crate) fn begin(&self) {
        self.met.store(false, Ordering::Relaxed);
        self.taken_us.store(0, Ordering::Relaxed);
    }

    /// The call is over, and the store with it.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The call computes at a tick of the epoch. Whether this is the first that meets it.
    pub(crate) fn tick(&self) -> bool {
        let first = !self.met.swap(true, Ordering::Relaxed);
        if first {
            self.since_us.store(thread_cpu_us(), Ordering::Relaxed);
        }
        first
    }

    /// The call's turn on this thread, counted from the first tick that meets the call. Most calls end before it: they
    /// do not pay for the clock.
    pub(crate) fn turn<T>(&self, turn: impl FnOnce() -> T) -> T {
        if self.met.load(Ordering::Relaxed) {
            self.since_us.store(thread_cpu_us(), Ordering::Relaxed);
        }
        let done = turn();
        if self.met.load(Ordering::Relaxed) {
            let taken = thread_cpu_us().saturating_sub(self.since_us.load(Ordering::Relaxed));
            self.taken_us.fetch_add(taken, Ordering::Relaxed);
        }
        done
    }

    /// Whether the call has computed for longer than calls do that share their thread with others.
    pub(crate) fn computes(&self) -> bool {
        self.taken_us.load(Ordering::Relaxed) >= LONG_US
    }

    /// What the work comes to, or an error as soon as the call is over.
    pub(crate) async fn unless_over<T>(
        &self,
        work: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if self.is_over() {
                Poll::Ready(Err(wasmtime::Error::msg("the call is over")))
            } else {
                work.as_mut().poll(cx)
            }
        })
        .await
    }
}

/// What this thread has taken of a CPU, in microseconds. By the wall clock, a thread that waits for its CPU would seem to
/// compute.
fn thread_cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let us = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000;
    u64::try_from(us).unwrap_or(0)
}

/// With what it took until its first tick, 1.5 to 3.5 ms: more than almost every request and batch takes of a CPU. Less
/// than the 2 ms from one tick to the next, so that one who computes moves at its second tick.
const LONG_US: u64 = 1_500;

#[cfg(test)]
mod tests {
    use super::*;

    /// Until this thread has taken so much of a CPU.
    fn compute(us: u64) {
        let until = thread_cpu_us() + us;
        while thread_cpu_us() < until {}
    }

    #[test]
    fn what_a_call_takes_of_a_cpu_counts_from_the_first_tick_that_meets_it() {
        let control = Control::default();
        control.turn(|| compute(2 * LONG_US));
        assert!(!control.computes(), "no tick met it");

        control.turn(|| {
            assert!(control.tick(), "the first");
            compute(LONG_US / 2);
        });
        assert!(!control.computes(), "half of it is left");

        control.turn(|| compute(LONG_US));
        assert!(control.computes());

        control.begin();
        assert!(!control.computes(), "another call");
        control.turn(|| assert!(control.tick(), "the first again"));
    }

    #[test]
    fn many_short_turns_count_as_one_long_one() {
        let control = Control::default();
        control.tick();
        for _ in 0..10 {
            control.turn(|| compute(LONG_US / 8));
        }
        assert!(control.computes());
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that waits is what is tried"
    )]
    fn waiting_for_a_cpu_does_not_count() {
        let control = Control::default();
        control.turn(|| {
            control.tick();
            std::thread::sleep(std::time::Duration::from_micros(20 * LONG_US));
        });
        assert!(!control.computes());
    }
}
