//! `/admin/v1/traces`: the slow and the failed of the last minutes, as this host has them in its memory.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    routing::get,
};
use marquee_problem::NO_SUCH_RESOURCE;
use marquee_telemetry::traces::ring::{Missing, Wanted, Waterfall};

use crate::{
    api::{Answer, Api},
    documents::{Traces, TracesOf},
    problem::Problem,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/traces", get(list))
        .route("/traces/{trace}", get(show))
}

async fn list(
    State(api): State<Api>,
    query: Result<Query<TracesOf>, QueryRejection>,
) -> Answer<Traces> {
    let Query(wanted) = query?;
    let Some(ring) = &api.console.traces else {
        return Ok(Json(Traces::default()));
    };
    let (kept, bytes) = ring.size();
    Ok(Json(Traces {
        on: true,
        kept,
        bytes,
        traces: ring.list(&wanted.into()),
    }))
}

async fn show(
    State(api): State<Api>,
    trace: Result<Path<String>, PathRejection>,
) -> Answer<Waterfall> {
    let Path(name) = trace?;
    let Some(ring) = &api.console.traces else {
        return Err(NO_SUCH_RESOURCE.with(OFF).into());
    };
    let shown = ring.show(&name).map_err(|missing| match missing {
        Missing::Unknown => NO_SUCH_RESOURCE.with(missing.to_string()).into(),
        Missing::Name | Missing::Several => Problem::invalid(missing.to_string()),
    })?;
    Ok(Json(shown))
}

impl From<TracesOf> for Wanted {
    fn from(wanted: TracesOf) -> Self {
        Self {
            component: wanted.component,
            route: wanted.route,
            at_least: wanted.at_least_us.map(Duration::from_micros),
            failed: wanted.failed,
            since: wanted.since.map(Into::into),
            newest: wanted.newest,
            limit: wanted.limit.clamp(1, 1_000) as usize,
        }
    }
}

const OFF: &str = "this host keeps no traces: it was started with MARQUEE_KEEP_TRACES=false";
