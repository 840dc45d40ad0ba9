//! What persons did, to be read.

use chrono::{DateTime, Utc};
use marquee_database::Database;
use serde::Serialize;
use uuid::Uuid;

use super::PAGE;
use crate::Error;

/// What a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who, as they called themselves.
    pub actor: String,
    /// `retry`, `skip`, `discard` or `edit` of a message, `pause`, `resume`, `replay` or `delete` of a consumer, `accept` of an audit,
    /// ...
    pub action: String,
    /// Which message; it may be gone. None: it was done to no single one.
    pub message_id: Option<i64>,
    /// Of which consumer.
    pub consumer: String,
    /// Of which topic.
    pub topic: String,
    /// Of which key.
    pub key: String,
    /// The event.
    pub event_id: Option<Uuid>,
    /// What it was done to, as the person found it.
    pub detail: serde_json::Value,
}

/// What persons did, newest first.
pub async fn actions(database: &Database, limit: u32) -> Result<Vec<Action>, Error> {
    let rows = database
        .connection()
        .await?
        .query(ACTIONS, &[&i64::from(limit.min(PAGE))])
        .await?;
    Ok(rows
        .iter()
        .map(|row| Action {
            id: row.get(0),
            at: row.get(1),
            actor: row.get(2),
            action: row.get(3),
            message_id: row.get(4),
            consumer: row.get(5),
            topic: row.get(6),
            key: row.get(7),
            event_id: row.get(8),
            detail: row.get(9),
        })
        .collect())
}

const ACTIONS: &str = "
select id, at, actor, action, message_id, consumer, topic, key, event_id, detail
from marquee.actions order by id desc limit $1";
