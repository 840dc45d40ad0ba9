//! The movie system's API as its clients see it: the real components on real servers. That every answer is one that the
//! OpenAPI document promises is checked wherever one is seen (`contract`).

mod bad_bodies;
mod bad_input;
mod documents;
mod failures;
mod logins;
mod matrix;
mod movies;
mod ratings;
mod raw_events;
mod reading;
mod topics;
pub(crate) mod users;
mod writing;

use serde_json::Value;

use crate::{
    host::{Host, Setup},
    raw::{self, Answer},
};

pub(super) const JSON: &str = "content-type: application/json";
/// An id that no movie has.
pub(super) const UNKNOWN: &str = "018f0000-0000-7000-8000-000000000000";

/// A running system with one movie.
pub(super) struct Api {
    pub(super) host: Host,
    /// The movie "Playtime".
    pub(super) known: String,
    /// What it stands on, dropped after it.
    _setup: Setup,
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::on(Setup::databases().await).await
    }

    pub(super) async fn on(setup: Setup) -> Self {
        let host = setup.start().await;
        let mut api = Self {
            host,
            known: String::new(),
            _setup: setup,
        };
        let created = api.json("POST /v1/movies", PLAYTIME).await;
        assert_eq!(created.status, 201, "{created:?}");
        api.known = created.json()["id"].as_str().expect("an id").to_owned();
        api
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), &[], "").await
    }

    /// Sends a JSON body.
    pub(super) async fn json(&self, line: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask(line, &[JSON], body).await
    }

    pub(super) async fn ask(&self, line: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
        raw::request(self.host.address(), line, headers, body).await
    }

    /// What a user rated.
    pub(super) async fn ratings(&self, user: &str) -> Vec<Value> {
        let answer = self
            .get(&format!("/v1/users/{user}/ratings?limit=100"))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["ratings"].as_array().expect("a list").clone()
    }
}

/// Fails unless the answer is this problem, and returns it.
#[track_caller]
pub(super) fn assert_problem(what: &str, answer: &Answer, status: u16, name: &str) -> Value {
    assert_eq!(answer.status, status, "{what:.200}: {answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{what:.200}: {answer:?}"
    );
    let problem = answer.json();
    assert_eq!(
        problem["type"],
        format!("/problems/{name}"),
        "{what:.200}: {problem}"
    );
    assert_eq!(problem["status"], status, "{what:.200}: {problem}");
    assert_eq!(
        problem["instance"].as_str(),
        answer.header("x-request-id"),
        "{what:.200}"
    );
    for member in ["title", "detail"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{what:.200}: {problem}"
        );
    }
    for inside in [
        "sqlstate",
        "select ",
        "insert ",
        "postgres",
        "wasm",
        "panicked",
        ".rs:",
        "127.0.0.1",
    ] {
        assert!(
            !answer.body.to_ascii_lowercase().contains(inside),
            "{what:.200}: {inside} in {problem}"
        );
    }
    problem
}

pub(super) const PLAYTIME: &str = r#"{"title": " Playtime ", "description": "A day in a city of glass.", "director": "Jacques Tati"}"#;
