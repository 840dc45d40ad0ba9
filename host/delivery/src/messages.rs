//! What a person sees of parked and dead messages, and does about them.
//!
//! Promise: every act stands in `marquee.actions` with who did it, in the same transaction. A message that is being
//! delivered at the moment is left alone. Not here: who may do it.

use chrono::{DateTime, Utc};
use marquee_database::{Database, Unit};
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Error, keys::Key};

/// Which messages to list: all that match every field that is set, in the order of their ids.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `parked`, `dead` or `skipped`.
    pub state: Option<State>,
    /// Of this consumer.
    pub consumer: Option<String>,
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this key.
    pub key: Option<String>,
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
    /// How it came here: `retry`, `failed`, `waiting`, `gap`, `rejected`, `undecodable` or `component`.
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

/// What a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who, as they called themselves.
    pub actor: String,
    /// `retry`, `skip` or `discard`.
    pub action: String,
    /// Which message; it may be gone.
    pub message_id: i64,
    /// Of which consumer.
    pub consumer: String,
    /// Of which topic.
    pub topic: String,
    /// Of which key.
    pub key: String,
    /// The event.
    pub event_id: Uuid,
    /// State, reason, error, attempts and number as the person found them.
    pub detail: serde_json::Value,
}

/// Why an act was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    /// There is no such message, or no more.
    #[error("there is no message {0}")]
    Unknown(i64),
    /// It is being delivered at this moment.
    #[error("message {0} is being delivered now; try again in a moment")]
    UnderWay(i64),
    /// Another message of its key comes first.
    #[error("message {id} waits behind message {head} of its key; act on that one first")]
    NotFirst {
        /// The message asked for.
        id: i64,
        /// The one that holds the key.
        head: i64,
    },
    /// No component can be given it: its key, its value or its identity break the bounds.
    #[error("message {0} cannot be delivered as it is; skip or discard it")]
    Undecodable(i64),
    /// It has been set aside already.
    #[error("message {0} has been skipped already")]
    Skipped(i64),
    /// The database refused, was busy, or could not be reached.
    #[error(transparent)]
    Delivery(#[from] Error),
}

impl From<marquee_database::Error> for ActError {
    fn from(error: marquee_database::Error) -> Self {
        Self::Delivery(Error::of_own_statement(error))
    }
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

/// Deliver it again now, with all its attempts. It has to be the first of its key. Where a number before it is missing,
/// this says that it will not come: the key goes on from here. A skipped one is delivered out of the order of its key.
pub async fn retry(database: &Database, id: i64, actor: &str) -> Result<(), ActError> {
    let (mut unit, found) = Found::lock(database, id).await?;
    if let Some(head) = found.head.filter(|head| *head != id && found.ordered) {
        return Err(ActError::NotFirst { id, head });
    }
    if found.undecodable {
        return Err(ActError::Undecodable(id));
    }
    unit.execute(RETRY, &[&id]).await?;
    if found.ordered {
        unit.execute(RAISE_WATERMARK, &[&id]).await?;
    }
    found.finish(unit, actor, "retry").await
}

/// Set it aside: its key goes on without it. It stays visible, and may be retried or discarded later. Where a number
/// before it is missing, it has to be the first of its key, and this says that the missing one will not come.
pub async fn skip(database: &Database, id: i64, actor: &str) -> Result<(), ActError> {
    let (mut unit, found) = Found::lock(database, id).await?;
    if found.state == State::Skipped {
        return Err(ActError::Skipped(id));
    }
    found.may_leave()?;
    unit.execute(SKIP, &[&id]).await?;
    found.unblock(&mut unit).await?;
    found.finish(unit, actor, "skip").await
}

/// Throw it away, payload and all; its key goes on without it. Behind a missing number as [`skip`].
pub async fn discard(database: &Database, id: i64, actor: &str) -> Result<(), ActError> {
    let (mut unit, found) = Found::lock(database, id).await?;
    found.may_leave()?;
    unit.execute(DISCARD, &[&id]).await?;
    found.unblock(&mut unit).await?;
    found.finish(unit, actor, "discard").await
}

/// A message that is locked, its key first.
struct Found {
    id: i64,
    key: Key,
    seq: Option<i64>,
    event_id: Uuid,
    state: State,
    ordered: bool,
    /// A number before it is missing.
    beyond: bool,
    undecodable: bool,
    /// The first message of its key.
    head: Option<i64>,
    detail: serde_json::Value,
}

impl Found {
    async fn lock(database: &Database, id: i64) -> Result<(Unit, Self), ActError> {
        let mut unit = database.unit();
        unit.query(LOCK_KEY, &[&id]).await?;
        let rows = unit.query(LOCK_MESSAGE, &[&id]).await?;
        let Some(row) = rows.first() else {
            unit.rollback().await;
            return Err(ActError::Unknown(id));
        };
        if row.get("under_way") {
            unit.rollback().await;
            return Err(ActError::UnderWay(id));
        }
        let found = Self {
            id,
            key: Key {
                consumer: row.get("consumer"),
                topic: row.get("topic"),
                key: row.get("key"),
                source: row.get("source"),
            },
            seq: row.get("seq"),
            event_id: row.get("event_id"),
            state: State::parse(row.get("state")),
            ordered: row.get("ordered"),
            beyond: row.get("beyond"),
            undecodable: row.get("undecodable"),
            head: row.get("head"),
            detail: row.get("detail"),
        };
        Ok((unit, found))
    }

