//! The public API of Marquee, as a client sees it.
//!
//! Every call is tried until it is answered, refused, or given up: no answer, 408, 429 and 5xx are tried again
//! (each call may be repeated without harm), other statuses are refusals. Bounds: `ATTEMPT_DEADLINE` a try, the
//! patience a call, `BODY_MAX_BYTES` an answer. Connections are kept alive and send at once (`TCP_NODELAY`).

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    retry::{self, Pulse},
    session::{Credentials, Session},
};

/// A film to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// Unique without regard to case.
    pub title: String,
    /// May be empty.
    pub description: String,
    /// One or more people.
    pub director: String,
}

/// What became of a film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is new and has this id.
    Created(String),
    /// One of this title was there, with this id.
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

/// What a film's ratings come to.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Aggregate {
    /// The mean; none while there is no rating.
    pub average: Option<f64>,
    /// How many.
    pub count: u64,
}

/// One rating of a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserRating {
    /// The film.
    pub record_id: String,
    /// 1 to 10.
    pub value: u64,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be used.
    #[error(
        "{url:?} is not an address of a server: {reason}; give one such as http://127.0.0.1:3000"
    )]
    Address {
        /// As given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server does not take the request; repeating it is of no use.
    #[error("refused with {status}: {detail}")]
    Refused {
        /// Its status.
        status: u16,
        /// Its reason.
        detail: String,
    },
    /// The answer is not what the API promises.
    #[error(
        "the answer to {what} is not understood: {reason}; is this a Marquee server of the same version?"
    )]
    Answer {
        /// The request.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// It was tried for as long as the patience lasts.
    #[error(
        "{what} had no good answer for {patience_s} s (last: {last}); see that the server runs, then run the same command again: it goes on where it stopped"
    )]
    GaveUp {
        /// The request.
        what: String,
        /// How long, in seconds.
        patience_s: u64,
        /// The last failure.
        last: String,
        /// Nothing else succeeded either, so that there is no use in going on.
        everything: bool,
    },
}

impl Error {
    /// Whether other requests would fail too.
    #[must_use]
    pub fn ends_the_run(&self) -> bool {
        matches!(
            self,
            Error::Address { .. }
                | Error::GaveUp {
                    everything: true,
                    ..
                }
        )
    }
}

/// A connection pool to one server.
#[derive(Debug)]
pub struct Client {
    base: String,
    pool: Pool<HttpConnector, Full<Bytes>>,
    pulse: Pulse,
    patience: Duration,
    retries: std::sync::atomic::AtomicU64,
    session: Session,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    latency: Duration,
}

