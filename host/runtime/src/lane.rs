//! The slow lane: calls that have computed for long go on here, behind all others.
//!
//! Calls share the worker threads of the async runtime. One that computes gives way every 10 ms, but a few dozen such
//! calls would still make everybody wait for their turns. So a call that has computed for some 30 ms (see `control`)
//! moves to threads of lower priority: on an idle machine it is as quick as before, on a busy one it gets what others
//! leave, a tenth at the least. What it calls runs there too. Bound: as many threads as CPUs.

use std::{
    future::poll_fn,
    panic,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};

use crate::control::Control;

/// The threads.
pub(crate) struct SlowLane {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

impl SlowLane {
    pub(crate) fn new() -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("marquee-slow")
            .on_thread_start(|| {
                // On Linux it is the thread's alone. Where it is refused, slow calls are as quick as others.
                if let Err(error) = rustix::process::nice(NICE) {
                    tracing::debug!(%error, "the slow lane has the priority of the others");
                }
            })
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Do the work of a call: here, and on the slow lane from the moment that it has computed for long.
    pub(crate) async fn drive<T: Send + 'static>(
        &self,
        control: &Control,
        mut work: BoxFuture<'static, T>,
    ) -> T {
        let here = |cx: &mut Context<'_>| {
            if control.computes() {
                Poll::Ready(None)
            } else {
                work.as_mut().poll(cx).map(Some)
            }
        };
        if let Some(result) = poll_fn(here).await {
            return result;
        }
        let Some(runtime) = &self.runtime else {
            return work.await;
        };
        match runtime.spawn(work).await {
            Ok(result) => result,
            // Nobody cancels it, and the lane outlives the calls on it.
            Err(error) => panic::resume_unwind(error.into_panic()),
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

/// To the scheduler a tenth of a thread that is not nice.
const NICE: i32 = 10;
