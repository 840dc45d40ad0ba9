//! What a guest writes to its standard output and error becomes log lines.
//!
//! Bounds: 8 KiB a line, the rest of a longer one is dropped; lines a second of a component, the others are counted and
//! left out, which is said. The lines stand in the span of the call.

use std::{
    io,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use marquee_telemetry::traces::Trace;
use tokio::io::AsyncWrite;
use tracing::field::display;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::Call;

/// How much a component may log.
pub(crate) struct Budget {
    lines: DefaultDirectRateLimiter,
    /// Of being told that lines were left out.
    notices: DefaultDirectRateLimiter,
    /// Lines so far.
    left_out: AtomicU64,
    /// How many of them were told.
    told: AtomicU64,
}

impl Budget {
    pub(crate) fn new(lines_a_second: u32) -> Self {
        let lines = NonZeroU32::new(lines_a_second).unwrap_or(NonZeroU32::MIN);
        Self {
            lines: RateLimiter::direct(Quota::per_second(lines)),
            notices: RateLimiter::direct(Quota::per_second(NonZeroU32::MIN)),
            left_out: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// How many lines were left out so far.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Whether a line may be logged.
    fn spend(&self) -> bool {
        let may = self.lines.check().is_ok();
        if !may {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// How many lines were left out since this was told, if it is to be told again: once a second.
    fn notice(&self) -> Option<u64> {
        let is_news = self.left_out() > self.told.load(Ordering::Relaxed);
        if !is_news || self.notices.check().is_err() {
            return None;
        }
        let left_out = self.left_out();
        let told = self.told.fetch_max(left_out, Ordering::Relaxed);
        Some(left_out.saturating_sub(told))
    }
}

/// Who says something.
pub(crate) struct Speaker {
    component: ComponentId,
    version: Digest,
    /// On whose behalf, now.
    behalf: Mutex<Behalf>,
    /// In a dry run: it is told to whoever looks closely.
    is_dry: AtomicBool,
    budget: Arc<Budget>,
}

/// Whose call it is.
struct Behalf {
    request_id: Arc<str>,
    trace: Trace,
}

impl Speaker {
    pub(crate) fn new(component: ComponentId, version: Digest, budget: Arc<Budget>) -> Self {
        Self {
            component,
            version,
            behalf: Mutex::new(Behalf {
                request_id: Arc::from(""),
                trace: Trace::default(),
            }),
            is_dry: AtomicBool::new(false),
            budget,
        }
    }

    /// From now on it speaks for this one.
    pub(crate) fn speaks_for(&self, call: &Call) {
        self.is_dry.store(call.dry_run.is_some(), Ordering::Relaxed);
        let mut behalf = self.behalf.lock().unwrap_or_else(PoisonError::into_inner);
        *behalf = Behalf::of(call);
    }

    /// The span of its lines. Made for a line that is written, since most calls write none.
    fn span(&self) -> tracing::Span {
        let behalf = self.behalf.lock().unwrap_or_else(PoisonError::into_inner);
        behalf.span(&self.component, self.version)
    }
}

/// What every line that is written about a call has.
pub(crate) fn call_span(call: &Call, component: &ComponentId, version: Digest) -> tracing::Span {
    Behalf::of(call).span(component, version)
}

impl Behalf {
    fn of(call: &Call) -> Self {
        Self {
            request_id: Arc::clone(&call.request_id),
            trace: call.trace.clone(),
        }
    }

    fn span(&self, component: &ComponentId, version: Digest) -> tracing::Span {
        let trace_id = self.trace.trace_id().map(display);
        let span_id = self.trace.span_id().map(display);
        let request_id = &*self.request_id;
        tracing::info_span!("call", request_id, %component, %version, trace_id, span_id)
    }
}

/// One of a guest's two outputs.
#[derive(Clone)]
pub(crate) struct Output {
    is_error: bool,
    speaker: Arc<Speaker>,
}

impl Output {
    pub(crate) fn stdout(speaker: &Arc<Speaker>) -> Self {
        Self {
            is_error: false,
            speaker: Arc::clone(speaker),
        }
    }

    pub(crate) fn stderr(speaker: &Arc<Speaker>) -> Self {
        Self {
            is_error: true,
            ..Self::stdout(speaker)
        }
    }

    fn lines(&self) -> Lines {
        Lines {
            output: self.clone(),
            line: Vec::new(),
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.lines())
    }

    /// Not by way of the other one, which would write from a task of its own, when another call may be under way.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.lines())
    }
}

struct Lines {
    output: Output,
    line: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(text.get(..room).unwrap_or(text));
            if ends {
                self.emit();
            }
        }
    }

    fn emit(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let speaker = &self.output.speaker;
        if speaker.is_dry.load(Ordering::Relaxed) {
            let text = String::from_utf8_lossy(&self.line);
            tracing::debug!(target: "guest", component = %speaker.component, version = %speaker.version, ?text, "in a dry run");
            self.line.clear();
            return;
        }
        if !speaker.budget.spend() {
            self.line.clear();
            return;
        }
        let _span = speaker.span().entered();
        if let Some(left_out) = speaker.budget.notice() {
            tracing::warn!(target: "guest", left_out, "lines were left out: the component logs more than it may");
        }
        // Control characters could forge lines or colours on an operator's terminal.
        let text: String = String::from_utf8_lossy(&self.line)
            .chars()
            .map(|c| {
                if c.is_control() && c != '\t' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        self.line.clear();
        if self.output.is_error {
            tracing::warn!(target: "guest", "{text}");
        } else {
            tracing::info!(target: "guest", "{text}");
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.emit();
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const LINE_BYTES: usize = 8 * 1024;
/// What a guest may write at once.
const WRITE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_may_be_is_left_out_and_counted() {
        let budget = Budget::new(3);
        assert_eq!(budget.notice(), None);
        let spent: Vec<_> = (0..5).map(|_| budget.spend()).collect();
        assert_eq!(spent, [true, true, true, false, false]);
        assert_eq!(budget.notice(), Some(2));
        assert!(!budget.spend());
        assert_eq!(budget.notice(), None, "once a second");
        assert_eq!(budget.left_out(), 3, "in all; the last is told next");
    }
}