impl Client {
    /// A client of the server at `url` that keeps up to `connections` alive.
    ///
    /// # Errors
    /// `Address` when the URL is not plain `http://host[:port]`.
    pub fn new(url: &str, connections: usize, patience: Duration) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Address {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let base = url.trim_end_matches('/');
        let parsed: Uri = base.parse().map_err(|_| refused("it is not a URL"))?;
        if parsed.scheme_str() != Some("http") {
            return Err(refused(
                "it must begin with http:// (put a TLS proxy's plain side here)",
            ));
        }
        if parsed.path() != "/" && !parsed.path().is_empty() || parsed.query().is_some() {
            return Err(refused("it must end after the host and the port"));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_DEADLINE));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .build(connector);
        Ok(Self {
            base: base.to_owned(),
            pool,
            pulse: Pulse::new(),
            patience,
            retries: std::sync::atomic::AtomicU64::new(0),
            session: Session::default(),
        })
    }

    /// The same, for whoever has these credentials.
    #[must_use]
    pub fn logged_in_as(mut self, credentials: Option<Credentials>) -> Self {
        self.session = Session::of(credentials);
        self
    }

    /// The server's address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How many tries had to be repeated so far.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Keeps a film, or finds the one that has its title.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn keep(&self, movie: &Movie) -> Result<Kept, Error> {
        #[derive(Deserialize)]
        struct Created {
            id: String,
        }
        #[derive(Deserialize)]
        struct Taken {
            existing_id: String,
        }
        let body = json!({
            "title": movie.title, "description": movie.description, "director": movie.director,
        });
        let answer = self.call(Method::POST, "/v1/movies", Some(&body)).await?;
        match answer.status {
            StatusCode::CREATED => {
                parse::<Created>("POST /v1/movies", &answer.body).map(|made| Kept::Created(made.id))
            }
            StatusCode::CONFLICT => match serde_json::from_slice::<Taken>(&answer.body) {
                Ok(taken) => Ok(Kept::Existing(taken.existing_id)),
                Err(_) => Err(refusal(&answer)),
            },
            _ => Err(refusal(&answer)),
        }
    }

    /// Gives a film a user's rating; how long the try that was acknowledged took.
    ///
    /// # Errors
    /// `Refused` or `GaveUp`.
    pub async fn rate(&self, movie: &str, user: &str, value: i64) -> Result<Duration, Error> {
        let path = format!("/v1/movies/{}/ratings/{}", encode(movie), encode(user));
        let body = json!({ "value": value });
        let answer = self.call(Method::PUT, &path, Some(&body)).await?;
        if answer.status.is_success() {
            Ok(answer.latency)
        } else {
            Err(refusal(&answer))
        }
    }

    /// A film's aggregate.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn aggregate(&self, movie: &str) -> Result<Aggregate, Error> {
        #[derive(Deserialize)]
        struct Details {
            rating: Aggregate,
        }
        let path = format!("/v1/movies/{}/details", encode(movie));
        let details: Details = self.get(&path).await?;
        Ok(details.rating)
    }

    /// The id of the film of this title, if there is one.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn find(&self, title: &str) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Found {
            id: String,
            title: String,
        }
        #[derive(Deserialize)]
        struct Page {
            movies: Vec<Found>,
            next: Option<String>,
        }
        let wanted = title.trim().to_lowercase();
        let mut after = None::<String>;
        loop {
            let mut path = format!("/v1/movies?limit=100&prefix={}", encode(title.trim()));
            if let Some(after) = &after {
                path.push_str("&after=");
                path.push_str(&encode(after));
            }
            let page: Page = self.get(&path).await?;
            if let Some(found) = page
                .movies
                .into_iter()
                .find(|movie| movie.title.to_lowercase() == wanted)
            {
                return Ok(Some(found.id));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
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
        let mut all = Vec::new();
        let mut after = None::<String>;
        loop {
            let mut path = format!("/v1/users/{}/ratings?limit=100", encode(user));
            if let Some(after) = &after {
                path.push_str("&after=");
                path.push_str(&encode(after));
            }
            let page: Page = self.get(&path).await?;
            all.extend(page.ratings);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.call(Method::GET, path, None).await?;
        if answer.status.is_success() {
            parse(&format!("GET {path}"), &answer.body)
        } else {
            Err(refusal(&answer))
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, Error> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let started = Instant::now();
        let mut failures = 0;
        // Once a call: a token that was good a moment ago may have run out, a new one has not.
        let mut may_log_in = path != LOG_IN && self.session.credentials.is_some();
        loop {
            // Whoever logs in holds the token until there is another one.
            let token = match path {
                LOG_IN => None,
                _ => self.session.token().await,
            };
            let token = token.as_deref();
            let tried = self.attempt(&method, path, body.clone(), token).await?;
            let (last, retry_after) = match tried {
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && may_log_in => {
                    may_log_in = false;
                    self.session.renew(token, || self.log_in()).await?;
                    continue;
                }
                Ok(answer) if !is_passing(answer.status) => {
                    self.pulse.beat();
                    return Ok(answer);
                }
                Ok(answer) => (refusal(&answer).to_string(), retry_after(&answer.headers)),
                Err(reason) => (reason, None),
            };
            let everything = self.pulse.silence() >= self.patience;
            if everything || started.elapsed() >= self.patience {
                return Err(Error::GaveUp {
                    what: format!("{method} {}{path}", self.base),
                    patience_s: self.patience.as_secs(),
                    last,
                    everything,
                });
            }
            failures += 1;
            self.retries
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(retry::draw(failures, retry_after)).await;
        }
    }

    /// An access token.
    async fn log_in(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Begun {
            access_token: String,
        }
        let Some(user) = &self.session.credentials else {
            return Ok(String::new());
        };
        let body = json!({ "login": user.login, "password": user.password });
        let answer = Box::pin(self.call(Method::POST, LOG_IN, Some(&body))).await?;
        if answer.status.is_success() {
            parse::<Begun>("POST /v1/sessions", &answer.body).map(|begun| begun.access_token)
        } else {
            Err(refusal(&answer))
        }
    }

    /// One try: an answer, or why there is none.
    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
        token: Option<&str>,
    ) -> Result<Result<Answer, String>, Error> {
        let mut request = Request::builder();
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|source| Error::Address {
                url: format!("{}{path}", self.base),
                reason: source.to_string(),
            })?;
        let started = Instant::now();
        let exchange = async {
            let response = self
                .pool
                .request(request)
                .await
                .map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_MAX_BYTES)
                .collect()
                .await
                .map_err(|error| format!("the answer broke off: {error}"))?
                .to_bytes();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
                latency: started.elapsed(),
            })
        };
        Ok(tokio::time::timeout(ATTEMPT_DEADLINE, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", ATTEMPT_DEADLINE.as_secs()))))
    }
}

/// Where a session begins.
const LOG_IN: &str = "/v1/sessions";

/// Statuses that say "not now" rather than "no".
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn refusal(answer: &Answer) -> Error {
    #[derive(Deserialize)]
    struct Problem {
        title: Option<String>,
        detail: Option<String>,
    }
    let detail = match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(Problem {
            detail: Some(detail),
            ..
        }) if !detail.is_empty() => detail,
        Ok(Problem {
            title: Some(title), ..
        }) => title,
        _ => answer
            .status
            .canonical_reason()
            .unwrap_or("no reason given")
            .to_owned(),
    };
    Error::Refused {
        status: answer.status.as_u16(),
        detail,
    }
}

fn parse<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Answer {
        what: what.to_owned(),
        reason: source.to_string(),
    })
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longer than the server's own deadline, so that its 504 is seen rather than guessed.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(40);
const IDLE: Duration = Duration::from_secs(20);
const BODY_MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_gives_meaning_to_is_encoded() {
        assert_eq!(encode("8½ / a?b"), "8%C2%BD%20%2F%20a%3Fb");
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_a_reason() {
        for (url, part) in [
            ("https://example.org", "http://"),
            ("http://example.org/v1", "after the host"),
            ("not a url", "not a URL"),
        ] {
            let error = Client::new(url, 1, retry::PATIENCE).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Client::new("http://127.0.0.1:3000/", 1, retry::PATIENCE).is_ok());
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(header::RETRY_AFTER, " 2 ".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(2)));
        headers.insert(header::RETRY_AFTER, "soon".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
