//! `/admin/v1/schedules` and `databases`: how jobs stand, and what the databases do.

use std::time::{Duration, Instant};

use axum::{Json, Router, extract::State, routing::get};
use marquee_delivery::job;
use serde_json::{Value, json};

use crate::{api::Api, problem::Problem};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/schedules", get(schedules))
        .route("/databases", get(databases))
}

async fn schedules(State(api): State<Api>) -> Result<Json<Vec<Value>>, Problem> {
    let mut all = Vec::new();
    for database in api.events.databases.iter() {
        let jobs = job::all(database).await?;
        let rows = jobs
            .into_iter()
            .map(|job| json!({ "database": database.name(), "job": job }));
        all.extend(rows);
    }
    Ok(Json(all))
}

/// One that does not answer says so, and the others are told of.
async fn databases(State(api): State<Api>) -> Json<Vec<Value>> {
    let asked = api.events.databases.iter().map(async |database| {
        let (in_use, most) = database.usage();
        let begun = Instant::now();
        let activity = tokio::time::timeout(PATIENCE, database.activity()).await;
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (activity, error) = match activity {
            Ok(Ok(activity)) => (Some(activity), None),
            Ok(Err(error)) => (None, Some(marquee_runtime::chain(&error))),
            Err(_) => (None, Some("no answer in two seconds".to_owned())),
        };
        json!({
            "database": database.name(), "in_use": in_use, "connections": most,
            "took_us": took_us, "activity": activity, "error": error,
        })
    });
    Json(futures::future::join_all(asked).await)
}

const PATIENCE: Duration = Duration::from_secs(2);
