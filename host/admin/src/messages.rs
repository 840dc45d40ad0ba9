//! `/admin/v1/messages`: what could not be applied, and what a person does about it.

use std::collections::VecDeque;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
    routing::{get, post, put},
};
use marquee_database::Database;
use marquee_delivery::messages::{self, Act, ActError, Detail, Filter, Kept};
use marquee_problem::{BODY_TOO_LARGE, CONFLICT, NO_SUCH_RESOURCE};
use serde_json::{Value, json};

use crate::{
    api::Api,
    documents::{ActionsOf, BulkReport, LeftMessage, MessageState, MessagesOf},
    peer::Who,
    problem::Problem,
};

pub(crate) fn routes() -> Router<Api> {
    let message = "/messages/{database}/{number}";
    let one = |wanted| post(move |api, message, who| act(wanted, api, message, who));
    let many = |wanted| post(move |api, query, who| each(wanted, api, query, who));
    Router::new()
        .route("/messages", get(list))
        .route("/messages/actions", get(actions))
        .route("/messages/retry", many(Act::Retry))
        .route("/messages/skip", many(Act::Skip))
        .route("/messages/discard", many(Act::Discard))
        .route(message, get(show))
        .route(&format!("{message}/retry"), one(Act::Retry))
        .route(&format!("{message}/skip"), one(Act::Skip))
        .route(&format!("{message}/discard"), one(Act::Discard))
        .route(&format!("{message}/payload"), put(edit).get(payload))
}

type Message = Result<Path<(String, i64)>, PathRejection>;
type Wanted = Result<Query<MessagesOf>, QueryRejection>;

/// Oldest first, database by database.
async fn list(State(api): State<Api>, query: Wanted) -> Result<Json<Vec<Value>>, Problem> {
    let Query(wanted) = query?;
    let mut page = Page::of(&api, wanted)?;
    let mut all = Vec::new();
    while let Some(database) = page.databases.pop_front() {
        let kept = messages::list(database, &page.filter).await?;
        all.extend(kept.iter().map(|kept| row(database, kept)));
        if page.is_full(kept.len()) {
            break;
        }
    }
    Ok(Json(all))
}

/// The same with each of a page.
async fn each(
    act: Act,
    State(api): State<Api>,
    query: Wanted,
    Who(who): Who,
) -> Result<Json<BulkReport>, Problem> {
    let Query(wanted) = query?;
    let dry = wanted.dry_run;
    let mut page = Page::of(&api, wanted)?;
    let mut report = BulkReport::default();
    while let Some(database) = page.databases.pop_front() {
        let name = |id| format!("{}/{id}", database.name());
        let unattended = api.events.unattended(database).await?;
        let bulk = messages::each(database, &page.filter, act, &who, &unattended, dry).await?;
        let seen = bulk.done + bulk.left.len();
        report.done += bulk.done;
        report
            .left
            .extend(bulk.left.into_iter().map(|left| LeftMessage {
                message: name(left.id),
                why: left.why,
            }));
        if page.is_full(seen) {
            report.next = bulk.last.map(name);
            break;
        }
    }
    Ok(Json(report))
}

/// A part of the list of all messages.
struct Page<'a> {
    /// Those that are left, in their order.
    databases: VecDeque<&'a Database>,
    filter: Filter,
}

impl<'a> Page<'a> {
    fn of(api: &'a Api, wanted: MessagesOf) -> Result<Self, Problem> {
        let mut databases: VecDeque<&Database> = match &wanted.database {
            Some(name) => [api.database(name)?].into(),
            None => api.events.databases.iter().collect(),
        };
        let mut after = None;
        if let Some(last) = &wanted.after {
            let place = last.rsplit_once('/');
            let Some((name, Ok(id))) = place.map(|(name, id)| (name, id.parse())) else {
                let detail = format!("{last:?} is not DATABASE/NUMBER");
                return Err(Problem::invalid(detail));
            };
            while databases.front().is_some_and(|it| it.name() != name) {
                databases.pop_front();
            }
            after = Some(id);
        }
        let filter = Filter {
            state: wanted.state.map(|state| match state {
                MessageState::Parked => messages::State::Parked,
                MessageState::Dead => messages::State::Dead,
                MessageState::Skipped => messages::State::Skipped,
            }),
            consumer: wanted.consumer,
            topic: wanted.topic,
            key: wanted.key,
            reason: wanted.reason,
            since: wanted.since,
            until: wanted.until,
            after,
            limit: wanted.limit.unwrap_or(100).clamp(1, 1_000),
        };
        Ok(Self { databases, filter })
    }

