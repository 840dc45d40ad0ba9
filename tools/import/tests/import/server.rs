//! A server on loopback that takes lists of films and ratings as the API does, except where it is told to make trouble, and
//! serves the figures of a catalogue.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinSet,
};

/// What goes wrong with a try.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// This item alone is answered so.
    Item(u16),
    /// The list that it is in is answered so, with `Retry-After` in seconds.
    List(u16, Option<u64>),
    /// The connection is closed before the list is read.
    Closed,
    /// What the list asks for is done, and the connection is closed in the middle of the answer.
    Torn,
}

#[derive(Default)]
struct Seen {
    tries: Vec<Instant>,
    /// What was sent, as often as it counts.
    taken: Vec<Value>,
}

#[derive(Default)]
struct State {
    items: Mutex<HashMap<String, Seen>>,
    requests: Mutex<usize>,
    /// Idempotency keys with which lists were taken.
    keys: Mutex<HashSet<String>>,
    /// None: there is no bound.
    bound: Mutex<Option<Arc<Semaphore>>>,
    stuck: Notify,
    /// Ids, the newest first. Each has as many ratings as films that are newer.
    catalogue: Mutex<Vec<String>>,
    /// In so many answers more no rating is known.
    forgetful: Mutex<usize>,
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
    /// `trouble` is asked for each try of an item: whose rating or which title, and the how manieth it is.
    pub(crate) async fn start(
        trouble: impl Fn(&str, usize) -> Option<Trouble> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(State::default());
        let serves = Arc::clone(&state);
        let trouble = Arc::new(trouble);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (state, trouble) = (Arc::clone(&serves), Arc::clone(&trouble));
                let service = service_fn(move |request| {
                    let (state, trouble) = (Arc::clone(&state), Arc::clone(&trouble));
                    async move { answer(request, &state, &*trouble).await }
                });
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

    /// Serve these films, the newest first, and know no rating in the first answers.
    pub(crate) fn serve(&self, catalogue: Vec<String>, forgetful: usize) {
        *lock(&self.state.catalogue) = catalogue;
        *lock(&self.state.forgetful) = forgetful;
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        *lock(&self.state.requests)
    }

    /// How often this item came.
    pub(crate) fn tries(&self, name: &str) -> usize {
        let items = lock(&self.state.items);
        items.get(name).map_or(0, |seen| seen.tries.len())
    }

    /// What counts of it, in this order.
    pub(crate) fn taken(&self, name: &str) -> Vec<Value> {
        let items = lock(&self.state.items);
        let taken = items.get(name).map(|seen| seen.taken.clone());
        taken.unwrap_or_default()
    }

    /// The times between its tries.
    pub(crate) fn pauses(&self, name: &str) -> Vec<Duration> {
        let items = lock(&self.state.items);
        let tries = items.get(name).map(|seen| &seen.tries[..]);
        let pairs = tries.unwrap_or_default().windows(2);
        pairs
            .filter_map(|pair| Some(*pair.last()? - *pair.first()?))
            .collect()
    }

    /// Answer so many requests from now on and keep the others waiting, or answer all.
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
    state: &State,
    trouble: &(dyn Fn(&str, usize) -> Option<Trouble> + Send + Sync),
) -> Result<Response<Body>, std::io::Error> {
    *lock(&state.requests) += 1;
    if request.method() == Method::GET {
        return Ok(figures(request.uri(), state));
    }
    let (name, most, done) = match request.uri().path() {
        "/v1/movies/batch" => ("title", 100, 201),
        "/v1/ratings/batch" => ("user", 500, 202),
        other => panic!("nobody asks for {other}"),
    };
    let key = request.headers().get("idempotency-key");
    let key = key.map(|key| key.to_str().expect("text").to_owned());
    assert_eq!(key.is_some(), name == "user", "ratings have a key");
    let body = request.into_body().collect().await.expect("it comes");
    let body = body.to_bytes();
    if body.len() > 65_536 {
        return Ok(problem(413, None));
    }
    let list: Vec<Value> = serde_json::from_slice(&body).expect("a list");
    assert!((1..=most).contains(&list.len()), "{} items", list.len());
    let (mut entries, mut taken, mut torn) = (Vec::new(), Vec::new(), false);
    for item in list {
        let name = item[name].as_str().expect("its name").to_owned();
        let tries = {
            let mut items = lock(&state.items);
            let seen = items.entry(name.clone()).or_default();
            seen.tries.push(Instant::now());
            seen.tries.len()
        };
        let said = json!({"title": "No", "detail": "the server says why", "existing_id": "there"});
        match trouble(&name, tries) {
            Some(Trouble::Item(409)) => entries.push(json!({"status": 409, "problem": said})),
            Some(Trouble::Item(status)) => {
                let said = json!({"title": "No", "detail": "the server says why"});
                entries.push(json!({"status": status, "problem": said}));
            }
            Some(Trouble::List(status, retry_after)) => return Ok(problem(status, retry_after)),
            Some(Trouble::Closed) => return Err(std::io::Error::other("closed on purpose")),
            other => {
                torn |= other.is_some();
                entries.push(json!({"status": done, "movie": {"id": "new"}, "event_id": "e"}));
                taken.push((name, item));
            }
        }
    }
    let bound = lock(&state.bound).clone();
    if let Some(bound) = bound {
        if bound.available_permits() == 0 {
            state.stuck.notify_one();
        }
        bound.acquire().await.expect("it is never closed").forget();
    }
    if key.is_none_or(|key| lock(&state.keys).insert(key)) {
        for (name, item) in taken {
            lock(&state.items).entry(name).or_default().taken.push(item);
        }
    }
    let response = Response::builder().status(if done == 201 { 207 } else { 202 });
    let whole = serde_json::to_vec(&entries).expect("JSON");
    let body = if torn {
        let part = Ok(Frame::data(Bytes::from_static(b"[{")));
        let parts = [part, Err(std::io::Error::other("torn on purpose"))];
        StreamBody::new(stream::iter(parts)).boxed()
    } else {
        full(whole)
    };
    Ok(response.body(body).expect("a response"))
}

/// A page of the catalogue, or one of its films.
fn figures(uri: &Uri, state: &State) -> Response<Body> {
    let catalogue = lock(&state.catalogue);
    let mut forgetful = lock(&state.forgetful);
    let is_known = *forgetful == 0;
    *forgetful = forgetful.saturating_sub(1);
    let rating = |place: usize| {
        let average = (place > 0).then_some(7.0);
        is_known.then(|| json!({"average": average, "count": place}))
    };
    let answer = match uri.path() {
        "/v1/movies" => {
            let query = uri.query().expect("a query");
            let after = query.strip_prefix("sort=-created&limit=100");
            let after = after.expect("the newest first");
            let first = after.strip_prefix("&after=").unwrap_or("0");
            let first: usize = first.parse().expect("a cursor of this server's");
            let page = catalogue.iter().enumerate().skip(first).take(100);
            let movies: Vec<_> = page
                .map(|(place, id)| json!({"id": id, "rating": rating(place)}))
                .collect();
            let next = first + movies.len();
            let next = (next < catalogue.len()).then(|| next.to_string());
            json!({"movies": movies, "next": next})
        }
        path => {
            let place = catalogue
                .iter()
                .position(|id| path == format!("/v1/movies/{id}/details"));
            match place {
                Some(place) => json!({"rating": rating(place)}),
                None => return problem(404, None),
            }
        }
    };
    Response::new(full(answer.to_string()))
}

fn problem(status: u16, retry_after: Option<u64>) -> Response<Body> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    let said = r#"{"title": "No", "detail": "the server says why"}"#;
    response.body(full(said)).expect("a response")
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::from(text.into())
        .map_err(|never| match never {})
        .boxed()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
