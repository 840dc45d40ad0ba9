//! Health while the host is starting: it is alive, and not ready.
//!
//! A start may wait: for another host's migrations, for a component to be compiled. Whoever asks meanwhile is told what for.
//! Bounds: those of the listener's later use.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use marquee_problem::UNAVAILABLE;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{api, health, problem::Problem};

/// Answers until [`Self::end`], or until it is dropped.
pub(crate) struct Starting {
    step: watch::Sender<&'static str>,
    stop: CancellationToken,
    /// One task, which ends with this.
    serving: JoinSet<()>,
}

impl Starting {
    /// Answer on a listener that goes on to be another's.
    pub(crate) fn serve(listener: TcpListener) -> std::io::Result<(Self, TcpListener)> {
        let listener = listener.into_std()?;
        let ours = TcpListener::from_std(listener.try_clone()?)?;
        let (step, shown) = watch::channel("begin");
        let router = Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(not_ready))
            .fallback(async || Problem::from(UNAVAILABLE.with("the host is starting")))
            .with_state(shown);
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(api::serve(router, ours, stop.clone()));
        let starting = Self {
            step,
            stop,
            serving,
        };
        Ok((starting, TcpListener::from_std(listener)?))
    }

    /// What is done now.
    pub(crate) fn goes_on(&self, with: &'static str) {
        self.step.send_replace(with);
    }

    /// Let what is asked be answered, and no more.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        // A client that does not take its answer ends with the task.
        let _ = tokio::time::timeout(PATIENCE, self.serving.join_next()).await;
    }
}

async fn not_ready(State(step): State<watch::Receiver<&'static str>>) -> impl IntoResponse {
    let step = *step.borrow();
    let said = json!({ "status": "starting", "failing": { "start": step } });
    (StatusCode::SERVICE_UNAVAILABLE, health::line(said))
}

const PATIENCE: Duration = Duration::from_secs(1);
