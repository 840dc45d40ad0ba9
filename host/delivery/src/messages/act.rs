//! What is done with one message: retry, skip, discard, edit.

use marquee_bus::MAX_VALUE_BYTES;
use marquee_database::{Database, Unit};
use uuid::Uuid;

use super::{Act, Kept, State};
use crate::{Error, identity::Unattended, keys::Key};

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
    /// No component is its consumer.
    #[error(
        "no component is consumer {consumer} of {topic}, so nobody would deliver message {id}: skip or discard it, or let a component \
         have `consumer = \"{consumer}\"` in the manifest"
    )]
    Unattended {
        /// The message asked for.
        id: i64,
        /// Whose it is.
        consumer: String,
        /// Of which topic.
        topic: String,
    },
    /// More than the bus would carry.
    #[error("a payload has at most {MAX_VALUE_BYTES} bytes")]
    TooLarge,
    /// The database refused, was busy, or could not be reached.
    #[error(transparent)]
    Delivery(#[from] Error),
}

impl From<marquee_database::Error> for ActError {
    fn from(error: marquee_database::Error) -> Self {
        Self::Delivery(Error::of_own_statement(error))
    }
}

/// Deliver it again now, with all its attempts. It has to be the first of its key. Where a number before it is missing,
/// this says that it will not come: the key goes on from here. A skipped one is delivered out of the order of its key.
pub async fn retry(database: &Database, id: i64, actor: &str) -> Result<(), ActError> {
    alone(database, Act::Retry, id, actor).await
}

/// Why it is not to be retried, where its consumer is one of these.
pub fn nobody(kept: &Kept, unattended: &[Unattended]) -> Option<ActError> {
    let is_its = |it: &&Unattended| it.consumer == kept.consumer && it.topic == kept.topic;
    unattended
        .iter()
        .find(is_its)
        .map(|it| ActError::Unattended {
            id: kept.id,
            consumer: it.consumer.clone(),
            topic: it.topic.clone(),
        })
}

/// Set it aside: its key goes on without it. It stays visible, and may be retried or discarded later. Where a number
/// before it is missing, it has to be the first of its key, and this says that the missing one will not come.
pub async fn skip(database: &Database, id: i64, actor: &str) -> Result<(), ActError> {
    alone(database, Act::Skip, id, actor).await
}

/// Throw it away, payload and all; its key goes on without it. Behind a missing number as [`skip`].
pub async fn discard(database: &Database, id: i64, actor: &str) -> Result<(), ActError> {
    alone(database, Act::Discard, id, actor).await
}

/// Put another payload in its place; it is delivered with it when it is next. What its headers say of it stays.
pub async fn edit(
    database: &Database,
    id: i64,
    payload: &[u8],
    actor: &str,
) -> Result<(), ActError> {
    if payload.len() > MAX_VALUE_BYTES {
        return Err(ActError::TooLarge);
    }
    let mut unit = database.unit();
    let edited = async {
        let found = Found::lock(&mut unit, id).await?;
        unit.execute(EDIT, &[&id, &payload]).await?;
        found.record(&mut unit, actor, "edit").await
    };
    end(edited.await, unit).await
}

async fn alone(database: &Database, act: Act, id: i64, actor: &str) -> Result<(), ActError> {
    let mut unit = database.unit();
    let done = within(&mut unit, act, id, actor).await;
    end(done, unit).await
}

async fn end(done: Result<(), ActError>, unit: Unit) -> Result<(), ActError> {
    match done {
        Ok(()) => unit.commit().await.map_err(Error::from)?,
        Err(_) => unit.rollback().await,
    }
    done
}

/// As a part of a transaction. A refusal leaves nothing in it but locks.
pub(super) async fn within(
    unit: &mut Unit,
    act: Act,
    id: i64,
    actor: &str,
) -> Result<(), ActError> {
    let found = Found::lock(unit, id).await?;
    match act {
        Act::Retry => {
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
            found.record(unit, actor, "retry").await
        }
        Act::Skip => {
            if found.state == State::Skipped {
                return Err(ActError::Skipped(id));
            }
            found.may_leave()?;
            unit.execute(SKIP, &[&id]).await?;
            found.unblock(unit).await?;
            found.record(unit, actor, "skip").await
        }
        Act::Discard => {
            found.may_leave()?;
            unit.execute(DISCARD, &[&id]).await?;
            found.unblock(unit).await?;
            found.record(unit, actor, "discard").await
        }
    }
}

/// What acts on several messages locks them all first, as who acts on one would: their keys, in the order of who consumes
/// them, then they themselves.
pub(super) async fn lock_all(unit: &mut Unit, ids: &[i64]) -> Result<(), Error> {
    for sql in [LOCK_KEYS, LOCK_MESSAGES] {
        let locked = unit.query(sql, &[&ids]).await;
        locked.map_err(Error::of_own_statement)?;
    }
    Ok(())
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
    async fn lock(unit: &mut Unit, id: i64) -> Result<Self, ActError> {
        unit.query(LOCK_KEY, &[&id]).await?;
        let rows = unit.query(LOCK_MESSAGE, &[&id]).await?;
        let Some(row) = rows.first() else {
            return Err(ActError::Unknown(id));
        };
        if row.get("under_way") {
            return Err(ActError::UnderWay(id));
        }
        Ok(Self {
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
        })
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

    async fn record(self, unit: &mut Unit, actor: &str, action: &str) -> Result<(), ActError> {
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
        Ok(())
    }
}

/// The key's lock comes first, as everywhere. $1 id.
const LOCK_KEY: &str = "
select 1 from marquee.key_state k
join marquee.parked p on k.consumer = p.consumer and k.topic = p.topic and k.key = p.key and k.source = p.source
where p.id = $1 and p.ordered
for update of k";

/// $1 ids.
const LOCK_KEYS: &str = "
select 1 from marquee.key_state k
where (k.consumer, k.topic, k.key, k.source) in (
    select p.consumer, p.topic, p.key, p.source from marquee.parked p where p.id = any ($1) and p.ordered
)
order by k.consumer, k.topic, k.key, k.source
for update";

/// $1 ids.
const LOCK_MESSAGES: &str =
    "select 1 from marquee.parked where id = any ($1) order by id for update";

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
        'state', p.state, 'reason', p.reason, 'error', p.error, 'attempts', p.attempts, 'source', p.source, 'seq', p.seq,
        'payload', jsonb_build_object('bytes', octet_length(p.value), 'sha256', encode(sha256(p.value), 'hex'))
    ) as detail
from marquee.parked p where p.id = $1
for update of p";

/// $1 id.
const RETRY: &str = "
update marquee.parked set state = 'parked', attempts = 0, unsettled = 0, claim = null, next_attempt_at = now() where id = $1";

/// $1 id, $2 payload.
const EDIT: &str = "update marquee.parked set value = $2 where id = $1";

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
