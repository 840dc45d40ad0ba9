//! The bytes of a version as they come over a connection, for a thread that may block.
//!
//! Bounds: the size, the time between two pieces, a piece in memory.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::body::Body;
use futures::{Stream, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::documents::UPLOAD_BYTES;

/// What a body yields. To be read on a thread that may block.
pub(super) fn reader(body: Body) -> impl Read + Send {
    let pieces = Limited::new(body, UPLOAD_BYTES).into_data_stream();
    let pieces = in_time(pieces.map_err(io::Error::other));
    SyncIoBridge::new(StreamReader::new(Box::pin(pieces)))
}

/// Whether this is what a reader says of a body that is too large.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<LengthLimitError>())
}

/// The same pieces; an error where one does not come in time.
fn in_time<T: Send>(
    pieces: impl Stream<Item = io::Result<T>> + Send + Unpin,
) -> impl Stream<Item = io::Result<T>> + Send {
    stream::try_unfold(pieces, async |mut pieces| {
        match tokio::time::timeout(PATIENCE, pieces.try_next()).await {
            Ok(piece) => Ok(piece?.map(|piece| (piece, pieces))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}

/// Who sends nothing for so long has gone, and holds a place that others wait for.
const PATIENCE: Duration = Duration::from_secs(10);
