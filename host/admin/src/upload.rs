//! The bytes of a version as they come over a connection, for a thread that may block.
//!
//! Bounds: the size, the time between two pieces, the time for all of them, a piece in memory. It ends when the host
//! stops.

use std::io::{self, Read};

use axum::body::Body;
#[cfg(test)]
use futures::StreamExt as _;
use futures::{Stream, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Duration, Instant};
use tokio_util::{
    io::{StreamReader, SyncIoBridge},
    sync::CancellationToken,
};

use crate::documents::UPLOAD_BYTES;

/// What a body yields. To be read on a thread that may block.
pub(crate) fn reader(body: Body, stop: CancellationToken) -> impl Read + Send {
    let pieces = Limited::new(body, UPLOAD_BYTES).into_data_stream();
    let pieces = in_time(pieces.map_err(io::Error::other), stop);
    SyncIoBridge::new(StreamReader::new(Box::pin(pieces)))
}

/// Whether this is what a reader says of a body that is too large.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<LengthLimitError>())
}

/// The same pieces; an error where one does not come in time, or the host stops.
fn in_time<T: Send>(
    pieces: impl Stream<Item = io::Result<T>> + Send + Unpin,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<T>> + Send {
    let end = Instant::now() + ALL;
    stream::try_unfold((pieces, stop, end), async |(mut pieces, stop, end)| {
        let until = end.min(Instant::now() + PATIENCE);
        let next = tokio::time::timeout_at(until, pieces.try_next());
        match stop.run_until_cancelled(next).await {
            Some(Ok(piece)) => Ok(piece?.map(|piece| (piece, (pieces, stop, end)))),
            Some(Err(_)) => Err(io::ErrorKind::TimedOut.into()),
            None => Err(io::Error::other("the host is stopping")),
        }
    })
}

/// Who sends nothing for so long has gone, and holds a place that others wait for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest component at 100 KiB a second.
const ALL: Duration = Duration::from_secs(330);

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A byte a second, for ever.
    fn trickle() -> impl Stream<Item = io::Result<u8>> + Send + Unpin {
        let pieces = stream::repeat(0_u8).then(async |byte| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(byte)
        });
        Box::pin(pieces)
    }

    async fn drain(pieces: impl Stream<Item = io::Result<u8>>) -> (usize, io::Error) {
        let mut pieces = Box::pin(pieces);
        for count in 0.. {
            match pieces.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it goes on for ever"),
                Err(error) => return (count, error),
            }
        }
        unreachable!("it ends with an error")
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_trickles_is_ended_in_the_end() {
        let begun = Instant::now();
        let (count, error) = drain(in_time(trickle(), CancellationToken::new())).await;
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), ALL);
        assert!(count > 300, "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_ends_when_nothing_comes_and_when_the_host_stops() {
        let begun = Instant::now();
        let nothing = Box::pin(stream::pending());
        let (_, error) = drain(in_time(nothing, CancellationToken::new())).await;
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PATIENCE);

        let stop = CancellationToken::new();
        stop.cancel();
        let (count, error) = drain(in_time(trickle(), stop)).await;
        assert_eq!(
            (count, error.to_string().as_str()),
            (0, "the host is stopping")
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_pieces_is_read_as_it_was_sent(
            pieces in vec(mangled([&b"\0asm\x0d\0\x01\0"[..], &[7; 40_000]]), 0..6),
            broken in any::<bool>(),
        ) {
            let sent = pieces.concat();
            let end = broken.then(|| Err(io::Error::other("gone")));
            let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok).chain(end)));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (read, result) = runtime.block_on(async {
                let mut reader = reader(body, CancellationToken::new());
                let read = tokio::task::spawn_blocking(move || {
                    let mut bytes = Vec::new();
                    let result = reader.read_to_end(&mut bytes);
                    (bytes, result)
                });
                read.await.unwrap()
            });
            prop_assert_eq!(read, sent);
            // A component that broke off is none.
            prop_assert_eq!(result.is_err(), broken);
        }
    }
}
