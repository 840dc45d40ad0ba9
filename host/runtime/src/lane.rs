//! The slow lane: calls that have computed for long go on here, behind all others.
//!
//! Calls share the worker threads of the async runtime. One that computes gives way at each tick, but a few dozen such
//! calls would still make everybody wait for their turns. So a call that has computed for some 3 ms (see `control`)
//! moves, with its instance, to threads of another sort: of a low priority, and at rest for seven eighths of the time while
//! other calls are under way, since even such a thread is in the way of others that wake up. On an idle machine it is as
//! quick as before. What it calls runs here too, and the instance goes back when the call is over. There is a thread less than there are CPUs, so that one is never theirs.

use std::{
    cell::Cell,
    future::poll_fn,
    num::NonZero,
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

use crate::control::Control;

/// The threads, and the calls on them.
pub(crate) struct SlowLane {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    pace: Arc<Pace>,
}

/// How the threads divide their time between work and rest.
struct Pace {
    /// Every call under way, on either lane.
    all: TaskTracker,
    /// Those on this one.
    slow: AtomicUsize,
}

thread_local! {
    /// What this thread has worked since its last rest, in microseconds. None: it is no thread of the slow lane.
    static WORKED_US: Cell<Option<u64>> = const { Cell::new(None) };
}

impl SlowLane {
    /// One for some of the calls that are counted here.
    pub(crate) fn new(all: &TaskTracker) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(background_threads())
            .thread_name("marquee-slow")
            .on_thread_start(|| {
                WORKED_US.set(Some(0));
                // On Linux it is the thread's alone. Where it is refused, rests have to do.
                if let Err(error) = rustix::process::nice(NICE) {
                    tracing::debug!(%error, "the slow lane has the priority of the others");
                }
            })
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            pace: Arc::new(Pace {
                all: all.clone(),
                slow: AtomicUsize::new(0),
            }),
        })
    }

    /// Drive an instance to its end: here, and on the slow lane while a call in it has computed for long.
    pub(crate) async fn drive(&self, control: &Arc<Control>, mut work: BoxFuture<'static, ()>) {
        loop {
            let here = |cx: &mut Context<'_>| {
                if control.computes() {
                    Poll::Ready(false)
                } else {
                    control.turn(|| work.as_mut().poll(cx)).map(|()| true)
                }
            };
            if poll_fn(here).await {
                return;
            }
            let Some(runtime) = &self.runtime else {
                return work.await;
            };
            let (pace, control) = (Arc::clone(&self.pace), Arc::clone(control));
            pace.slow.fetch_add(1, Ordering::Relaxed);
            let moved = runtime.spawn(async move {
                let ended = poll_fn(|cx| match pace.work(|| work.as_mut().poll(cx)) {
                    Poll::Ready(()) => Poll::Ready(true),
                    // The call is over, and what comes next is quick until it shows that it is not.
                    Poll::Pending if !control.computes() => Poll::Ready(false),
                    Poll::Pending => Poll::Pending,
                });
                (ended.await, work)
            });
            let moved = moved.await;
            self.pace.slow.fetch_sub(1, Ordering::Relaxed);
            work = match moved {
                Ok((false, work)) => work,
                Ok((true, _)) => return,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => panic::resume_unwind(panic),
                    // The process ends, and this with it.
                    Err(_) => return,
                },
            };
        }
    }
}

/// Whether this is a thread of the slow lane.
pub(crate) fn is_here() -> bool {
    WORKED_US.get().is_some()
}

impl Pace {
    /// Work for a moment; then rest, if the others need the machine.
    fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        let worked = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let worked = worked.saturating_add(WORKED_US.get().unwrap_or(0));
        if worked < SLICE_US {
            WORKED_US.set(Some(worked));
            return done;
        }
        WORKED_US.set(Some(0));
        if self.all.len() > self.slow.load(Ordering::Relaxed) {
            #[expect(
                clippy::disallowed_methods,
                reason = "the thread is to stand still, with all that is on it"
            )]
            thread::sleep(Duration::from_micros(worked.min(SLICE_US * 4) * REST));
        }
        done
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: this may be a thread that must not block, and no call is under way.
            runtime.shutdown_background();
        }
    }
}

/// How many threads what is not urgent may have: one less than there are CPUs, at least one, so that a CPU is left to calls.
pub fn background_threads() -> usize {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    cpus.saturating_sub(1).max(1)
}

/// A tenth of the weight of other threads. At 19 it was a seventieth: on a full machine a log-in, which hashes a password,
/// did not end in time.
const NICE: i32 = 10;
/// About a tick of the epoch: a call that computes is asked no more often.
const SLICE_US: u64 = 2_000;
/// Times what was worked. With less, a component that takes memory without end ten times a second comes near to doubling
/// its neighbours' p99 on two CPUs: its page faults are the kernel's work, in the address space of all.
const REST: u64 = 7;
