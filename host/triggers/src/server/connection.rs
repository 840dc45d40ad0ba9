//! One connection, from its first byte to its last.

use std::{convert::Infallible, future::Future, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::uri::Scheme;
use hyper::{Request, Response, Version, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::task_local;
use tokio_util::task::TaskTracker;

use super::{
    Limits, Peer, RequestBody, Stop,
    body::Answer,
    listener::{Greeted, Spoken},
    pulse::{Look, Pulse, Waiting, Watched},
};

/// What a connection needs of its server.
pub(super) struct Connection {
    pub(super) limits: Limits,
    pub(super) stop: Stop,
    /// What its requests were sent by.
    pub(super) scheme: Scheme,
    /// Whose streams these are.
    pub(super) tasks: TaskTracker,
}

impl Connection {
    /// Answer until it ends. A break: it had to be ended.
    pub(super) async fn serve<H, F, B>(self, greeted: Greeted, handler: H) -> ControlFlow<()>
    where
        H: Fn(Request<RequestBody>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Unpin
            + Send
            + 'static,
    {
        let Greeted {
            stream,
            peer,
            spoken,
        } = greeted;
        let pulse = Pulse::new();
        let (limits, scheme) = (self.limits.clone(), self.scheme.clone());
        let service = service_fn({
            let pulse = Arc::clone(&pulse);
            move |mut request: Request<_>| {
                request.extensions_mut().insert(scheme.clone());
                let mut flight = pulse.take_off(request.version() == Version::HTTP_2);
                let answer = handler(request.map(|body| RequestBody::new(body, &limits)), peer);
                async move {
                    let waiting = WAITING.try_with(Arc::clone).ok();
                    let answer = answer.await;
                    flight.answered();
                    Ok::<_, Infallible>(answer.map(|body| Answer::new(body, waiting, flight)))
                }
            }
        });
        let builder = self.builder(spoken);
        let stream = Watched {
            stream,
            pulse: Arc::clone(&pulse),
        };
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut looks = tokio::time::interval(self.limits.look());
        let mut ending = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error, "a connection ended");
                    }
                    return ControlFlow::Continue(());
                }
                _ = looks.tick() => match pulse.look(&self.limits) {
                    Look::Fine => {}
                    Look::Idle if ending => {}
                    Look::Idle => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Look::Dead(reason) => {
                        tracing::debug!(?peer, reason, "a connection is ended");
                        return ControlFlow::Continue(());
                    }
                },
                () = pulse.restless() => {
                    tracing::debug!(?peer, "a connection is ended: its client gives up what it asks");
                    return ControlFlow::Continue(());
                }
                () = self.stop.drain.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                    if !pulse.was_asked() {
                        return ControlFlow::Continue(());
                    }
                }
                () = self.stop.abort.cancelled() => return ControlFlow::Break(()),
            }
        }
    }

    fn builder(&self, spoken: Spoken) -> auto::Builder<Streams> {
        let limits = &self.limits;
        let mut builder = auto::Builder::new(Streams {
            tasks: self.tasks.clone(),
            patience: limits.write_timeout,
        });
        builder
            .http1()
            .timer(TokioTimer::new())
            // It would count from the answer before, and be the keep-alive time too: the pulse knows better.
            .header_read_timeout(None)
            .max_headers(limits.headers)
            .max_buf_size(limits.header_bytes)
            .half_close(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(limits.header_timeout);
        match spoken {
            Spoken::Either => builder,
            Spoken::Http1 => builder.http1_only(),
            Spoken::Http2 => builder.http2_only(),
        }
    }
}

impl Limits {
    /// How often a connection is looked at: what is bounded ends this much late at the most.
    fn look(&self) -> Duration {
        let shortest = self
            .header_timeout
            .min(self.keep_alive)
            .min(self.write_timeout);
        (shortest / 4).max(SHORTEST_LOOK)
    }
}

task_local! {
    /// The answer of the stream that is being served.
    static WAITING: Arc<Waiting>;
}

/// Where the streams of an HTTP/2 connection run: one whose client takes nothing of its answer is reset, and the others go
/// on.
#[derive(Clone)]
struct Streams {
    tasks: TaskTracker,
    patience: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let patience = self.patience;
        let waiting = Waiting::new();
        let served = WAITING.scope(Arc::clone(&waiting), async move {
            tokio::select! {
                biased;
                _ = stream => {}
                () = waiting.longer_than(patience) => {
                    tracing::debug!("a stream is reset: its client takes nothing of the answer");
                }
            }
        });
        self.tasks.spawn(served);
    }
}

/// HTTP/2 has no idle timeout of its own; a ping finds the dead.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Streams that are reset before anybody looked at them, by the client or for its mistakes.
const RESETS: usize = 20;
/// Of a connection with bounds of less than a second, as tests have.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
