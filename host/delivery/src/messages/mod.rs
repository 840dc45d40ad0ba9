//! What a person sees of parked and dead messages, and does about them.
//!
//! Promise: every act stands in `marquee.actions` with who did it, in the same transaction. A message that is being
//! delivered at the moment is left alone. Not here: who may do it.

mod act;
mod actions;
mod bulk;

use chrono::{DateTime, Utc};
use marquee_database::Database;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

pub use self::{
    act::{ActError, discard, edit, nobody, retry, skip},
    actions::{Action, actions},
    bulk::{Act, Bulk, Left, each},
};
use crate::Error;

/// Which messages to list: all that match every field that is set, in the order of their ids.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// That stand so.
    pub state: Option<State>,
    /// Of this consumer.
    pub consumer: Option<String>,
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this key.
    pub key: Option<String>,
    /// For this reason; see [`Kept::reason`].
    pub reason: Option<String>,
    /// That came here then or later.
    pub since: Option<DateTime<Utc>>,
    /// That came here before.
    pub until: Option<DateTime<Utc>>,
    /// With a greater id: the last one of the page before.
    pub after: Option<i64>,
    /// How many, at most 1,000.
    pub limit: u32,
}

/// What stands next for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The host brings it again.
    Parked,
    /// A person decides.
    Dead,
    /// A person has set it aside; its key goes on without it.
    Skipped,
}

/// A kept message, without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its number in this database.
    pub id: i64,
    /// Who could not apply it.
    pub consumer: String,
    /// Of which topic.
    pub topic: String,
    /// Of which key; empty: it has no order.
    pub key: String,
    /// Who numbered it; empty: nobody.
    pub source: String,
    /// Its number in its key.
    pub seq: Option<i64>,
    /// The event.
    pub event_id: Uuid,
    /// What stands next.
    pub state: State,
    /// How it came here: `retry`, `failed`, `waiting`, `gap`, `rejected`, `undecodable`, `clash` or
    /// `component`.
    pub reason: String,
    /// The last error.
    pub error: Option<String>,
    /// Deliveries so far.
    pub attempts: i32,
    /// When it is delivered next. None: it waits behind another, for a missing number, or for a person.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Whether later messages of its key wait behind it.
    pub blocks: bool,
    /// Bytes of its payload.
    pub size_bytes: i32,
    /// When the bus took it.
    pub published_at: DateTime<Utc>,
    /// When it came here.
    pub parked_at: DateTime<Utc>,
    /// Its first failure.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// Its last failure.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// The partition that it came from, where it came by the bus.
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: Option<i64>,
}

/// A kept message with all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// What a list shows too.
    #[serde(flatten)]
    pub kept: Kept,
    /// The publisher's headers.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub value: Vec<u8>,
}

/// A page of messages.
pub async fn list(database: &Database, filter: &Filter) -> Result<Vec<Kept>, Error> {
    let rows = database
        .connection()
        .await?
        .query(
            &format!("{LIST_COLUMNS}{LIST_FILTER}"),
            &[
                &filter.state.map(State::as_str),
                &filter.consumer,
                &filter.topic,
                &filter.key,
                &filter.reason,
                &filter.since,
                &filter.until,
                &filter.after.unwrap_or(0),
                &i64::from(filter.limit.min(PAGE)),
            ],
        )
        .await?;
    Ok(rows.iter().map(kept).collect())
}

/// One message with all of it.
pub async fn show(database: &Database, id: i64) -> Result<Option<Detail>, Error> {
    let rows = database
        .connection()
        .await?
        .query(
            &format!("{LIST_COLUMNS}, value, headers, floor(extract(epoch from published_at) * 1000)::bigint as published_at_ms from marquee.parked where id = $1"),
            &[&id],
        )
        .await?;
    Ok(rows.first().map(|row| {
        let message = crate::retry::message(row);
        Detail {
            kept: kept(row),
            headers: message.headers,
            value: message.value.to_vec(),
        }
    }))
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
        }
    }

    /// The schema knows no others.
    fn parse(text: &str) -> Self {
        match text {
            "dead" => Self::Dead,
            "skipped" => Self::Skipped,
            _ => Self::Parked,
        }
    }
}

fn kept(row: &Row) -> Kept {
    Kept {
        id: row.get("id"),
        consumer: row.get("consumer"),
        topic: row.get("topic"),
        key: row.get("key"),
        source: row.get("source"),
        seq: row.get("seq"),
        event_id: row.get("event_id"),
        state: State::parse(row.get("state")),
        reason: row.get("reason"),
        error: row.get("error"),
        attempts: row.get("attempts"),
        next_attempt_at: row.get("next_attempt_at"),
        blocks: row.get("ordered"),
        size_bytes: row.get("size_bytes"),
        published_at: row.get("published_at"),
        parked_at: row.get("parked_at"),
        first_failed_at: row.get("first_failed_at"),
        last_failed_at: row.get("last_failed_at"),
        partition: row.get("partition"),
        offset: row.get("offset"),
    }
}

/// More than a person reads at once.
pub(crate) const PAGE: u32 = 1_000;

const LIST_COLUMNS: &str = "
select id, consumer, topic, key, source, seq, event_id, state, reason, error, attempts, next_attempt_at, ordered,
    octet_length(value) as size_bytes,
    least(published_at, timestamptz '9999-12-31 23:59:59Z') as published_at, parked_at, first_failed_at, last_failed_at, partition, \"offset\"";

const LIST_FILTER: &str = "
from marquee.parked
where ($1::text is null or state = $1) and ($2::text is null or consumer = $2)
    and ($3::text is null or topic = $3) and ($4::text is null or key = $4) and ($5::text is null or reason = $5)
    and ($6::timestamptz is null or parked_at >= $6) and ($7::timestamptz is null or parked_at < $7) and id > $8
order by id
limit $9";
