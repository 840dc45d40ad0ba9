//! Whether a connection lives: what it waits for, and since when.
//!
//! Looked at a few times in the shortest of its bounds; what happens in between costs a word in memory. Not here: what to do
//! about it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{self, AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::Limits;

/// Of one connection.
pub(super) struct Pulse {
    begun: Instant,
    /// A request has come.
    asked: AtomicBool,
    is_http2: AtomicBool,
    /// Requests that are not answered to the end.
    under_way: AtomicUsize,
    /// Requests that the client gave up, less those that it waited for.
    given_up: AtomicUsize,
    /// It gave up too many.
    restless: Notify,
    /// The first byte of a head that is not complete.
    head: Mark,
    /// The last thing that it did for a client.
    quiet: Mark,
    /// The client takes nothing.
    blocked: Mark,
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Fine,
    /// Nobody needs it.
    Idle,
    /// Nobody will need it, or nobody should.
    Dead(&'static str),
}

/// A request that is under way, until it is dropped.
pub(super) struct Flight {
    pulse: Arc<Pulse>,
    answered: bool,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            asked: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            restless: Notify::new(),
            head: Mark::default(),
            quiet: Mark::default(),
            blocked: Mark::default(),
        })
    }

    /// A request has come.
    pub(super) fn take_off(self: &Arc<Self>, is_http2: bool) -> Flight {
        self.asked.store(true, Relaxed);
        self.is_http2.store(is_http2, Relaxed);
        self.under_way.fetch_add(1, Relaxed);
        self.head.clear();
        Flight {
            pulse: Arc::clone(self),
            answered: false,
        }
    }

    /// Whether a request has come.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// When the client gives up one request after the other, each of which costs more to begin than to ask.
    pub(super) async fn restless(&self) {
        self.restless.notified().await;
    }

    pub(super) fn look(&self, limits: &Limits) -> Look {
        let longer = |mark: &Mark, than| mark.since(self.begun).is_some_and(|since| since > than);
        if longer(&self.blocked, limits.write_timeout) {
            return Look::Dead("its client takes nothing");
        }
        if self.under_way.load(Relaxed) > 0 {
            return Look::Fine;
        }
        if !self.was_asked() {
            return if self.begun.elapsed() > limits.header_timeout {
                Look::Dead("its client asked nothing")
            } else {
                Look::Fine
            };
        }
        // Over HTTP/2 what comes may be anything.
        if !self.is_http2.load(Relaxed) && longer(&self.head, limits.header_timeout) {
            return Look::Dead("its client does not get to the end of a request's head");
        }
        if longer(&self.quiet, limits.keep_alive + limits.write_timeout) {
            Look::Dead("its client does not let it end")
        } else if longer(&self.quiet, limits.keep_alive) {
            Look::Idle
        } else {
            Look::Fine
        }
    }

    fn has_read(&self) {
        if self.under_way.load(Relaxed) == 0 {
            self.head.begin(self.begun);
        }
    }

    fn has_written<T>(&self, written: &Poll<io::Result<T>>) {
        if written.is_pending() {
            self.blocked.begin(self.begun);
            return;
        }
        self.blocked.clear();
        // The host's own pings are no sign of life.
        if !self.is_http2.load(Relaxed) {
            self.quiet.set(self.begun);
        }
    }
}

impl Flight {
    /// It has its answer: whoever leaves now has not given it up.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        let given_up = &self.pulse.given_up;
        // Lost between two of them, it is one more or less.
        given_up.store(given_up.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let pulse = &self.pulse;
        if !self.answered && pulse.given_up.fetch_add(1, Relaxed) + 1 == GIVEN_UP {
            pulse.restless.notify_one();
        }
        pulse.quiet.set(pulse.begun);
        pulse.under_way.fetch_sub(1, Relaxed);
    }
}

/// A moment, or none.
#[derive(Debug, Default)]
pub(super) struct Mark(
    /// Milliseconds since the connection's beginning, and one.
    AtomicU64,
);

impl Mark {
    fn set(&self, begun: Instant) {
        let now = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.0.store(now + 1, Relaxed);
    }

    /// Set it, unless it is.
    pub(super) fn begin(&self, begun: Instant) {
        if self.0.load(Relaxed) == 0 {
            self.set(begun);
        }
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// How long ago it was.
    fn since(&self, begun: Instant) -> Option<Duration> {
        let at = self.0.load(Relaxed).checked_sub(1)?;
        Some(begun.elapsed().saturating_sub(Duration::from_millis(at)))
    }
}

/// One answer over HTTP/2, which may wait for its client while others do not.
#[derive(Debug)]
pub(super) struct Waiting {
    begun: Instant,
    since: Mark,
}

impl Waiting {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            since: Mark::default(),
        })
    }

    /// The client has to take something now.
    pub(super) fn begin(&self) {
        self.since.begin(self.begun);
    }

    /// It has.
    pub(super) fn end(&self) {
        self.since.clear();
    }

    /// When it has waited for so long, or for up to twice as long.
    pub(super) async fn longer_than(&self, patience: Duration) {
        loop {
            let waited = self.since.since(self.begun).unwrap_or_default();
            if waited >= patience {
                return;
            }
            tokio::time::sleep(patience.saturating_sub(waited)).await;
        }
    }
}

/// A stream that tells a pulse what becomes of it.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) pulse: Arc<Pulse>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pulse.has_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pulse.has_written(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.pulse.has_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Requests that a connection may give up beyond those that it waits for.
const GIVEN_UP: usize = 100;
