//! The slow lane: calls that have computed for long go on here, behind all others.
//!
//! Calls share the worker threads of the async runtime. One that computes gives way at each tick, but a few dozen such
//! calls would still make everybody wait for their turns. So a call that has computed for some 3 ms (see `control`)
//! moves, with its instance, to threads of another sort: of a low priority, and at rest for as long as the threads of short
//! calls are seen to wait for a CPU (`waits`, `pace`), since even such a thread is in the way of others that wake up. On an
//! idle machine it is as quick as before. What it calls runs here too, and the instance goes back when the call is over.
//! There is a thread less than there are CPUs, so that one is never theirs.

mod pace;
mod waits;

use std::{
    cell::Cell,
    future::poll_fn,
    num::NonZero,
    panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

use crate::{control::Control, turns};
use pace::Others;

/// The threads, and the calls on them.
pub(crate) struct SlowLane {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    /// Where calls begin.
    main: OnceLock<Handle>,
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
    /// What this thread has worked since its last rest. None: it is no thread of the slow lane.
    static WORKED: Cell<Option<Duration>> = const { Cell::new(None) };
}

impl SlowLane {
    /// One for some of the calls that are counted here.
    pub(crate) fn new(all: &TaskTracker) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(background_threads())
            .thread_name("marquee-slow")
            .on_thread_start(|| {
                WORKED.set(Some(Duration::ZERO));
                // On Linux it is the thread's alone. Where it is refused, rests have to do.
                if let Err(error) = rustix::process::nice(NICE) {
                    tracing::debug!(%error, "the slow lane has the priority of the others");
                }
            })
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            main: OnceLock::new(),
            pace: Arc::new(Pace {
                all: all.clone(),
                slow: AtomicUsize::new(0),
            }),
        })
    }

    /// Where the first call of all begins, and where what goes on by itself belongs, whoever it was begun by.
    pub(crate) fn main(&self) -> &Handle {
        self.main.get_or_init(Handle::current)
    }

    /// Drive an instance to its end: here, and on the slow lane while a call in it has computed for long.
    pub(crate) async fn drive(&self, control: &Arc<Control>, mut work: BoxFuture<'static, ()>) {
        loop {
            let here = |cx: &mut Context<'_>| {
                waits::join();
                if control.computes() {
                    Poll::Ready(false)
                } else {
                    let turn = || control.turn(|| work.as_mut().poll(cx));
                    turns::turn(turn).map(|()| true)
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
    WORKED.get().is_some()
}

impl Pace {
    /// Work for a moment; then rest, if the others need the machine.
    fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        let worked = begun.elapsed() + WORKED.get().unwrap_or_default();
        if worked < SLICE {
            WORKED.set(Some(worked));
            return done;
        }
        WORKED.set(Some(Duration::ZERO));
        let rest = pace::rest(worked.min(SLICE * 4), self.others());
        if !rest.is_zero() {
            #[expect(
                clippy::disallowed_methods,
                reason = "the thread is to stand still, with all that is on it"
            )]
            thread::sleep(rest);
        }
        done
    }

    fn others(&self) -> Others {
        match waits::lately() {
            Some(waits) => Others::Waited(waits),
            None => Others::UnderWay(self.all.len() > self.slow.load(Ordering::Relaxed)),
        }
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
const SLICE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_slow_call_makes_lives_on_the_threads_of_all() {
        let lane = Arc::new(SlowLane::new(&TaskTracker::new()).expect("threads"));
        let is_slow = |lane: &SlowLane| lane.main().spawn(async { is_here() });
        assert!(!is_slow(&lane).await.expect("it ends"), "of a quick call");
        let slow = Arc::clone(&lane);
        let made = lane
            .runtime
            .as_ref()
            .expect("it is there")
            .spawn(async move {
                assert!(is_here());
                is_slow(&slow).await
            });
        let made = made.await.expect("it ends");
        assert!(!made.expect("it ends"), "of a slow one");
    }
}