    /// Whether there is no room after so many more. The next database is read from its beginning.
    fn is_full(&mut self, seen: usize) -> bool {
        let seen = u32::try_from(seen).unwrap_or(u32::MAX);
        self.filter.limit = self.filter.limit.saturating_sub(seen);
        self.filter.after = None;
        self.filter.limit == 0
    }
}

/// What persons did, newest first.
async fn actions(
    State(api): State<Api>,
    query: Result<Query<ActionsOf>, QueryRejection>,
) -> Result<Json<Vec<Value>>, Problem> {
    let Query(wanted) = query?;
    let mut all = Vec::new();
    for database in api.events.databases.iter() {
        let actions = messages::actions(database, wanted.limit.clamp(1, 1_000)).await?;
        all.extend(actions.into_iter().map(|action| (database.name(), action)));
    }
    all.sort_by_key(|(_, action)| std::cmp::Reverse(action.at));
    let newest = all
        .iter()
        .take(usize::try_from(wanted.limit).unwrap_or(1_000));
    let rows = newest.map(|(database, action)| json!({ "database": database, "action": action }));
    Ok(Json(rows.collect()))
}

/// The body is the new payload.
async fn edit(
    State(api): State<Api>,
    message: Message,
    Who(who): Who,
    payload: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let Path((name, number)) = message?;
    let payload = payload?;
    messages::edit(api.database(&name)?, number, &payload, &who).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Byte for byte.
async fn payload(State(api): State<Api>, message: Message) -> Result<Bytes, Problem> {
    let Path((name, number)) = message?;
    let detail = messages::show(api.database(&name)?, number).await?;
    let unknown = || ActError::Unknown(number).into();
    detail.map(|detail| detail.value.into()).ok_or_else(unknown)
}

async fn show(State(api): State<Api>, message: Message) -> Result<Json<Value>, Problem> {
    let Path((name, number)) = message?;
    let database = api.database(&name)?;
    let detail = messages::show(database, number).await?;
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

async fn act(
    act: Act,
    State(api): State<Api>,
    message: Message,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let Path((name, number)) = message?;
    let database = api.database(&name)?;
    match act {
        Act::Retry => {
            attended(&api, database, number).await?;
            messages::retry(database, number, &who).await?;
        }
        Act::Skip => messages::skip(database, number, &who).await?,
        Act::Discard => messages::discard(database, number, &who).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Whether there is somebody who would be given it.
async fn attended(api: &Api, database: &Database, number: i64) -> Result<(), Problem> {
    let unattended = api.events.unattended(database).await?;
    if unattended.is_empty() {
        return Ok(());
    }
    let detail = messages::show(database, number).await?;
    let refused = detail.and_then(|detail| messages::nobody(&detail.kept, &unattended));
    refused.map_or(Ok(()), |refused| Err(refused.into()))
}

fn row(database: &Database, kept: &Kept) -> Value {
    json!({ "message": format!("{}/{}", database.name(), kept.id), "kept": kept })
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::TooLarge => BODY_TOO_LARGE.with(error.to_string()).into(),
            ActError::Unknown(_) => NO_SUCH_RESOURCE.with(error.to_string()).into(),
            ActError::Delivery(error) => error.into(),
            _ => CONFLICT.with(error.to_string()).into(),
        }
    }
}