    /// A number that nobody waits for may go at any time; one behind a gap only first, or it would be the next gap.
    fn may_leave(&self) -> Result<(), ActError> {
        match self.head.filter(|head| self.beyond && *head != self.id) {
            Some(head) => Err(ActError::NotFirst { id: self.id, head }),
            None => Ok(()),
        }
    }

    /// The message has left its key: count it out, and make the next one due.
    async fn unblock(&self, unit: &mut Unit) -> Result<(), ActError> {
        if self.ordered {
            let seq = self.seq.filter(|_| self.beyond);
            self.key.advance(unit, 1, seq, 0).await?;
        }
        Ok(())
    }

    async fn finish(self, mut unit: Unit, actor: &str, action: &str) -> Result<(), ActError> {
        unit.execute(
            RECORD,
            &[
                &actor,
                &action,
                &self.id,
                &self.key.consumer,
                &self.key.topic,
                &self.key.key,
                &self.event_id,
                &self.detail,
            ],
        )
        .await?;
        unit.commit().await.map_err(Error::from)?;
        Ok(())
    }
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
const PAGE: u32 = 1_000;

const LIST_COLUMNS: &str = "
select id, consumer, topic, key, source, seq, event_id, state, reason, error, attempts, next_attempt_at, ordered,
    octet_length(value) as size_bytes,
    least(published_at, timestamptz '9999-12-31 23:59:59Z') as published_at, parked_at, first_failed_at, last_failed_at, partition, \"offset\"";

const LIST_FILTER: &str = "
from marquee.parked
where ($1::text is null or state = $1) and ($2::text is null or consumer = $2)
    and ($3::text is null or topic = $3) and ($4::text is null or key = $4) and id > $5
order by id
limit $6";

const ACTIONS: &str = "
select id, at, actor, action, message_id, consumer, topic, key, event_id, detail
from marquee.actions order by id desc limit $1";

/// The key's lock comes first, as everywhere. $1 id.
const LOCK_KEY: &str = "
select 1 from marquee.key_state k
join marquee.parked p on k.consumer = p.consumer and k.topic = p.topic and k.key = p.key and k.source = p.source
where p.id = $1 and p.ordered
for update of k";

/// $1 id.
const LOCK_MESSAGE: &str = "
select p.consumer, p.topic, p.key, p.source, p.seq, p.event_id, p.state, p.ordered, p.reason = 'undecodable' as undecodable,
    p.claim is not null and p.next_attempt_at > now() as under_way,
    p.ordered and p.seq > (
        select k.last_seq from marquee.key_state k
        where k.consumer = p.consumer and k.topic = p.topic and k.key = p.key and k.source = p.source
    ) is true as beyond,
    (
        select h.id from marquee.parked h
        where h.consumer = p.consumer and h.topic = p.topic and h.key = p.key and h.source = p.source and h.ordered
        order by coalesce(h.seq, 0), h.id limit 1
    ) as head,
    jsonb_build_object(
        'state', p.state, 'reason', p.reason, 'error', p.error, 'attempts', p.attempts, 'source', p.source, 'seq', p.seq
    ) as detail
from marquee.parked p where p.id = $1
for update of p";

/// $1 id.
const RETRY: &str = "
update marquee.parked set state = 'parked', attempts = 0, unsettled = 0, claim = null, next_attempt_at = now() where id = $1";

/// The missing numbers before a message will not come. $1 id.
const RAISE_WATERMARK: &str = "
update marquee.key_state k set last_seq = greatest(k.last_seq, p.seq)
from marquee.parked p
where p.id = $1 and k.consumer = p.consumer and k.topic = p.topic and k.key = p.key and k.source = p.source";

/// $1 id.
const SKIP: &str = "
update marquee.parked set state = 'skipped', claim = null, next_attempt_at = null, ordered = false where id = $1";

/// $1 id.
const DISCARD: &str = "
with gone as (
    delete from marquee.parked where id = $1 returning consumer, topic, partition
)
insert into marquee.ledger as l (consumer, topic, partition, discarded)
select consumer, topic, partition, 1 from gone where partition is not null
on conflict on constraint ledger_pkey do update set discarded = l.discarded + 1";

/// $1 actor, $2 action, $3 message, $4 to $7 consumer, topic, key, event, $8 detail.
const RECORD: &str = "
insert into marquee.actions (actor, action, message_id, consumer, topic, key, event_id, detail)
values ($1, $2, $3, $4, $5, $6, $7, $8)";
