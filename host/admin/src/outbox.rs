//! `/admin/v1/outbox`: what waits to be relayed, and what a person does about rows that the bus refuses.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    routing::{get, post},
};
use marquee_delivery::outbox::rows::{self, ActError, Refused};
use marquee_problem::NO_SUCH_RESOURCE;
use serde_json::{Value, json};

use crate::{api::Api, peer::Who, problem::Problem};

pub(crate) fn routes() -> Router<Api> {
    let row = "/outbox/{database}/{number}";
    Router::new()
        .route("/outbox", get(all))
        .route(&format!("{row}/retry"), post(retry))
        .route(&format!("{row}/discard"), post(discard))
}

type Row = Result<Path<(String, i64)>, PathRejection>;

async fn all(State(api): State<Api>) -> Result<Json<Vec<Value>>, Problem> {
    let mut all = Vec::new();
    for database in api.events.databases.iter() {
        let overview = rows::overview(database).await?;
        all.push(json!({ "database": database.name(), "outbox": overview }));
    }
    Ok(Json(all))
}

async fn retry(State(api): State<Api>, row: Row, Who(who): Who) -> Result<Json<Refused>, Problem> {
    let Path((name, number)) = row?;
    let refused = rows::retry(api.database(&name)?, number, &who).await?;
    Ok(Json(refused))
}

async fn discard(
    State(api): State<Api>,
    row: Row,
    Who(who): Who,
) -> Result<Json<Refused>, Problem> {
    let Path((name, number)) = row?;
    let refused = rows::discard(api.database(&name)?, number, &who).await?;
    Ok(Json(refused))
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::Delivery(error) => error.into(),
            _ => NO_SUCH_RESOURCE.with(error.to_string()).into(),
        }
    }
}
