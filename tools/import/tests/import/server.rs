//! A server on loopback that acknowledges ratings, except where it is told to make trouble.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinSet,
};

/// What goes wrong with a try.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// It is answered so, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// The connection is closed without an answer.
    Closed,
    /// The connection is closed in the middle of the answer.
    Torn,
}

#[derive(Default)]
struct Seen {
    tries: Vec<Instant>,
    acknowledged: usize,
}

#[derive(Default)]
struct State {
    users: Mutex<HashMap<String, Seen>>,
    /// None: there is no bound.
    bound: Mutex<Option<Arc<Semaphore>>>,
    stuck: Notify,
}

/// A server, until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
    /// Ends with it.
    _task: JoinSet<()>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Server {
    /// `trouble` is asked for each try of a user's rating: who, and the how manieth it is.
    pub(crate) async fn start(trouble: fn(&str, usize) -> Option<Trouble>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(State::default());
        let serves = Arc::clone(&state);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let state = Arc::clone(&serves);
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&state), trouble));
                let serving =
                    http1::Builder::new().serve_connection(TokioIo::new(connection), service);
                // A connection that ends badly is what is wanted here.
                connections.spawn(async move { drop(serving.await) });
            }
        });
        Self {
            url,
            state,
            _task: task,
        }
    }

    /// How often this user's rating came.
    pub(crate) fn tries(&self, user: &str) -> usize {
        let users = lock(&self.state.users);
        users.get(user).map_or(0, |seen| seen.tries.len())
    }

    /// How often it was acknowledged.
    pub(crate) fn acknowledged(&self, user: &str) -> usize {
        let users = lock(&self.state.users);
        users.get(user).map_or(0, |seen| seen.acknowledged)
    }

    /// The times between its tries.
    pub(crate) fn pauses(&self, user: &str) -> Vec<Duration> {
        let users = lock(&self.state.users);
        let tries = users.get(user).map(|seen| &seen.tries[..]);
        let pairs = tries.unwrap_or_default().windows(2);
        pairs
            .filter_map(|pair| Some(*pair.last()? - *pair.first()?))
            .collect()
    }

    /// Answer so many from now on and keep the others waiting, or answer all.
    pub(crate) fn answer_at_most(&self, count: Option<usize>) {
        *lock(&self.state.bound) = count.map(|count| Arc::new(Semaphore::new(count)));
    }

    /// Until one waits.
    pub(crate) async fn until_stuck(&self) {
        tokio::time::timeout(Duration::from_secs(60), self.state.stuck.notified())
            .await
            .expect("more tries than may be answered");
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
    trouble: fn(&str, usize) -> Option<Trouble>,
) -> Result<Response<Body>, std::io::Error> {
    // PUT /v1/movies/{id}/ratings/{user}
    let user = request
        .uri()
        .path()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let tries = {
        let mut users = lock(&state.users);
        let seen = users.entry(user.clone()).or_default();
        seen.tries.push(Instant::now());
        seen.tries.len()
    };
    match trouble(&user, tries) {
        Some(Trouble::Status(status, retry_after)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut response = Response::builder().status(status);
            if let Some(seconds) = retry_after {
                response = response.header("retry-after", seconds);
            }
            let problem = r#"{"title": "No", "detail": "the server says why"}"#;
            return Ok(response.body(whole(problem)).expect("a response"));
        }
        Some(Trouble::Closed) => return Err(std::io::Error::other("closed on purpose")),
        Some(Trouble::Torn) => {
            let part = Ok(Frame::data(Bytes::from_static(b"{\"event")));
            let parts = [part, Err(std::io::Error::other("torn on purpose"))];
            let body = StreamBody::new(stream::iter(parts)).boxed();
            return Ok(Response::builder()
                .status(202)
                .body(body)
                .expect("a response"));
        }
        None => {}
    }
    let bound = lock(&state.bound).clone();
    if let Some(bound) = bound {
        if bound.available_permits() == 0 {
            state.stuck.notify_one();
        }
        bound.acquire().await.expect("it is never closed").forget();
    }
    lock(&state.users).entry(user).or_default().acknowledged += 1;
    Ok(Response::builder()
        .status(202)
        .body(whole("{}"))
        .expect("a response"))
}

fn whole(text: &'static str) -> Body {
    Full::from(text)
        .map_err(|never: Infallible| match never {})
        .boxed()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
