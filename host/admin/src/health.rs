//! Whether the host is alive, and whether it is ready.
//!
//! `/healthz` answers while the process can answer at all. `/readyz` asks every part and names what is not ready, or says
//! that the host is starting or draining;
//! `/admin/v1/health` tells of every part. Each part has a second to answer.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use serde_json::json;

use crate::life::{Life, Phase};

/// Something that must work before the host is ready: its name, and a question.
pub struct Part {
    /// As readiness tells it.
    pub name: String,
    /// Asked each time that readiness is.
    pub ask: Box<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>,
}

/// It works, with what a person should know nevertheless; or what is wrong.
pub type Answer = Result<Option<String>, String>;

/// What health is told from.
#[derive(Clone)]
pub struct Health {
    parts: Arc<[Part]>,
    life: Life,
}

impl Health {
    /// Of these parts, and of where the host is in its life.
    pub fn new(parts: Vec<Part>, life: Life) -> Self {
        let parts = parts.into();
        Self { parts, life }
    }
}

/// What a part answered.
#[derive(Debug, Serialize)]
pub(crate) struct PartReport {
    name: String,
    ready: bool,
    /// What is wrong, or to be known.
    detail: Option<String>,
}

pub(crate) async fn alive() -> impl IntoResponse {
    line(json!({ "status": "alive" }))
}

pub(crate) async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let failing: serde_json::Map<_, _> = ask(&health.parts)
        .await
        .into_iter()
        .filter(|part| !part.ready)
        .map(|part| (part.name, part.detail.into()))
        .collect();
    let status = match health.life.phase() {
        Phase::Draining => "draining",
        _ if failing.is_empty() => {
            return (StatusCode::OK, line(json!({ "status": "ready" })));
        }
        _ => "not ready",
    };
    let said = json!({ "status": status, "failing": failing });
    (StatusCode::SERVICE_UNAVAILABLE, line(said))
}

pub(crate) async fn parts(State(health): State<Health>) -> impl IntoResponse {
    let parts = ask(&health.parts).await;
    let is_draining = health.life.phase() == Phase::Draining;
    let ready = !is_draining && parts.iter().all(|part| part.ready);
    Json(json!({ "ready": ready, "parts": parts }))
}

async fn ask(parts: &[Part]) -> Vec<PartReport> {
    let answers = parts.iter().map(async |part| {
        let answer = tokio::time::timeout(PATIENCE, (part.ask)()).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer within a second".to_owned()));
        PartReport {
            name: part.name.clone(),
            ready: answer.is_ok(),
            detail: answer.unwrap_or_else(Some),
        }
    });
    join_all(answers).await
}

/// JSON in a line of its own, for people who ask with curl.
pub(crate) fn line(value: serde_json::Value) -> impl IntoResponse {
    let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (kind, format!("{value}\n"))
}

const PATIENCE: Duration = Duration::from_secs(1);
