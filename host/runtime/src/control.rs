//! What an instance, its callers and the clock tell each other.
//!
//! A guest's future is never dropped half-way while it can be ended in order: whoever wants a call ended says so here, a
//! guest that computes is interrupted at the next tick of the epoch, and one that waits returns at once. An instance runs
//! one call at a time, and has its turns on one thread at a time.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Sleep;

/// Of one instance.
#[derive(Debug)]
pub(crate) struct Control {
    /// The last call that began: they are numbered from 1.
    last: AtomicU64,
    /// The call under way; 0: none is.
    call: AtomicU64,
    /// The last call of which its caller has said that it needs no answer.
    given_up: AtomicU64,
    /// Nothing of this version is to be under way any more.
    stopped: AtomicBool,
    /// The store ends, and what runs in it.
    over: AtomicBool,
    /// When the call has to have ended, or one that waits for calls has waited long enough; in microseconds of [`now_us`].
    until_us: AtomicU64,
    /// The task that drives it.
    task: AtomicWaker,
    /// Linear memory, in bytes.
    memory_bytes: AtomicU64,
    /// A tick of the epoch has met the call while it computed.
    met: AtomicBool,
    /// The CPU time of the thread, in microseconds, from which this turn of the call is counted.
    since_us: AtomicU64,
    /// What the call has taken of a CPU since the first tick that met it, in microseconds.
    taken_us: AtomicU64,
}

/// Why what an instance does is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The call's time is over. For an instance that waits for calls: it waited long enough.
    Late,
    /// Nobody needs the call.
    GivenUp,
}

impl Control {
    /// Of an instance that has this long to have its first call.
    pub(crate) fn new(patience: Duration) -> Self {
        let control = Self {
            last: AtomicU64::new(0),
            call: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            over: AtomicBool::new(false),
            until_us: AtomicU64::new(0),
            task: AtomicWaker::new(),
            memory_bytes: AtomicU64::new(0),
            met: AtomicBool::new(false),
            since_us: AtomicU64::new(0),
            taken_us: AtomicU64::new(0),
        };
        control.rest(patience);
        control
    }

    /// The number of a call that is about to be handed over. Whoever does that is alone in doing so.
    pub(crate) fn next_call(&self) -> u64 {
        self.last.load(Ordering::Relaxed) + 1
    }

    /// This call begins, behind others if what called it stands behind them.
    pub(crate) fn begin(&self, call: u64, deadline: Instant, behind: bool) {
        let deadline = deadline.saturating_duration_since(*START);
        self.until_us.store(micros(deadline), Ordering::Relaxed);
        self.made(behind);
        self.last.store(call, Ordering::Relaxed);
        self.call.store(call, Ordering::Release);
    }

    /// The instance for the call under way is to be made behind others: that takes long.
    pub(crate) fn fall_behind(&self) {
        self.taken_us.store(LONG_US, Ordering::Relaxed);
    }

    /// It is made. What that took is not the call's.
    pub(crate) fn made(&self, behind: bool) {
        self.met.store(false, Ordering::Relaxed);
        let taken = if behind { LONG_US } else { 0 };
        self.taken_us.store(taken, Ordering::Relaxed);
    }

    /// No call is under way, and one is waited for.
    pub(crate) fn rest(&self, patience: Duration) {
        self.call.store(0, Ordering::Relaxed);
        let until = now_us().saturating_add(micros(patience));
        self.until_us.store(until, Ordering::Relaxed);
        self.met.store(false, Ordering::Relaxed);
        self.taken_us.store(0, Ordering::Relaxed);
    }

    /// The caller of this call needs no answer.
    pub(crate) fn give_up(&self, call: u64) {
        self.given_up.fetch_max(call, Ordering::Release);
        self.task.wake();
    }

