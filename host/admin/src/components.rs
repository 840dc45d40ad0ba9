//! `/admin/v1/components`, `steps`, `history` and `hosts`: what is live, and the steps that change it.
//!
//! Every change is in the history and the log with who asked for it. Bounds: the size of a component, uploads at once.
//! Not here: what a step does, who may ask.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use marquee_database::Migrations;
use marquee_manifest::ComponentId;
use marquee_problem::INTERNAL;
use marquee_registry::{Digest, Event, NotADigest, Refused};
use marquee_releases::{
    Back, ComponentReport, Deployment, Error, HostReport, NotASignature, Promotion, Signature,
};
use marquee_runtime::{Comparison, Health};

use crate::{
    api::{Answer, Api},
    documents::{Deploy, HistoryOf, Keep, Migrate, Migrated, Pin, Promote, Rollback, Together},
    extract::{Document, Named, named},
    peer::Who,
    problem::Problem,
    upload, wit,
};

pub(crate) fn routes() -> Router<Api> {
    let component = "/components/{component}";
    Router::new()
        .route("/components", get(all))
        .route(component, get(one))
        .route(&format!("{component}/versions"), post(deploy))
        .route(
            &format!("{component}/versions/{{version}}"),
            get(bytes).put(keep),
        )
        .route(&format!("{component}/versions/{{version}}/wit"), get(shown))
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
}

async fn all(State(api): State<Api>) -> Answer<Vec<ComponentReport>> {
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
    is_line(wanted.from.as_deref())?;
    let deployment = Deployment {
        bytes: upload::reader(body, api.releases.stopping()),
        label: wanted.label,
        signature,
        from: wanted.from,
        migration: wanted.migration,
        how,
    };
    api.step(id, move |releases, id| async move {
        let _place = place;
        releases.deploy(&who, &id, deployment).await
    })
    .await
}

/// Where a version comes from, as it stands in the history.
fn is_line(from: Option<&str>) -> Result<(), Problem> {
    if from.is_none_or(|from| from.len() <= FROM_BYTES && !from.contains(char::is_control)) {
        return Ok(());
    }
    let rule = format!("`from` has at most {FROM_BYTES} bytes, and is one line");
    Err(Problem::invalid(rule))
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
    for one in wanted.components.values() {
        is_line(one.from.as_deref())?;
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
    api.step(id, move |releases, id| async move {
        releases.promote(&who, &id, promotion).await
    })
    .await
}

async fn rollback(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    query: Result<Query<Rollback>, QueryRejection>,
) -> Answer<ComponentReport> {
    let Query(Rollback { to, force }) = query?;
    let health = if force { Health::Forced } else { Health::Asked };
    let back = Back { to, health };
    api.step(id, move |releases, id| async move {
        releases.rollback(&who, &id, back).await
    })
    .await
}

async fn unlabel(
    State(api): State<Api>,
    Path((component, label)): Path<(String, String)>,
    Who(who): Who,
) -> Answer<ComponentReport> {
    let id = named(&component)?;
    api.step(id, move |releases, id| async move {
        releases.unlabel(&who, &id, &label).await
    })
    .await
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
    api.step(id, move |releases, id| async move {
        releases.unshadow(&who, &id).await
    })
    .await
}

async fn pin(
    State(api): State<Api>,
    Named(id): Named,
    Who(who): Who,
    Document(Pin { pinned }): Document<Pin>,
) -> Answer<ComponentReport> {
    api.step(id, move |releases, id| async move {
        releases.pin(&who, &id, pinned).await
    })
    .await
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

/// What it imports and exports.
async fn shown(
    State(api): State<Api>,
    Path((component, version)): Path<(String, String)>,
) -> Result<String, Problem> {
    let component = named(&component)?;
    let bytes = api.releases.bytes(&component, &version).await?;
    let shown = tokio::task::spawn_blocking(move || wit::describe(&bytes)).await;
    let problem = |error: anyhow::Error| Problem::from(INTERNAL.with(format!("{error:#}")));
    shown
        .map_err(|error| problem(error.into()))?
        .map_err(problem)
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

fn signature(text: Option<String>) -> Result<Option<Signature>, Problem> {
    let signature = text.map(|text| text.parse()).transpose();
    signature.map_err(|error: NotASignature| Problem::invalid(error.to_string()))
}

/// Any reference fits.
const FROM_BYTES: usize = 1_024;
