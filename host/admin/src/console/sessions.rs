//! Sessions of the console: what a browser shows instead of the host's token.
//!
//! Whoever may use the admin API opens one and gives it to a browser. It is known by a random secret, of which the host keeps
//! the digest; it says who opened it, may be for looking only, and ends after half a day or with the host. A session opens no
//! other one. Bound: [`MOST`]; beyond them the oldest ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    routing::{get, post},
};
use marquee_problem::{FORBIDDEN, INTERNAL};
use marquee_registry::Digest;
use serde::{Deserialize, Serialize};

use crate::{api::Api, peer::Who, problem::Problem};

/// Those that a host knows. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<BTreeMap<Digest, Session>>>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Who opened it.
    pub(crate) who: String,
    pub(crate) may: May,
    until: SystemTime,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum May {
    /// All that the admin API does.
    Change,
    /// Ask, and change nothing.
    Look,
}

impl Sessions {
    /// A new one, known by this secret.
    fn open(&self, secret: &str, who: String, may: May, now: SystemTime) -> Session {
        let until = now + LASTS;
        let session = Session { who, may, until };
        let mut all = self.lock();
        all.retain(|_, session| session.until > now);
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, session)| session.until);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                all.remove(&oldest);
            }
        }
        all.insert(Digest::of(secret.as_bytes()), session.clone());
        session
    }

    /// The one that somebody shows the secret of.
    pub(crate) fn of(&self, secret: &[u8], now: SystemTime) -> Option<Session> {
        let session = self.lock().get(&Digest::of(secret)).cloned();
        session.filter(|session| session.until > now)
    }

    fn close(&self, secret: Digest) {
        self.lock().remove(&secret);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is the secret of a session, open or not.
pub(crate) fn is_one(secret: &[u8]) -> bool {
    secret.starts_with(PREFIX.as_bytes())
}

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/sessions", post(open))
        .route("/session", get(current).delete(close))
}

/// The session in which somebody asks, by its secret's digest; none: by another way in.
pub(crate) type Current = Option<(Digest, Session)>;

/// `POST /admin/v1/sessions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opens {
    #[serde(default)]
    read_only: bool,
}

/// What is told of somebody who asks.
#[derive(Debug, Serialize)]
struct Told {
    who: String,
    may: May,
    /// None: not by a session, so it does not end.
    until_ms: Option<u64>,
}

/// What is told once, to who opened a session.
#[derive(Serialize)]
struct Opened {
    #[serde(flatten)]
    session: Told,
    secret: String,
    /// Where a browser reaches the host. None: nowhere.
    address: Option<String>,
}

async fn open(
    State(api): State<Api>,
    Who(who): Who,
    Extension(current): Extension<Current>,
    query: Result<Query<Opens>, QueryRejection>,
) -> Result<Json<Opened>, Problem> {
    let Query(Opens { read_only }) = query?;
    if current.is_some() {
        return Err(FORBIDDEN.with("a session opens no other one").into());
    }
    let may = if read_only { May::Look } else { May::Change };
    let secret = secret().map_err(|error| INTERNAL.with(format!("there is no chance: {error}")))?;
    let session = api.sessions.open(&secret, who, may, SystemTime::now());
    tracing::info!(
        who = session.who,
        read_only,
        "{} opened a session of the console",
        session.who
    );
    let address = api.console.address;
    Ok(Json(Opened {
        session: session.told(),
        secret,
        address,
    }))
}

/// Who asks, and what they may do.
async fn current(Who(who): Who, Extension(current): Extension<Current>) -> Json<Told> {
    Json(match current {
        Some((_, session)) => session.told(),
        None => Told {
            who,
            may: May::Change,
            until_ms: None,
        },
    })
}

async fn close(State(api): State<Api>, Extension(current): Extension<Current>) -> StatusCode {
    if let Some((digest, _)) = current {
        api.sessions.close(digest);
    }
    StatusCode::NO_CONTENT
}

impl Session {
    fn told(&self) -> Told {
        let until = self.until.duration_since(SystemTime::UNIX_EPOCH);
        Told {
            who: self.who.clone(),
            may: self.may,
            until_ms: until.ok().and_then(|it| u64::try_from(it.as_millis()).ok()),
        }
    }
}

/// 256 bits that nobody guesses.
fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{PREFIX}{:#}", Digest::of(&bytes)))
}

/// So that it is known for what it is wherever it turns up.
const PREFIX: &str = "mqs_";
/// A working day, and a while.
const LASTS: Duration = Duration::from_secs(12 * 3_600);
/// Of a host; more people than look at one.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_its_secret_until_its_time_has_come() {
        let (sessions, now) = (Sessions::default(), SystemTime::now());
        let secret = secret().expect("chance");
        sessions.open(&secret, "ann".to_owned(), May::Look, now);
        let found = sessions.of(secret.as_bytes(), now).expect("it is open");
        assert_eq!((found.who.as_str(), found.may), ("ann", May::Look));
        assert!(is_one(secret.as_bytes()));
        assert!(sessions.of(&secret.as_bytes()[1..], now).is_none());
        assert!(sessions.of(secret.as_bytes(), now + LASTS).is_none());
        sessions.close(Digest::of(secret.as_bytes()));
        assert!(sessions.of(secret.as_bytes(), now).is_none());
    }

    #[test]
    fn of_too_many_the_oldest_ends() {
        let (sessions, now) = (Sessions::default(), SystemTime::now());
        sessions.open("mqs_0", "ann".to_owned(), May::Change, now);
        for second in 1..=MOST as u64 {
            let later = now + Duration::from_secs(second);
            let secret = format!("mqs_{second}");
            sessions.open(&secret, "bob".to_owned(), May::Change, later);
        }
        assert!(sessions.of(b"mqs_0", now).is_none());
        assert!(sessions.of(b"mqs_1", now).is_some());
        assert_eq!(sessions.lock().len(), MOST);
    }
}