    /// End what is under way, and begin nothing.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.task.wake();
    }

    /// The store ends.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The deadline of what is under way has passed.
    pub(crate) fn is_late(&self) -> bool {
        now_us() >= self.until_us.load(Ordering::Relaxed)
    }

    /// Until when it waits for a call, where it does; only to be compared.
    pub(crate) fn waits_until(&self) -> u64 {
        self.until_us.load(Ordering::Relaxed)
    }

    /// Linear memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Wait until what is under way has to be ended by whoever drives it: the guest was to see the deadline before.
    ///
    /// The timer is set anew when it goes off or has to go off earlier, and not by each call: they all have their time from
    /// when they begin, so a timer that was set by one goes off before the time of the next ones is over.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        self.task.register(cx.waker());
        let call = self.call.load(Ordering::Acquire);
        let given_up = self.given_up.load(Ordering::Acquire);
        if self.stopped.load(Ordering::Acquire) || (call > 0 && given_up >= call) {
            return Poll::Ready(End::GivenUp);
        }
        // The clock is read when the timer has gone off only: this is asked at each turn.
        loop {
            let until =
                *START + Duration::from_micros(self.until_us.load(Ordering::Relaxed)) + GRACE;
            if timer.deadline().into_std() > until {
                timer.as_mut().reset(until.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= until {
                return Poll::Ready(End::Late);
            }
            timer.as_mut().reset(until.into());
        }
    }

    /// What the work comes to, or an error as soon as the store ends.
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
}

/// Since this process first asked.
fn now_us() -> u64 {
    micros(START.elapsed())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2)
}

/// What something comes to, and whether it takes as much of a CPU as a call that moves behind others: be it all in one turn, which
/// no tick meets.
pub(crate) async fn weighed<T>(work: impl Future<Output = T>) -> (T, bool) {
    let mut work = pin!(work);
    let mut taken_us = 0;
    let done = poll_fn(|cx| {
        let begun_us = thread_cpu_us();
        let done = work.as_mut().poll(cx);
        taken_us += thread_cpu_us().saturating_sub(begun_us);
        done
    })
    .await;
    (done, taken_us >= 2 * LONG_US)
}

/// What this thread has taken of a CPU, in microseconds. By the wall clock, a thread that waits for its CPU would seem to
/// compute.
fn thread_cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let us = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000;
    u64::try_from(us).unwrap_or(0)
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// What a call gets past its deadline to end by itself: its own deadlines for statements and requests come first.
pub(crate) const GRACE: Duration = Duration::from_millis(100);
/// With what it took until its first tick, 1.5 to 3.5 ms: more than almost every request and batch takes of a CPU. Less
/// than the 2 ms from one tick to the next, so that one who computes moves at its second tick.
const LONG_US: u64 = 1_500;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Until this thread has taken so much of a CPU.
    fn compute(us: u64) {
        let until = thread_cpu_us() + us;
        while thread_cpu_us() < until {}
    }

    fn begun() -> Control {
        let control = Control::new(Duration::ZERO);
        control.begin(1, Instant::now(), false);
        control
    }

    #[test]
    fn what_a_call_takes_of_a_cpu_counts_from_the_first_tick_that_meets_it() {
        let control = begun();
        control.turn(|| compute(2 * LONG_US));
        assert!(!control.computes(), "no tick met it");

        control.turn(|| {
            assert!(control.tick(), "the first");
            compute(LONG_US / 2);
        });
        assert!(!control.computes(), "half of it is left");

        control.turn(|| compute(LONG_US));
        assert!(control.computes());

        control.begin(2, Instant::now(), false);
        assert!(!control.computes(), "another call");
        control.turn(|| assert!(control.tick(), "the first again"));

        control.begin(3, Instant::now(), true);
        assert!(control.computes(), "what called it does");
        control.rest(Duration::ZERO);
        assert!(!control.computes(), "it waits for the next one");
    }

    #[test]
    fn many_short_turns_count_as_one_long_one() {
        let control = begun();
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
        let control = begun();
        control.turn(|| {
            control.tick();
            std::thread::sleep(Duration::from_micros(20 * LONG_US));
        });
        assert!(!control.computes());
    }

    #[tokio::test]
    async fn what_is_given_up_ends_and_the_call_after_it_does_not() {
        let control = Control::new(Duration::from_secs(60));
        let mut timer = pin!(tokio::time::sleep(Duration::from_secs(60)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut end = || control.poll_end(&mut cx, timer.as_mut());
        assert!(end().is_pending(), "it waits for its first call");
        let deadline = Instant::now() + Duration::from_secs(10);
        control.begin(1, deadline, false);
        assert!(end().is_pending());
        control.give_up(1);
        assert_eq!(end(), Poll::Ready(End::GivenUp));
        control.begin(2, deadline, false);
        assert!(end().is_pending(), "another call");
        control.rest(Duration::from_secs(60));
        control.give_up(2);
        assert!(end().is_pending(), "it is over already");
        control.stop();
        assert_eq!(end(), Poll::Ready(End::GivenUp));
    }
}
