//! How requests are sent, and sent again.
//!
//! Promises: a call is tried until it is answered, refused, or given up: no answer, 408, 429 and 5xx are tried again,
//! after what `Retry-After` asks for at least; other statuses are answers. A token that ran out is replaced once a call.
//! Bounds: `ATTEMPT_DEADLINE` a try, the patience a call, `BODY_MAX_BYTES` an answer. Connections are kept alive and
//! send at once (`TCP_NODELAY`).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderMap},
    redirect,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::error::{Error, Problem};
use crate::{
    retry::{self, Pulse},
    session::Session,
};

/// Requests to one server.
#[derive(Debug)]
pub(super) struct Transport {
    base: Url,
    http: reqwest::Client,
    pub(super) session: Session,
    pub(super) pulse: Pulse,
    patience: Duration,
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
}

/// One request, as often as it is sent.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Bytes,
    /// Names what is to happen once.
    pub(super) key: Option<String>,
}

/// How far a call is.
#[derive(Debug)]
pub(super) struct Tries {
    began: Instant,
    failures: u32,
    /// A token that was good a moment ago may have run out, a new one has not.
    logged_in_anew: bool,
}

/// "Not now", which is not "no".
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) reason: String,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// How long the try took that it answers.
    pub(super) latency: Duration,
}

impl Tries {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            failures: 0,
            logged_in_anew: false,
        }
    }
}

impl Call {
    /// A read.
    pub(super) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            body: Bytes::new(),
            key: None,
        }
    }

    pub(super) fn what(&self) -> String {
        format!("{} {}", self.method, self.url)
    }
}

impl Answer {
    pub(super) fn parse<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Answer {
            what: call.what(),
            reason: source.to_string(),
        })
    }

    pub(super) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn refusal(&self) -> Error {
        self.problem().into_error(self.status)
    }
}

impl Transport {
    pub(super) fn new(url: &str, connections: usize, patience: Duration) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Address {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let base: Url = url.parse().map_err(|_| refused("it is not a URL"))?;
        if base.scheme() != "http" {
            return Err(refused(
                "it must begin with http:// (put a TLS proxy's plain side here)",
            ));
        }
        if base.path() != "/" || base.query().is_some() {
            return Err(refused("it must end after the host and the port"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(ATTEMPT_DEADLINE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .tcp_nodelay(true)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| refused(&chain(&error)))?;
        Ok(Self {
            base,
            http,
            session: Session::default(),
            pulse: Pulse::new(),
            patience,
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        })
    }

    /// The server's address, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The URL with these parts of a path. `.` and `..` can be none, in any URL.
    pub(super) fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        // It fails for what has no host alone.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(parts);
        }
        url
    }

    /// What is answered in the end.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        let mut tries = Tries::begin();
        loop {
            match self.attempt(call, &mut tries).await? {
                Ok(answer) => {
                    self.pulse.beat();
                    return Ok(answer);
                }
                Err(passing) => self.wait(call, &mut tries, passing).await?,
            }
        }
    }

    /// One try: an answer, or why it is worth another.
    ///
    /// # Errors
    /// Where logging in fails.
    pub(super) async fn attempt(
        &self,
        call: &Call,
        tries: &mut Tries,
    ) -> Result<Result<Answer, Passing>, Error> {
        let logs_in = call.url.path() == LOG_IN;
        loop {
            // Whoever logs in holds the token until there is another one.
            let token = match logs_in {
                true => None,
                false => self.session.token().await,
            };
            let answer = match self.exchange(call, token.as_deref()).await {
                Ok(answer) => answer,
                Err(error) => {
                    let reason = chain(&error.without_url());
                    return Ok(Err(Passing {
                        reason,
                        retry_after: None,
                    }));
                }
            };
            let may_log_in =
                !logs_in && !tries.logged_in_anew && self.session.credentials.is_some();
            if answer.status == StatusCode::UNAUTHORIZED && may_log_in {
                tries.logged_in_anew = true;
                let renewed = self.session.renew(token.as_deref(), || self.log_in());
                renewed.await?;
            } else if is_passing(answer.status) {
                return Ok(Err(Passing {
                    reason: answer.refusal().to_string(),
                    retry_after: retry_after(&answer.headers),
                }));
            } else {
                return Ok(Ok(answer));
            }
        }
    }

    /// Until it is time to try again.
    ///
    /// # Errors
    /// `GaveUp` when the patience is over.
    pub(super) async fn wait(
        &self,
        call: &Call,
        tries: &mut Tries,
        passing: Passing,
    ) -> Result<(), Error> {
        let everything = self.pulse.silence() >= self.patience;
        if everything || tries.began.elapsed() >= self.patience {
            return Err(Error::GaveUp {
                what: call.what(),
                patience_s: self.patience.as_secs(),
                last: passing.reason,
                everything,
            });
        }
        tries.failures += 1;
        self.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(retry::draw(tries.failures, passing.retry_after)).await;
        Ok(())
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
        let call = Call {
            method: Method::POST,
            url: self.url(&["v1", "sessions"]),
            body: body.to_string().into(),
            key: None,
        };
        let answer = Box::pin(self.call(&call)).await?;
        match answer.status.is_success() {
            true => Ok(answer.parse::<Begun>(&call)?.access_token),
            false => Err(answer.refusal()),
        }
    }

    async fn exchange(&self, call: &Call, token: Option<&str>) -> Result<Answer, reqwest::Error> {
        let mut request = self
            .http
            .request(call.method.clone(), call.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(call.body.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let mut response = request.send().await?;
        let mut body = BytesMut::new();
        // What is cut at the bound is no JSON, and told as such.
        while body.len() < BODY_MAX_BYTES
            && let Some(chunk) = response.chunk().await?
        {
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
            latency: started.elapsed(),
        })
    }
}

/// Statuses that say "not now" rather than "no".
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Where a session begins.
const LOG_IN: &str = "/v1/sessions";
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longer than the server's own deadline, so that its 504 is seen rather than guessed.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(40);
const IDLE: Duration = Duration::from_secs(20);
/// Many times what the largest list is answered with.
const BODY_MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_gives_meaning_to_is_encoded() {
        let transport = Transport::new("http://127.0.0.1:3000/", 1, retry::PATIENCE).unwrap();
        assert_eq!(transport.base(), "http://127.0.0.1:3000");
        let url = transport.url(&["v1", "8½ / a?b"]);
        assert_eq!(url.path(), "/v1/8%C2%BD%20%2F%20a%3Fb");
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_a_reason() {
        for (url, part) in [
            ("https://example.org", "http://"),
            ("http://example.org/v1", "after the host"),
            ("not a url", "not a URL"),
        ] {
            let error = Transport::new(url, 1, retry::PATIENCE).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
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
