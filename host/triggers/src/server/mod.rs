//! An HTTP/1.1 and HTTP/2 server with bounds on everything that a client sends, or does not take.
//!
//! Promise: after `drain` no connection is accepted and each open one finishes the requests that it is in; at `abort`
//! what is left is ended and counted. Bounds: connections, over all and a client; headers and the time to send them; the
//! rate of bodies; the time that an answer waits for its reader. Not here: what is answered.

mod body;
mod connection;
mod listener;
mod proxy;
mod pulse;
mod share;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hyper::{Request, Response};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::listener::Connections;
pub use self::{
    body::{Held, RequestBody},
    listener::{Address, InvalidAddress, Listener, Peer},
    proxy::{InvalidNetworks, Networks},
    tls::{Files, Tls, TlsError},
};
pub(crate) use self::{
    body::{Progress, TooSlow},
    share::{Share, Shares, network},
};

/// Bounds of what clients may send, and of what they may leave.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Of these, of one client; more are closed at once.
    pub client_connections: usize,
    /// The time to send the headers of a request, from their first byte, and to begin the first one.
    pub header_timeout: Duration,
    /// All headers of a request together.
    pub header_bytes: usize,
    /// How many headers.
    pub headers: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// How long a connection may be without a request.
    pub keep_alive: Duration,
    /// The bytes a second that a body has to come with, after as long as headers may take. The time counts in which somebody
    /// waits for it.
    pub body_rate: u64,
    /// How long an answer may wait for its client to take more of it.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            client_connections: 64,
            header_timeout: Duration::from_secs(5),
            header_bytes: 16 * 1024,
            headers: 64,
            streams: 100,
            keep_alive: Duration::from_secs(75),
            body_rate: 1024,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// How a server ends.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Nothing new; what is under way ends by itself.
    pub drain: CancellationToken,
    /// What is still under way is ended.
    pub abort: CancellationToken,
}

/// Answers requests, with where each came from, until it is to stop. Returns how many connections had to be
/// ended.
pub async fn serve<H, F, B>(
    listener: Arc<Listener>,
    limits: Limits,
    handler: H,
    stop: Stop,
) -> usize
where
    H: Fn(Request<RequestBody>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + Send
        + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let clients = Arc::new(Shares::new(limits.client_connections));
    let tasks = TaskTracker::new();
    let ended = Arc::new(AtomicUsize::new(0));
    loop {
        // The place comes before the connection: what cannot be served is not accepted.
        let place = tokio::select! {
            () = stop.drain.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.drain.cancelled() => break,
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
        // Whom a proxy comes for is known later.
        let early = (!listener.is_proxy(peer)).then(|| clients.take(network(peer.ip())));
        if matches!(early, Some(None)) {
            listener.refused();
            tracing::debug!(?peer, "a client has as many connections as it may");
            continue;
        }
        let connection = connection::Connection {
            limits: limits.clone(),
            stop: stop.clone(),
            scheme: listener.scheme(),
            tasks: tasks.clone(),
        };
        let (handler, ended) = (handler.clone(), Arc::clone(&ended));
        let (listener, clients) = (Arc::clone(&listener), Arc::clone(&clients));
        tasks.spawn(async move {
            let greeting = timeout(
                connection.limits.header_timeout,
                listener.greet(stream, peer),
            );
            let greeted = connection.stop.drain.run_until_cancelled(greeting).await;
            let greeted = match greeted {
                Some(Ok(Ok(greeted))) => greeted,
                Some(Ok(Err(error))) => {
                    tracing::debug!(?peer, %error, "a connection came to nothing");
                    return;
                }
                // It was too slow, or nothing new is taken any more.
                Some(Err(_)) | None => return,
            };
            let peer = greeted.peer;
            let share = early.flatten().or_else(|| clients.take(network(peer.ip())));
            if share.is_none() {
                listener.refused();
                tracing::debug!(?peer, "a client has as many connections as it may");
                return;
            }
            let _places = (place, share, listener.opened());
            if connection.serve(greeted, handler).await.is_break() {
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
    ended.load(Ordering::Relaxed)
}

/// After an accept that failed for want of file handles, others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
