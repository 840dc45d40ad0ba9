//! The admin listener, from the first moment to the last: health while the host is starting, the API from then on.
//!
//! A start may wait: for another host's migrations, for a component to be compiled. Whoever asks meanwhile is told what for.

use std::sync::{Arc, OnceLock};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use futures::future::BoxFuture;
use marquee_problem::UNAVAILABLE;
use marquee_triggers::server::Listener;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    Api, health,
    life::{Life, Phase},
    problem::Problem,
    routes,
};

/// What answers on the listener; ends it when it is dropped.
pub struct Desk {
    /// The host's life, which readiness follows.
    pub life: Life,
    api: Arc<OnceLock<Router>>,
    /// Where it listens.
    pub listener: Arc<Listener>,
    /// Ends when it does.
    pub stop: CancellationToken,
}

impl Desk {
    /// To answer on a listener, once [`Desk::serving`] runs.
    pub fn open(listener: Listener) -> Self {
        Self {
            life: Life::begin(),
            api: Arc::default(),
            listener: Arc::new(listener),
            stop: CancellationToken::new(),
        }
    }

    /// What answers until it is told to stop; to be begun again if it ends before.
    pub fn serving(&self) -> impl Fn(CancellationToken) -> BoxFuture<'static, ()> + Send + use<> {
        let starting = Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(not_ready))
            .fallback(async || Problem::from(UNAVAILABLE.with("the host is starting")))
            .with_state(self.life.clone());
        let (api, listener) = (Arc::clone(&self.api), Arc::clone(&self.listener));
        move |stop| {
            let (starting, api) = (starting.clone(), Arc::clone(&api));
            let router = move || api.get().unwrap_or(&starting).clone();
            Box::pin(routes::serve(router, Arc::clone(&listener), stop))
        }
    }

    /// From now on this answers.
    pub fn hand_over(&self, api: Api) {
        // It is handed over once.
        let _ = self.api.set(api.router());
    }

    /// What the host does now.
    pub fn starts(&self, with: &'static str) {
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
