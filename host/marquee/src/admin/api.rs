//! `/admin/v1`: what is live, the steps that change it, and kept messages.
//!
//! Every change is in the history and the log with who asked for it. Bounds: the size of a component, uploads at once.
//! Not here: what a step does.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use marquee_database::Database;
use marquee_manifest::ComponentId;
use marquee_registry::Event;
use tokio::{net::UnixListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    documents::{Deploy, HistoryOf, Pin, Promote, UPLOAD_BYTES},
    messages,
    problem::Problem,
    socket::Peer,
};
use crate::releases::{ComponentReport, Deployment, Releases};

/// The API of a host.
#[derive(Clone)]
pub(crate) struct Api {
    releases: Releases,
    /// In which messages are kept.
    pub(super) databases: Arc<[Database]>,
    uploads: Arc<Semaphore>,
}

type Answer<T> = Result<Json<T>, Problem>;

impl Api {
    pub(crate) fn new(releases: Releases, databases: impl IntoIterator<Item = Database>) -> Self {
        Self {
            releases,
            databases: databases.into_iter().collect(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
        }
    }

    /// Answer on a socket until `stop`.
    pub(crate) async fn serve(self, listener: UnixListener, stop: CancellationToken) {
        let service = self.router().into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin API has ended");
        }
    }

    fn router(self) -> Router {
        let component = "/admin/v1/components/{component}";
        Router::new()
            .route("/admin/v1/components", get(components))
            .route(component, get(one))
            .route(&format!("{component}/versions"), post(deploy))
            .route(&format!("{component}/versions/{{version}}"), get(bytes))
            .route(&format!("{component}/promote"), post(promote))
            .route(&format!("{component}/rollback"), post(rollback))
            .route(&format!("{component}/pin"), put(pin))
            .route("/admin/v1/history", get(history))
            .route("/admin/v1/openapi.json", get(openapi))
            .merge(messages::routes())
            .fallback(async || nothing())
            .method_not_allowed_fallback(async || {
                let detail = "see /admin/v1/openapi.json for what there is";
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "There is no such method",
                    detail,
                )
            })
            .layer(middleware::from_fn(owner_only))
            .with_state(self)
    }
}

async fn owner_only(
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if peer.is_owner() {
        return next.run(request).await;
    }
    let detail = "the admin API is for the user that the host runs as";
    Problem::new(StatusCode::FORBIDDEN, "It is not yours", detail).into_response()
}

async fn components(State(api): State<Api>) -> Answer<Vec<ComponentReport>> {
    Ok(Json(api.releases.report(None).await?))
}

async fn one(State(api): State<Api>, Named(id): Named) -> Answer<ComponentReport> {
    api.report(&id).await
}

async fn deploy(
    State(api): State<Api>,
    Named(id): Named,
    ConnectInfo(peer): ConnectInfo<Peer>,
    query: Result<Query<Deploy>, QueryRejection>,
    body: Body,
) -> Answer<ComponentReport> {
    let Query(how) = query?;
    let Ok(_place) = api.uploads.try_acquire() else {
        let detail = "other versions are being deployed; try again when they are";
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The host is busy",
            detail,
        ));
    };
    let bytes = axum::body::to_bytes(body, UPLOAD_BYTES)
        .await
        .map_err(|error| {
            if std::error::Error::source(&error)
                .is_some_and(|e| e.is::<http_body_util::LengthLimitError>())
            {
                let detail = format!("a component has at most {} MiB", UPLOAD_BYTES >> 20);
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "The component is too large",
                    detail,
                )
            } else {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "The component did not arrive",
                    error.to_string(),
                )
            }
        })?;
    let deployment = Deployment {
        bytes: bytes.into(),
        weight: how.weight,
        label: how.label,
        widen: how.widen,
    };
    // In a task of its own: a client that goes away does not stop a step half-way.
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move {
            releases
                .deploy(&peer.to_string(), &component, deployment)
                .await
        })
        .await?;
    api.report(&id).await
}

async fn promote(
    State(api): State<Api>,
    Named(id): Named,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Document(wanted): Document<Promote>,
) -> Answer<ComponentReport> {
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move {
            let Promote {
                version,
                weight,
                widen,
            } = wanted;
            releases
                .promote(&peer.to_string(), &component, &version, weight, widen)
                .await
        })
        .await?;
    api.report(&id).await
}

async fn rollback(
    State(api): State<Api>,
    Named(id): Named,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Answer<ComponentReport> {
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move { releases.rollback(&peer.to_string(), &component).await })
        .await?;
    api.report(&id).await
}

async fn pin(
    State(api): State<Api>,
    Named(id): Named,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Document(Pin { pinned }): Document<Pin>,
) -> Answer<ComponentReport> {
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move { releases.pin(&peer.to_string(), &component, pinned).await })
        .await?;
    api.report(&id).await
}

async fn bytes(
    State(api): State<Api>,
    Path((component, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let component = named(&component)?;
    let bytes = api.releases.bytes(&component, &version).await?;
    let kind = [(header::CONTENT_TYPE, "application/wasm")];
    Ok((kind, Bytes::from(bytes)).into_response())
}

async fn history(
    State(api): State<Api>,
    query: Result<Query<HistoryOf>, QueryRejection>,
) -> Answer<Vec<Event>> {
    let Query(wanted) = query?;
    let component = wanted.component.as_deref().map(named).transpose()?;
    let limit = wanted.limit.clamp(1, 1_000);
    Ok(Json(api.releases.history(limit, component).await?))
}

async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

impl Api {
    async fn report(&self, id: &ComponentId) -> Answer<ComponentReport> {
        let mut found = self.releases.report(Some(id)).await?;
        found.pop().map(Json).ok_or_else(nothing)
    }
}

/// The component that the path names.
struct Named(ComponentId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|_| nothing())?;
        named(&name).map(Self)
    }
}

/// A JSON body.
struct Document<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        let Json(document) = read?;
        Ok(Self(document))
    }
}

fn named(name: &str) -> Result<ComponentId, Problem> {
    name.parse().map_err(|_| nothing())
}

fn nothing() -> Problem {
    let detail = "see /admin/v1/openapi.json for what there is";
    Problem::new(StatusCode::NOT_FOUND, "There is nothing here", detail)
}

/// Each takes its size in memory, and a compiler.
const UPLOADS: usize = 4;
