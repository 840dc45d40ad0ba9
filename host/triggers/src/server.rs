//! An HTTP/1.1 and HTTP/2 server with bounds on everything that a client sends.
//!
//! Promise: after `stop` no connection is accepted, each open one finishes the request that it is in, and `serve`
//! returns when all are closed. Bounds: connections, headers, the time to read them. Not here: what is answered.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Bounds of what clients may send.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// The time to send the headers of a request, and to begin the first one.
    pub header_timeout: Duration,
    /// All headers of a request together.
    pub header_bytes: usize,
    /// How many headers.
    pub headers: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            header_timeout: Duration::from_secs(5),
            header_bytes: 16 * 1024,
            headers: 64,
            streams: 100,
        }
    }
}

/// Answers requests, with the address that each came from, until `stop`, then lets the open connections end.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    limits: Limits,
    handler: H,
    stop: CancellationToken,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        // The place comes before the connection: what cannot be served is not accepted.
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, or the client went away between the two steps. Not worth a line per client.
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (handler, stop, limits) = (handler.clone(), stop.clone(), limits.clone());
        connections.spawn(async move {
            let _place = place;
            connection(stream, peer, &limits, handler, stop).await;
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection<H, F, B>(
    stream: TcpStream,
    peer: SocketAddr,
    limits: &Limits,
    handler: H,
    stop: CancellationToken,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let asked = Arc::clone(&asked);
        move |request| {
            asked.store(true, Ordering::Relaxed);
            let answer = handler(request, peer);
            async move { Ok::<_, Infallible>(answer.await) }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(limits.header_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Until the version is known no timeout of hyper's runs: a client that sends nothing, or half a preface, would
    // hold its place for ever.
    let first = tokio::time::sleep(limits.header_timeout);
    let mut first = std::pin::pin!(first);
    let mut waiting_for_first = true;
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(error, "a connection ended");
                }
                return;
            }
            () = first.as_mut(), if waiting_for_first => {
                waiting_for_first = false;
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

/// After an accept that failed for want of file handles, others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// HTTP/2 has no idle timeout of its own; a ping finds the dead.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
