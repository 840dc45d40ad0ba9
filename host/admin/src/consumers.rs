//! `/admin/v1/audit`, `topics` and `consumers`: how events stand, and what a person does with a consumer.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::StatusCode,
    routing::{get, post},
};
use marquee_database::Database;
use marquee_delivery::{
    audit,
    consumers::{self, ConsumerError, Replayed},
    identity::{self, Deleted},
};
use marquee_problem::{CONFLICT, NO_SUCH_RESOURCE};

use serde::Serialize;

use crate::{
    api::Api,
    documents::{Delete, Replay},
    events::{AuditReport, ConsumerReport, TopicReport},
    peer::Who,
    problem::Problem,
};

pub(crate) fn routes() -> Router<Api> {
    let subscription = "/consumers/{consumer}/topics/{topic}";
    Router::new()
        .route("/audit", get(audited))
        .route("/audit/accept", post(accept))
        .route("/topics", get(topics))
        .route("/consumers", get(all))
        .route(&format!("{subscription}/pause"), post(pause))
        .route(&format!("{subscription}/resume"), post(resume))
        .route(&format!("{subscription}/replay"), post(replay))
        .route(&format!("{subscription}/delete"), post(delete))
}

type Subscription = Result<Path<(String, String)>, PathRejection>;

async fn audited(State(api): State<Api>) -> Result<Json<AuditReport>, Problem> {
    Ok(Json(api.events.audit().await?))
}

async fn accept(State(api): State<Api>, Who(who): Who) -> Result<StatusCode, Problem> {
    for database in api.events.databases.iter() {
        audit::accept(database, &who).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn topics(State(api): State<Api>) -> Result<Json<Vec<TopicReport>>, Problem> {
    Ok(Json(api.events.topics().await?))
}

async fn all(State(api): State<Api>) -> Result<Json<Vec<ConsumerReport>>, Problem> {
    Ok(Json(api.events.consumers().await?))
}

async fn pause(
    State(api): State<Api>,
    subscription: Subscription,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let Path((consumer, topic)) = subscription?;
    consumers::pause(database(&api, &consumer, &topic)?, &consumer, &topic, &who).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(
    State(api): State<Api>,
    subscription: Subscription,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let Path((consumer, topic)) = subscription?;
    consumers::resume(database(&api, &consumer, &topic)?, &consumer, &topic, &who).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn replay(
    State(api): State<Api>,
    subscription: Subscription,
    query: Result<Query<Replay>, QueryRejection>,
    Who(who): Who,
) -> Result<Json<Vec<Replayed>>, Problem> {
    let Path((consumer, topic)) = subscription?;
    let Query(wanted) = query?;
    let database = database(&api, &consumer, &topic)?;
    let Some(bus) = &api.events.bus else {
        let problem = CONFLICT.with("there is no bus to read from");
        return Err(problem.into());
    };
    let place = (consumer.as_str(), topic.as_str());
    let Replay { from, dry_run } = wanted;
    let replayed = consumers::replay(database, &**bus, place, from, &who, dry_run).await?;
    Ok(Json(replayed))
}

/// What was deleted of a consumer, or would be.
#[derive(Debug, Serialize)]
struct DeletedIn {
    database: String,
    #[serde(flatten)]
    deleted: Deleted,
}

/// Wherever something of it is.
async fn delete(
    State(api): State<Api>,
    subscription: Subscription,
    query: Result<Query<Delete>, QueryRejection>,
    Who(who): Who,
) -> Result<Json<Vec<DeletedIn>>, Problem> {
    let Path((consumer, topic)) = subscription?;
    let Query(Delete { dry_run }) = query?;
    if api.events.of(&consumer, &topic).is_some() {
        let detail = format!(
            "a component of the manifest is consumer {consumer} of {topic}; only what no component is can be deleted"
        );
        return Err(CONFLICT.with(detail).into());
    }
    let mut all = Vec::new();
    for database in api.events.databases.iter() {
        let place = (consumer.as_str(), topic.as_str());
        if let Some(deleted) = identity::delete(database, place, &who, dry_run).await? {
            all.push(DeletedIn {
                database: database.name().to_owned(),
                deleted,
            });
        }
    }
    if all.is_empty() {
        let detail = format!("there is nothing of a consumer {consumer} of {topic}");
        return Err(NO_SUCH_RESOURCE.with(detail).into());
    }
    Ok(Json(all))
}

fn database<'a>(api: &'a Api, consumer: &str, topic: &str) -> Result<&'a Database, Problem> {
    api.events.of(consumer, topic).ok_or_else(|| {
        NO_SUCH_RESOURCE
            .with(format!("no consumer {consumer} subscribes to {topic}"))
            .into()
    })
}

impl From<ConsumerError> for Problem {
    fn from(error: ConsumerError) -> Self {
        match error {
            ConsumerError::Delivery(error) => error.into(),
            ConsumerError::Unknown { .. } => NO_SUCH_RESOURCE.with(error.to_string()).into(),
            _ => CONFLICT.with(error.to_string()).into(),
        }
    }
}
