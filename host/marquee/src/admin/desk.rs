//! The admin listener, from the first moment to the last: health while the host is starting, the API from then on.
//!
//! A start may wait: for another host's migrations, for a component to be compiled. Whoever asks meanwhile is told what for.

use std::sync::{Arc, OnceLock};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use marquee_problem::UNAVAILABLE;
use marquee_triggers::server::Listener;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Api, api, health, problem::Problem};
use crate::{
    life::{Life, Phase},
    tasks::Tasks,
};

/// Answers until it is dropped.
pub(crate) struct Desk {
    pub(crate) life: Life,
    api: Arc<OnceLock<Router>>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) stop: CancellationToken,
}

impl Desk {
    /// Answer on a listener, as one of these tasks.
    pub(crate) fn open(listener: Listener, tasks: &Tasks) -> Self {
        let life = Life::begin();
        let starting = Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(not_ready))
            .fallback(async || Problem::from(UNAVAILABLE.with("the host is starting")))
            .with_state(life.clone());
        let desk = Self {
            life,
            api: Arc::default(),
            listener: Arc::new(listener),
            stop: CancellationToken::new(),
        };
        let (api, listener) = (Arc::clone(&desk.api), Arc::clone(&desk.listener));
        tasks.keep("admin", &desk.stop, move |stop| {
            let (starting, api) = (starting.clone(), Arc::clone(&api));
            let router = move || api.get().unwrap_or(&starting).clone();
            api::serve(router, Arc::clone(&listener), stop)
        });
        desk
    }

    /// From now on this answers.
    pub(crate) fn hand_over(&self, api: Api) {
        // It is handed over once.
        let _ = self.api.set(api.router());
    }

    /// What the host does now.
    pub(crate) fn starts(&self, with: &'static str) {
        self.life.goes_on(Phase::Starting(with));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn not_ready(State(life): State<Life>) -> impl IntoResponse {
    let step = match life.phase() {
        Phase::Starting(step) => step,
        // In the moment before the API is there.
        Phase::Ready | Phase::Draining => "almost",
    };
    let said = json!({ "status": "starting", "failing": { "start": step } });
    (StatusCode::SERVICE_UNAVAILABLE, health::line(said))
}
