//! The double: a scripted upstream, a fixed clock, and requests in one line.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future, poll_fn},
    task::Poll,
};

use futures::executor::block_on;
use gateway::{
    Edge, answer,
    domain::{
        id::MovieId,
        movie::{Movie, MoviePage, NewMovie},
        page::{PageQuery, Prefix},
        rating::{Aggregate, Rating, RatingEvent, RatingPage, UserId},
    },
    http::{Body, Broken, Headers, Request, Response},
    upstream::{Failure, Upstream},
};
use serde_json::Value;

pub(crate) const KNOWN: &str = "0192f0c1-2345-7abc-8def-0123456789ab";
pub(crate) const UNKNOWN: &str = "0192f0c1-2345-7abc-8def-ffffffffffff";
pub(crate) const FRESH: &str = "0192f0c1-9999-7abc-8def-0123456789ab";
pub(crate) const NOW_US: u64 = 1_700_000_000_123_456;

/// What stands behind the gateway. Each part can be made to fail; every call is written down.
#[derive(Default)]
pub(crate) struct Double {
    pub(crate) metadata_fails: Option<Failure>,
    pub(crate) rating_fails: Option<Failure>,
    pub(crate) bus_fails: Option<Failure>,
    pub(crate) unrated: bool,
    pub(crate) calls: RefCell<Vec<String>>,
    pub(crate) in_flight: Cell<u32>,
    pub(crate) most_in_flight: Cell<u32>,
}

impl Double {
    /// Counts a call as under way until it was polled twice.
    async fn called(&self, call: String) {
        self.calls.borrow_mut().push(call);
        self.in_flight.set(self.in_flight.get() + 1);
        self.most_in_flight
            .set(self.most_in_flight.get().max(self.in_flight.get()));
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.in_flight.set(self.in_flight.get() - 1);
    }
}

fn fail(failure: Option<&Failure>) -> Result<(), Failure> {
    failure.map_or(Ok(()), |failure| Err(failure.clone()))
}

pub(crate) fn playtime() -> Movie {
    Movie {
        id: KNOWN.into(),
        title: "Playtime".into(),
        description: "A day in a city of glass.".into(),
        director: "Jacques Tati".into(),
    }
}

impl Upstream for Double {
    async fn movie(&self, id: &MovieId) -> Result<Option<Movie>, Failure> {
        self.called(format!("movie {}", id.as_str())).await;
        fail(self.metadata_fails.as_ref())?;
        Ok((id.as_str() == KNOWN).then(playtime))
    }

    async fn movies(
        &self,
        prefix: Option<&Prefix>,
        page: &PageQuery,
    ) -> Result<MoviePage, Failure> {
        let prefix = prefix.map(Prefix::as_str);
        self.called(format!(
            "movies {prefix:?} {:?} {}",
            page.after(),
            page.limit()
        ))
        .await;
        fail(self.metadata_fails.as_ref())?;
        if page.after() == Some("forged") {
            return Err(Failure::Invalid("after is not a page's `next`".into()));
        }
        Ok(MoviePage {
            movies: vec![playtime()],
            next: Some("c1".into()),
        })
    }

    async fn submit_movie(&self, movie: &NewMovie) -> Result<Movie, Failure> {
        self.called(format!(
            "submit {:?} {:?} {:?}",
            movie.title(),
            movie.description(),
            movie.director()
        ))
        .await;
        fail(self.metadata_fails.as_ref())?;
        if movie.title() == "Taken" {
            return Err(Failure::TitleTaken(KNOWN.into()));
        }
        Ok(playtime())
    }

    async fn aggregate(&self, id: &MovieId) -> Result<Aggregate, Failure> {
        self.called(format!("aggregate {}", id.as_str())).await;
        fail(self.rating_fails.as_ref())?;
        Ok(if self.unrated {
            Aggregate {
                average: None,
                count: 0,
            }
        } else {
            Aggregate {
                average: Some(8.5),
                count: 2,
            }
        })
    }

    async fn ratings_by_user(
        &self,
        user: &UserId,
        page: &PageQuery,
    ) -> Result<RatingPage, Failure> {
        self.called(format!(
            "ratings {:?} {:?} {}",
            user.as_str(),
            page.after(),
            page.limit()
        ))
        .await;
        fail(self.rating_fails.as_ref())?;
        if page.after() == Some("forged") {
            return Err(Failure::Invalid("after is not a page's `next`".into()));
        }
        Ok(RatingPage {
            ratings: vec![Rating {
                record_id: KNOWN.into(),
                record_type: "movie".into(),
                user_id: user.as_str().into(),
                value: 9,
                occurred_at_us: NOW_US,
            }],
            next: None,
        })
    }

    async fn publish(&self, event: &RatingEvent) -> Result<(), Failure> {
        let json = String::from_utf8(event.to_json().unwrap()).unwrap();
        self.called(format!("publish {json}")).await;
        fail(self.bus_fails.as_ref())
    }

    async fn submit_rating(&self, event: &RatingEvent) -> Result<(), Failure> {
        let json = String::from_utf8(event.to_json().unwrap()).unwrap();
        self.called(format!("apply {json}")).await;
        fail(self.rating_fails.as_ref())
    }
}

/// A body in pieces, which says how often it was asked.
#[derive(Default)]
pub(crate) struct Pieces {
    pub(crate) pieces: VecDeque<Result<Vec<u8>, Broken>>,
    pub(crate) asked: u32,
}

impl Body for &mut Pieces {
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, Broken>> {
        self.asked += 1;
        let piece = self.pieces.pop_front().transpose();
        async { piece }
    }
}

pub(crate) const EDGE: Edge = Edge {
    now_us: || NOW_US,
    new_id: || FRESH.to_owned(),
    log: |_| {},
};

/// Sends a request whose body is `pieces`.
pub(crate) fn send_pieces(
    double: &Double,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    pieces: &mut Pieces,
) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let request = Request {
        method: method.into(),
        target: target.into(),
        headers: Headers::new(headers),
        body: pieces,
    };
    block_on(answer(request, double, &EDGE))
}

/// Sends a request with these headers and this body.
pub(crate) fn send(
    double: &Double,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut pieces = Pieces::default();
    pieces
        .pieces
        .extend(body.chunks(1_000).map(|piece| Ok(piece.to_vec())));
    send_pieces(double, method, target, headers, &mut pieces)
}

/// GETs something.
pub(crate) fn get(double: &Double, target: &str) -> Response {
    send(double, "GET", target, &[], b"")
}

/// Sends JSON.
pub(crate) fn send_json(
    double: &Double,
    method: &str,
    target: &str,
    body: impl AsRef<[u8]>,
) -> Response {
    send(
        double,
        method,
        target,
        &[("Content-Type", "application/json")],
        body.as_ref(),
    )
}

/// An answer's JSON.
pub(crate) fn json(response: &Response) -> Value {
    serde_json::from_slice(response.body.as_ref().expect("the answer has a body")).unwrap()
}

/// Checks that an answer is this problem, whole and with this request id; gives its body.
#[track_caller]
pub(crate) fn assert_problem(response: &Response, status: u16, name: &str) -> Value {
    let body = json(response);
    assert_eq!(
        (response.status, body["type"].as_str()),
        (status, Some(format!("/problems/{name}").as_str())),
        "{body}"
    );
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(body["status"], status);
    assert_eq!(body["instance"].as_str(), response.header("x-request-id"));
    for member in ["title", "detail"] {
        assert!(
            body[member].as_str().is_some_and(|text| !text.is_empty()),
            "{body}"
        );
    }
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    body
}
