//! The public API of Marquee, as a client sees it.
//!
//! Every call may be repeated without harm, and is, until it is answered, refused, or given up (`transport`). Many films
//! or ratings go with one request (`lists`), and many films' figures come with one (`aggregates`).

mod aggregates;
mod error;
mod lists;
mod titles;
mod transport;

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::session::{Credentials, Session};
use transport::{Answer, Call, Transport};

pub use aggregates::Aggregate;
pub use error::Error;
pub use titles::Titled;
pub(crate) use titles::folded;

/// A film to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Movie {
    /// Unique together with the year, without regard to case.
    pub title: String,
    /// Of its release, 1870 to 2200. None is a year of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// May be empty.
    pub description: String,
    /// One or more people.
    pub director: String,
}

impl Movie {
    /// Most in one list.
    pub const LIST_MAX: usize = 100;
}

/// A rating to be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rating {
    /// The film's id: a UUID.
    pub movie_id: String,
    /// Who rates.
    pub user: String,
    /// 1 to 10.
    pub value: i64,
}

impl Rating {
    /// Most in one list.
    pub const LIST_MAX: usize = 500;
}

/// Most bytes of a list as JSON. One that has more is sent in parts, for the price of requests in vain.
pub const LIST_MAX_BYTES: usize = 64 << 10;

/// What became of a film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is new and has this id.
    Created(String),
    /// One of this title and year was there, with this id.
    Existing(String),
}

impl Kept {
    /// The film's id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Kept::Created(id) | Kept::Existing(id) => id,
        }
    }
}

/// One rating of a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserRating {
    /// The film.
    pub record_id: String,
    /// 1 to 10.
    pub value: u64,
}

/// A film that is new.
#[derive(Deserialize)]
struct Made {
    id: String,
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// A client of the server at `url` that keeps up to `connections` alive.
    ///
    /// # Errors
    /// `Address` when the URL is not plain `http://host[:port]`.
    pub fn new(url: &str, connections: usize, patience: Duration) -> Result<Self, Error> {
        let transport = Transport::new(url, connections, patience)?;
        Ok(Self { transport })
    }

    /// The same, for whoever has these credentials.
    #[must_use]
    pub fn logged_in_as(mut self, credentials: Option<Credentials>) -> Self {
        self.transport.session = Session::of(credentials);
        self
    }

    /// The server's address.
    #[must_use]
    pub fn base(&self) -> &str {
        self.transport.base()
    }

    /// How many requests were sent so far, tries that were repeated among them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.transport.requests.load(Ordering::Relaxed)
    }

    /// How many tries had to be repeated so far.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.transport.retries.load(Ordering::Relaxed)
    }

    /// Keeps a film, or finds the one that has its title and year.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn keep(&self, movie: &Movie) -> Result<Kept, Error> {
        let call = self.write(Method::POST, &["v1", "movies"], &json!(movie));
        let answer = self.transport.call(&call).await?;
        if answer.status == StatusCode::CREATED {
            return Ok(Kept::Created(answer.parse::<Made>(&call)?.id));
        }
        let problem = answer.problem();
        match problem.existing_id {
            Some(id) => Ok(Kept::Existing(id)),
            None => Err(problem.into_error(answer.status)),
        }
    }

    /// Keeps films as [`keep`](Self::keep) does each, a list of them with one request: an outcome for each, in their
    /// order. Of two with one title and year in the list the first is new. One that is new and whose answer was lost
    /// counts as one that was there.
    pub async fn keep_many(&self, movies: &[Movie]) -> Vec<Result<Kept, Error>> {
        lists::send(&self.transport, movies).await
    }

    /// Gives a film a user's rating; how long the try that was acknowledged took. The users `.` and `..` cannot be named
    /// in a URL: only lists take their ratings.
    ///
    /// # Errors
    /// `Refused` or `GaveUp`.
    pub async fn rate(&self, movie: &str, user: &str, value: i64) -> Result<Duration, Error> {
        let path = ["v1", "movies", movie, "ratings", user];
        let call = self.write(Method::PUT, &path, &json!({ "value": value }));
        succeeded(self.transport.call(&call).await?).map(|answer| answer.latency)
    }

    /// Gives ratings, a list of them with one request: an outcome for each, in their order. Acknowledged is durable, and
    /// counts once. A user must rate a film once in the list: of two ratings, either may be sent again and count.
    pub async fn rate_many(&self, ratings: &[Rating]) -> Vec<Result<(), Error>> {
        lists::send(&self.transport, ratings).await
    }

    /// All ratings of a user.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn ratings_of(&self, user: &str) -> Result<Vec<UserRating>, Error> {
        #[derive(Deserialize)]
        struct Page {
            ratings: Vec<UserRating>,
            next: Option<String>,
        }
        let url = self.transport.url(&["v1", "users", user, "ratings"]);
        let mut all = Vec::new();
        let mut after = None::<String>;
        loop {
            let page: Page = self.get(page_of(&url, after.as_deref())).await?;
            all.extend(page.ratings);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let call = Call::get(url);
        succeeded(self.transport.call(&call).await?)?.parse(&call)
    }

    fn write(&self, method: Method, path: &[&str], body: &serde_json::Value) -> Call {
        Call {
            method,
            url: self.transport.url(path),
            body: body.to_string().into(),
            key: None,
        }
    }
}

fn succeeded(answer: Answer) -> Result<Answer, Error> {
    match answer.status.is_success() {
        true => Ok(answer),
        false => Err(answer.refusal()),
    }
}

/// A page of a list, the first or the one `after`.
fn page_of(list: &Url, after: Option<&str>) -> Url {
    let mut url = list.clone();
    let mut query = url.query_pairs_mut();
    query.append_pair("limit", "100");
    if let Some(after) = after {
        query.append_pair("after", after);
    }
    drop(query);
    url
}
