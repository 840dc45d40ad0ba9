//! An answer's body that is looked at on its way out, where requests have lines.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Entry;

/// A body, and what is remembered of its request. Dropped, the line is written.
pub(crate) struct Logged<B: Body> {
    body: B,
    /// None: the request has no line.
    entry: Option<Box<Entry>>,
}

impl<B: Body> Logged<B> {
    pub(crate) fn new(body: B, entry: Option<Box<Entry>>) -> Self {
        Self { body, entry }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Logged<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(entry) = &mut self.entry {
            entry.sees(frame.as_ref());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for Logged<B> {
    fn drop(&mut self) {
        if let Some(entry) = &mut self.entry
            && self.body.is_end_stream()
        {
            entry.is_over();
        }
    }
}
