//! The slow lane: calls that have computed for long go on here, behind all others.
//!
//! Calls share the worker threads of the async runtime. One that computes gives way at each tick, but a few dozen such
//! calls would still make everybody wait for their turns. So a call that has computed for some 3 ms (see `control`)
//! moves to threads of another sort: of a low priority, and at rest from time to time while other calls are under way,
//! since even such a thread is in the way of others that wake up. It rests for long where the others wait for their
//! turns, and where it had the kernel work for it (memory that it takes), whose locks are everybody's; what only
//! computes on a machine with time to spare rests little. What it calls runs here too. There is a thread less than
//! there are CPUs, so that one is never theirs.

use std::{
    cell::Cell,
    future::poll_fn,
    num::NonZero,
    panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tokio::runtime::{Builder, Handle, Runtime};
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
    /// Where the others run.
    others: OnceLock<Handle>,
}

thread_local! {
    /// What this thread has done since its last rest. None: it is no thread of the slow lane.
    static DONE: Cell<Option<Done>> = const { Cell::new(None) };
}

/// What a thread has done.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    /// Since its last rest, by the clock.
    worked: Duration,
    /// What the kernel had worked for it until then.
    kernel: Duration,
}

impl SlowLane {
    /// One for some of the calls that are counted here.
    pub(crate) fn new(all: &TaskTracker) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(background_threads())
            .thread_name("marquee-slow")
            .on_thread_start(|| {
                DONE.set(Some(Done::default()));
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
                others: OnceLock::new(),
            }),
        })
    }

    /// Do the work of a call: here, and on the slow lane from the moment that it has computed for long.
    pub(crate) async fn drive<T: Send + 'static>(
        &self,
        control: &Control,
        mut work: BoxFuture<'static, T>,
    ) -> T {
        let here = |cx: &mut Context<'_>| {
            if control.computes() || DONE.get().is_some() {
                Poll::Ready(None)
            } else {
                control.turn(|| work.as_mut().poll(cx)).map(Some)
            }
        };
        if let Some(result) = poll_fn(here).await {
            return result;
        }
        let Some(runtime) = &self.runtime else {
            return work.await;
        };
        let pace = Arc::clone(&self.pace);
        if DONE.get().is_none() {
            pace.others.get_or_init(Handle::current);
        }
        pace.slow.fetch_add(1, Ordering::Relaxed);
        let paced = async move { poll_fn(|cx| pace.work(|| work.as_mut().poll(cx))).await };
        let result = runtime.spawn(paced).await;
        self.pace.slow.fetch_sub(1, Ordering::Relaxed);
        match result {
            Ok(result) => result,
            // Nobody cancels it, and the lane outlives the calls on it.
            Err(error) => panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Pace {
    /// Work for a moment; then rest, as far as the others need the machine.
    fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        let mut done = DONE.get().unwrap_or_default();
        done.worked += begun.elapsed();
        if done.worked < SLICE {
            DONE.set(Some(done));
            return result;
        }
        let kernel = kernel_time();
        if self.all.len() > self.slow.load(Ordering::Relaxed) {
            stand_still(rest(kernel.saturating_sub(done.kernel), self.wait()));
        }
        DONE.set(Some(Done {
            worked: Duration::ZERO,
            kernel,
        }));
        result
    }

    /// How long a short call waits for its turn now. This thread stands still meanwhile.
    fn wait(&self) -> Duration {
        let Some(others) = self.others.get() else {
            return Duration::ZERO;
        };
        let (answer, answered) = mpsc::sync_channel(1);
        let asked = Instant::now();
        others.spawn(async move {
            // Nobody waits for it any more where it took too long.
            let _ = answer.try_send(asked.elapsed());
        });
        answered.recv_timeout(LONGEST_REST).unwrap_or(LONGEST_REST)
    }
}

/// How long to rest after a slice in which the kernel worked so long, while a short call waits so long for its turn.
fn rest(kernel: Duration, wait: Duration) -> Duration {
    (kernel * KERNEL_REST + wait * WAIT_REST).min(LONGEST_REST)
}

fn stand_still(rest: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread is to stand still, with all that is on it"
    )]
    thread::sleep(rest);
}

/// What the kernel has worked for this thread.
fn kernel_time() -> Duration {
    let us = getrusage(UsageWho::RUSAGE_THREAD)
        .map_or(0, |usage| usage.system_time().num_microseconds());
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
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
/// Times what the kernel worked. With less, a component that takes memory without end ten times a second comes near to
/// doubling its neighbours' p99 on two CPUs: its page faults are the kernel's work, in the address space of all.
const KERNEL_REST: u32 = 7;
/// Times what a short call waits. Some 30 us on a machine with time to spare: nine tenths of it can be had. Where it is a
/// millisecond, an eighth.
const WAIT_REST: u32 = 14;
/// However busy the others are, what computes gets somewhere.
const LONGEST_REST: Duration = Duration::from_millis(56);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_by_how_long_others_wait_and_by_what_the_kernel_did_for_it() {
        let us = Duration::from_micros;
        let share = |rest: Duration| SLICE.as_secs_f64() / (SLICE + rest).as_secs_f64();
        assert!(share(rest(us(0), us(10))) > 0.9, "nobody waits");
        assert!(share(rest(us(0), us(1_000))) < 0.13, "others wait");
        assert!(share(rest(SLICE, us(10))) < 0.13, "all was the kernel's");
        assert_eq!(rest(us(0), us(1_000_000)), LONGEST_REST);
    }

    #[test]
    fn a_full_machine_is_seen_by_how_long_a_short_call_waits() {
        let others = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        let pace = Pace {
            all: TaskTracker::new(),
            slow: AtomicUsize::new(0),
            others: OnceLock::from(others.handle().clone()),
        };
        let (begun, has_begun) = mpsc::sync_channel(1);
        let (end, ended) = mpsc::sync_channel::<()>(1);
        others.spawn(async move {
            let _ = begun.send(());
            let _ = ended.recv();
        });
        has_begun.recv().expect("it runs");
        assert_eq!(pace.wait(), LONGEST_REST);
        drop(end);
    }
}
