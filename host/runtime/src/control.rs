//! What a store and the task that drives its calls tell each other.
//!
//! A guest's future is never dropped half-way while it can be ended in order: the task says that the call is over, a
//! guest that computes is interrupted at the next tick of the epoch, and one that waits returns at once.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    task::Poll,
};

/// Of one store. Its calls come one after the other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    over: AtomicBool,
    /// Ticks at which the call computed: each stands for as much of a CPU, more or less.
    computed: AtomicU32,
}

impl Control {
    /// A call begins.
    pub(crate) fn begin(&self) {
        self.computed.store(0, Ordering::Relaxed);
    }

    /// The call is over, and the store with it.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The guest computes at a tick of the epoch. At how many it did in this call.
    pub(crate) fn computed(&self) -> u32 {
        self.computed
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// Whether the call has computed for longer than calls do that share their thread with others.
    pub(crate) fn computes(&self) -> bool {
        self.computed.load(Ordering::Relaxed) >= LONG
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

/// In ticks, 10 ms together: longer than almost every request and batch takes of a CPU, and no chance, by which a tick
/// meets a call that computes little.
const LONG: u32 = 5;
