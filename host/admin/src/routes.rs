//! All routes, and answering by them: `/admin/v1` for who may ask, and beside it, for whoever asks, health and metrics.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use marquee_problem::METHOD_NOT_ALLOWED;
use marquee_triggers::server::{self, Listener, Peer, RequestBody};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    components, console, consumers, health, messages, metrics, outbox,
    peer::{Gate, admit},
    problem::{self, Problem, nothing},
    state, traces,
};

impl Api {
    /// Its routes, and those of health and metrics.
    pub fn router(self) -> Router {
        let gate = Gate {
            token: self.token.clone(),
            sessions: self.sessions.clone(),
        };
        let admin = Router::new()
            .route("/health", get(health::parts))
            .route("/openapi.json", get(openapi))
            .merge(components::routes())
            .merge(consumers::routes())
            .merge(messages::routes())
            .merge(outbox::routes())
            .merge(state::routes())
            .merge(traces::routes())
            .merge(console::routes())
            .fallback(async || nothing())
            .layer(middleware::from_fn_with_state(gate, admit));
        Router::new()
            .nest("/admin/v1", admin)
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/problems/{name}", get(problem::kind))
            .merge(console::page())
            .fallback(async || nothing())
            .method_not_allowed_fallback(async || {
                let detail = "see /admin/v1/openapi.json for what there is";
                Problem::from(METHOD_NOT_ALLOWED.with(detail))
            })
            .with_state(self)
    }
}

/// Answer until `stop`, by what is the router then.
pub async fn serve(
    router: impl Fn() -> Router + Clone + Send + Sync + 'static,
    listener: Arc<Listener>,
    stop: CancellationToken,
) {
    let handler = move |mut request: Request<RequestBody>, peer: Peer| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = TowerToHyperService::new(router()).call(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    };
    let stop = server::Stop {
        drain: stop,
        ..server::Stop::default()
    };
    server::serve(listener, server::Limits::default(), handler, stop).await;
}

async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}
