//! Bodies: a request's has to come at a rate; an answer's keeps what has to be held until its last byte is taken.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{
    Limits,
    pulse::{Flight, Waiting},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, which fails where its client is too slow.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    /// So long nobody has to send anything.
    grace: Duration,
    /// Then, bytes a second.
    rate: u64,
    /// How long somebody has waited for the client.
    waited: Duration,
    /// Somebody waits since then.
    since: Option<Instant>,
    /// When the client has been too slow.
    timer: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

/// How far a request's body is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    is_slow: AtomicBool,
    /// Bytes.
    taken: AtomicU64,
}

/// The client sends its body too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the client sends its body too slowly")]
pub(crate) struct TooSlow;

impl RequestBody {
    pub(super) fn new(body: Incoming, limits: &Limits) -> Self {
        Self {
            body,
            grace: limits.header_timeout,
            rate: limits.body_rate,
            waited: Duration::ZERO,
            since: None,
            timer: None,
            progress: Arc::default(),
        }
    }

    /// Tells, also when the body is gone.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Only the time counts in which somebody waits for the client.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            let taken = self.progress.taken();
            let earned = Duration::from_millis(taken.saturating_mul(1_000) / self.rate.max(1));
            let at = now + (self.grace + earned).saturating_sub(self.waited);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                none => *none = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Progress {
    /// Whether the client was too slow.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// How many bytes somebody has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_too_slow(cx));
            self.progress.is_slow.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(TooSlow.into())));
        };
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let more = data.len() as u64;
            self.progress.taken.fetch_add(more, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that keeps something until it is dropped.
#[derive(Debug)]
pub struct Held<B, T> {
    body: B,
    _held: T,
}

impl<B, T> Held<B, T> {
    pub(crate) fn new(body: B, held: T) -> Self {
        Self { body, _held: held }
    }

    /// Itself.
    pub(crate) fn body(&self) -> &B {
        &self.body
    }
}

impl<B: Body + Unpin, T: Unpin> Body for Held<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which tells whether it waits for its client.
pub(super) struct Answer<B> {
    body: B,
    /// What of a large piece is not sent yet.
    rest: Bytes,
    /// Over HTTP/2.
    waiting: Option<Arc<Waiting>>,
    _flight: Flight,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, waiting: Option<Arc<Waiting>>, flight: Flight) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            waiting,
            _flight: flight,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        // Over HTTP/1.1 the connection itself tells.
        let Some(waiting) = &this.waiting else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        waiting.end();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        // hyper asks for more when this is on its way: in small pieces, who reads slowly is not taken for who does not.
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        waiting.begin();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// As a frame of HTTP/2.
const PIECE: usize = 16 * 1024;
