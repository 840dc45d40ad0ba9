//! `/admin/v1`: what is live, the steps that change it, and kept messages; and beside it, for whoever asks, health.
//!
//! Every change is in the history and the log with who asked for it. Bounds: the size of a component, uploads at once.
//! Not here: what a step does, who may ask.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use marquee_database::{Database, Migrations};
use marquee_manifest::ComponentId;
use marquee_problem::{METHOD_NOT_ALLOWED, NO_SUCH_RESOURCE, UNAVAILABLE};
use marquee_registry::{Digest, Event, NotADigest, Refused};
use marquee_releases::{
    Back, ComponentReport, Deployment, Error, HostReport, NotASignature, Promotion, Releases,
    Signature,
};
use marquee_runtime::{Comparison, Health};
use marquee_triggers::server::{self, Listener, Peer, RequestBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    consumers,
    documents::{Deploy, HistoryOf, Keep, Migrate, Migrated, Pin, Promote, Rollback, Together},
    events::Events,
    health::{self, Part},
    life::Life,
    messages, outbox,
    peer::{Token, Who, admit},
    problem::{self, Problem},
    upload,
};

/// The API of a host. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    releases: Releases,
    pub(crate) events: Events,
    /// Of each component that has one.
    databases: Arc<BTreeMap<ComponentId, Database>>,
    pub(crate) parts: Arc<[Part]>,
    pub(crate) life: Life,
    /// None: there is no API over TCP.
    token: Option<Token>,
    uploads: Arc<Semaphore>,
}

type Answer<T> = Result<Json<T>, Problem>;

impl Api {
    /// What it tells of and changes. Without a token it is not for who asks over TCP.
    pub fn new(
        releases: Releases,
        events: Events,
        databases: BTreeMap<ComponentId, Database>,
        parts: Vec<Part>,
        life: Life,
        token: Option<Token>,
    ) -> Self {
        Self {
            releases,
            events,
            databases: Arc::new(databases),
            parts: parts.into(),
            life,
            token,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
        }
    }

