//! `/admin/v1/messages`: what could not be applied, and what a person does about it.

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
use marquee_delivery::messages::{self, ActError, Detail, Filter, Kept};
use marquee_problem::{CONFLICT, NO_SUCH_RESOURCE, UNAVAILABLE};
use serde_json::{Value, json};

use super::{
    api::Api,
    documents::{MessageState, MessagesOf},
    peer::Who,
    problem::Problem,
};

pub(crate) fn routes() -> Router<Api> {
    let message = "/messages/{database}/{number}";
    let to = |wanted| post(move |api, message, who| act(wanted, api, message, who));
    Router::new()
        .route("/messages", get(list))
        .route(message, get(show))
        .route(&format!("{message}/retry"), to(Act::Retry))
        .route(&format!("{message}/skip"), to(Act::Skip))
        .route(&format!("{message}/discard"), to(Act::Discard))
}

type Message = Result<Path<(String, i64)>, PathRejection>;

/// Oldest first, database by database.
async fn list(
    State(api): State<Api>,
    query: Result<Query<MessagesOf>, QueryRejection>,
) -> Result<Json<Vec<Value>>, Problem> {
    let Query(wanted) = query?;
    let filter = Filter {
        state: wanted.state.map(|state| match state {
            MessageState::Parked => messages::State::Parked,
            MessageState::Dead => messages::State::Dead,
            MessageState::Skipped => messages::State::Skipped,
        }),
        consumer: wanted.consumer,
        topic: wanted.topic,
        key: wanted.key,
        after: None,
        limit: wanted.limit.clamp(1, 1_000),
    };
    let mut all = Vec::new();
    for database in api.databases.iter() {
        let kept = messages::list(database, &filter)
            .await
            .map_err(|error| failed(&error))?;
        let kept = kept.iter().map(|kept| row(database, kept));
        all.extend(kept);
    }
    Ok(Json(all))
}

async fn show(State(api): State<Api>, message: Message) -> Result<Json<Value>, Problem> {
    let Path((name, number)) = message?;
    let database = database(&api, &name)?;
    let detail = messages::show(database, number)
        .await
        .map_err(|error| failed(&error))?;
    let Some(Detail {
        kept,
        headers,
        value,
        ..
    }) = detail
    else {
        return Err(ActError::Unknown(number).into());
    };
    let payload = match std::str::from_utf8(&value) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        Err(_) => Value::from(format!("{} bytes that are not text", value.len())),
    };
    let mut whole = row(database, &kept);
    if let Some(whole) = whole.as_object_mut() {
        whole.insert("headers".to_owned(), json!(headers));
        whole.insert("payload".to_owned(), payload);
    }
    Ok(Json(whole))
}

/// What a person decides about a message.
#[derive(Clone, Copy)]
enum Act {
    Retry,
    Skip,
    Discard,
}

async fn act(
    act: Act,
    State(api): State<Api>,
    message: Message,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let Path((name, number)) = message?;
    let database = database(&api, &name)?;
    match act {
        Act::Retry => messages::retry(database, number, &who).await?,
        Act::Skip => messages::skip(database, number, &who).await?,
        Act::Discard => messages::discard(database, number, &who).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

fn row(database: &Database, kept: &Kept) -> Value {
    json!({ "message": format!("{}/{}", database.name(), kept.id), "kept": kept })
}

fn database<'a>(api: &'a Api, name: &str) -> Result<&'a Database, Problem> {
    let mut all = api.databases.iter();
    all.find(|database| database.name() == name).ok_or_else(|| {
        NO_SUCH_RESOURCE
            .with(format!("the application has no database {name}"))
            .into()
    })
}

fn failed(error: &marquee_delivery::Error) -> Problem {
    UNAVAILABLE.with(marquee_runtime::chain(error)).into()
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match &error {
            ActError::Unknown(_) => NO_SUCH_RESOURCE.with(error.to_string()).into(),
            ActError::Delivery(error) => failed(error),
            _ => CONFLICT.with(error.to_string()).into(),
        }
    }
}