    /// Its routes, and those of health.
    pub fn router(self) -> Router {
        let component = "/components/{component}";
        let admin = Router::new()
            .route("/health", get(health::parts))
            .route("/components", get(components))
            .route(component, get(one))
            .route(&format!("{component}/versions"), post(deploy))
            .route(
                &format!("{component}/versions/{{version}}"),
                get(bytes).put(keep),
            )
            .route("/steps", post(release))
            .route(&format!("{component}/migrations"), post(migrate))
            .route(&format!("{component}/promote"), post(promote))
            .route(&format!("{component}/rollback"), post(rollback))
            .route(&format!("{component}/pin"), put(pin))
            .route(&format!("{component}/labels/{{label}}"), delete(unlabel))
            .route(
                &format!("{component}/shadow"),
                get(comparison).delete(unshadow),
            )
            .route("/history", get(history))
            .route("/hosts", get(hosts))
            .route("/openapi.json", get(openapi))
            .merge(consumers::routes())
            .merge(messages::routes())
            .merge(outbox::routes())
            .fallback(async || nothing())
            .layer(middleware::from_fn_with_state(self.token.clone(), admit));
        Router::new()
            .nest("/admin/v1", admin)
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route("/problems/{name}", get(problem::kind))
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

async fn components(State(api): State<Api>) -> Answer<Vec<ComponentReport>> {
    Ok(Json(api.reports(None).await?))
}

async fn one(State(api): State<Api>, Named(id): Named) -> Answer<ComponentReport> {
    api.report(&id).await
}

async fn deploy(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    query: Result<Query<Deploy>, QueryRejection>,
    body: Body,
) -> Answer<ComponentReport> {
    let Query(wanted) = query?;
    let how = wanted.how().map_err(Problem::invalid)?;
    let signature = signature(wanted.signature)?;
    let place = api.upload()?;
    let is_line = |from: &String| from.len() <= FROM_BYTES && !from.contains(char::is_control);
    if !wanted.from.as_ref().is_none_or(is_line) {
        let rule = format!("`from` has at most {FROM_BYTES} bytes, and is one line");
        return Err(Problem::invalid(rule));
    }
    let deployment = Deployment {
        bytes: upload::reader(body, api.releases.stopping()),
        label: wanted.label,
        signature,
        from: wanted.from,
        migration: wanted.migration,
        how,
    };
    // In a task of its own: a client that goes away does not stop a step half-way.
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move {
            let _place = place;
            releases.deploy(&who, &component, deployment).await
        })
        .await?;
    api.report(&id).await
}

/// Keep the bytes of a version, for a step to come.
async fn keep(
    State(api): State<Api>,
    Path((component, version)): Path<(String, String)>,
    Who(who): Who,
    query: Result<Query<Keep>, QueryRejection>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let id = named(&component)?;
    let digest: Result<Digest, NotADigest> = version.parse();
    let digest = digest.map_err(|error| {
        Problem::invalid(format!("{error}: a version is kept by its whole digest"))
    })?;
    let Query(wanted) = query?;
    let signature = signature(wanted.signature)?;
    let place = api.upload()?;
    let version = (upload::reader(body, api.releases.stopping()), signature);
    let releases = api.releases.clone();
    api.releases
        .carry_out(async move {
            let _place = place;
            releases.store(&who, &id, digest, version).await
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Run what is missing of a component's migrations: what expands its tables, or what takes something away.
async fn migrate(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    Document(wanted): Document<Migrate>,
) -> Answer<Migrated> {
    let Some(database) = api.databases.get(&id).cloned() else {
        let detail = format!("component {id} has no database, so it has no migrations");
        return Err(Problem::invalid(detail));
    };
    let migrations = Migrations::of(database.name(), &wanted.files).map_err(Error::from)?;
    let newest = migrations.newest();
    let releases = api.releases.clone();
    let applied = api
        .releases
        .carry_out(async move {
            match wanted.contract {
                true => releases.contract(&who, &id, &migrations, &database).await,
                false => releases.expand(&who, &id, &migrations, &database).await,
            }
        })
        .await?;
    Ok(Json(Migrated { applied, newest }))
}

/// Versions that are kept, made live as one step.
async fn release(
    State(api): State<Api>,
    Who(who): Who,
    Document(wanted): Document<Together>,
) -> Answer<Vec<ComponentReport>> {
    let ids: Vec<ComponentId> = wanted.components.keys().cloned().collect();
    if ids.is_empty() {
        return Err(Problem::invalid(
            "a step is of one component or more".into(),
        ));
    }
    let (releases, release) = (api.releases.clone(), wanted.release());
    api.releases
        .carry_out(async move { releases.release(&who, release).await })
        .await?;
    let mut reports = Vec::new();
    for id in &ids {
        reports.extend(api.reports(Some(id)).await?);
    }
    Ok(Json(reports))
}

async fn promote(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    Document(wanted): Document<Promote>,
) -> Answer<ComponentReport> {
    let how = wanted.how().map_err(Problem::invalid)?;
    let version = wanted.version;
    let promotion = Promotion { version, how };
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move { releases.promote(&who, &component, promotion).await })
        .await?;
    api.report(&id).await
}

async fn rollback(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    query: Result<Query<Rollback>, QueryRejection>,
) -> Answer<ComponentReport> {
    let Query(Rollback { to, force }) = query?;
    let health = if force { Health::Forced } else { Health::Asked };
    let (releases, component) = (api.releases.clone(), id.clone());
    let back = Back { to, health };
    api.releases
        .carry_out(async move { releases.rollback(&who, &component, back).await })
        .await?;
    api.report(&id).await
}

async fn unlabel(
    State(api): State<Api>,
    Path((component, label)): Path<(String, String)>,
    Who(who): Who,
) -> Answer<ComponentReport> {
    let id = named(&component)?;
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move { releases.unlabel(&who, &component, &label).await })
        .await?;
    api.report(&id).await
}

async fn comparison(State(api): State<Api>, Named(id): Named) -> Answer<Comparison> {
    let found = api.releases.comparison(&id)?;
    let none = || Problem::from(Error::Refused(Refused::NoShadow));
    found.map(Json).ok_or_else(none)
}

async fn unshadow(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
) -> Answer<ComponentReport> {
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move { releases.unshadow(&who, &component).await })
        .await?;
    api.report(&id).await
}

async fn pin(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    Document(Pin { pinned }): Document<Pin>,
) -> Answer<ComponentReport> {
    let (releases, component) = (api.releases.clone(), id.clone());
    api.releases
        .carry_out(async move { releases.pin(&who, &component, pinned).await })
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
    let limit = usize::try_from(wanted.limit.clamp(1, 1_000)).unwrap_or(1_000);
    Ok(Json(api.releases.history(limit, component).await?))
}

async fn hosts(State(api): State<Api>) -> Answer<Vec<HostReport>> {
    Ok(Json(api.releases.hosts().await?))
}

async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

impl Api {
    /// A place for the bytes of a version that come.
    fn upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.uploads).try_acquire_owned();
        place.map_err(|_| {
            let detail = "other versions are being deployed; try again when they are";
            UNAVAILABLE.with(detail).into()
        })
    }

    async fn report(&self, id: &ComponentId) -> Answer<ComponentReport> {
        let mut found = self.reports(Some(id)).await?;
        found.pop().map(Json).ok_or_else(nothing)
    }

    async fn reports(&self, id: Option<&ComponentId>) -> Result<Vec<ComponentReport>, Problem> {
        let mut found = self.releases.report(id).await?;
        for report in &mut found {
            if let Some(weight) = report.canary() {
                report.shares = self.events.shares(&report.component, weight).await;
            }
        }
        Ok(found)
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

fn signature(text: Option<String>) -> Result<Option<Signature>, Problem> {
    let signature = text.map(|text| text.parse()).transpose();
    signature.map_err(|error: NotASignature| Problem::invalid(error.to_string()))
}

fn nothing() -> Problem {
    let detail = "see /admin/v1/openapi.json for what there is";
    NO_SUCH_RESOURCE.with(detail).into()
}

/// Any reference fits.
const FROM_BYTES: usize = 1_024;
/// Each takes its size in memory, and a compiler.
const UPLOADS: usize = 4;
