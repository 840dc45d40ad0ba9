//! Parked messages, brought again: the first of each due key, in a unit of work of its own.
//!
//! Promise: an attempt is counted durably before the call, so that a message that kills the host is dead after as many
//! hosts; a host that died gives its claim back by the lease; the next message of a key is due as soon as the one
//! before it is applied. Bound: one message a unit. Not here: when to look (the schedule trigger), calling the
//! component.
//!
//! # How a caller goes through what is due
//!
//! Call [`claim_due`] until it returns nothing (what was applied makes the next of its key due at once, so a run drains
//! the keys). For each claimed message, several at once where wanted: in a unit of work [`Claimed::open`], the component
//! with [`Claimed::message`], [`Claimed::settle`] with its verdict, commit. The component failed as a whole: roll back,
//! then [`Claimed::fail`]. A conflict: roll back, and the same again; the database away or busy, or the host stopping:
//! roll back, then [`Claimed::release`], which gives the attempt back where it can be. [`Error::Gone`]: roll back and
//! forget it.

use std::time::Duration;

use marquee_database::{Database, Unit};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Consumer, Error, Message, Verdict,
    consume::{count, error_text},
};

/// A parked message that this host may deliver now.
#[derive(Debug, Clone)]
pub struct Claimed {
    id: i64,
    claim: Uuid,
    consumer: Consumer,
    partition: Option<i32>,
    message: Message,
}

/// What came of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// Applied, and gone from the parked messages.
    Done,
    /// Parked again.
    Later,
    /// Dead: rejected, or its attempts are spent. Its key waits for a person.
    Dead,
}

/// Claim due messages of a consumer and topic, at most `limit`, each the first of its key. `lease` is longer than a
/// delivery can take: after it, another host may claim what this one did not settle.
///
/// A message whose attempts are spent although it was never settled has killed its hosts: it is dead, and not returned.
pub async fn claim_due(
    database: &Database,
    consumer: &Consumer,
    topic: &str,
    limit: u32,
    lease: Duration,
) -> Result<Vec<Claimed>, Error> {
    let attempts = i32::try_from(consumer.policy.attempts).unwrap_or(i32::MAX);
    let rows = database
        .connection()
        .await?
        .query(
            CLAIM,
            &[
                &consumer.name,
                &topic,
                &i64::from(limit),
                &lease.as_secs_f64(),
                &attempts,
            ],
        )
        .await?;
    let claimed = rows.iter().filter_map(|row| {
        // Null: it died just now.
        let claim: Option<Uuid> = row.get("claim");
        Some(Claimed {
            id: row.get("id"),
            claim: claim?,
            consumer: consumer.clone(),
            partition: row.get("partition"),
            message: message(row),
        })
    });
    Ok(claimed.collect())
}

impl Claimed {
    /// What the component is to be given.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The partition that it came from; none for what a command parked.
    pub fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// The message's number among the parked ones.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Lock the key and make sure that the claim still stands, as the first statement of a unit.
    pub async fn open(&self, unit: &mut Unit) -> Result<(), Error> {
        let message = &self.message;
        let rows = unit
            .query(
                OPEN,
                &[
                    &self.id,
                    &self.claim,
                    &self.consumer.name,
                    &message.topic,
                    &message.key,
                    &message.source,
                ],
            )
            .await
            .map_err(Error::of_own_statement)?;
        if rows.is_empty() {
            return Err(Error::Gone(self.id));
        }
        Ok(())
    }

    /// Write what came of it, as the unit's last statement.
    pub async fn settle(&self, unit: &mut Unit, verdict: &Verdict) -> Result<Retried, Error> {
        let rows = match self.settlement(verdict, "retry") {
            Settlement::Done => unit.query(DONE, &[&self.id, &self.claim]).await,
            Settlement::Again(change) => unit.query(AGAIN, &change.params(self)).await,
        };
        self.settled(rows, verdict)
    }

    /// The call failed and its unit was rolled back: note it, in a statement of its own.
    pub async fn fail(&self, database: &Database, error: &str) -> Result<Retried, Error> {
        let verdict = Verdict::Retry(error.to_owned());
        let mut connection = database.connection().await?;
        let rows = match self.settlement(&verdict, "failed") {
            Settlement::Done => Ok(Vec::new()),
            Settlement::Again(change) => connection.query(AGAIN, &change.params(self)).await,
        };
        self.settled(rows, &verdict)
    }

    /// It was not delivered: take the attempt back and let it be claimed again in a second.
    pub async fn release(&self, database: &Database) -> Result<(), Error> {
        database
            .connection()
            .await?
            .execute(RELEASE, &[&self.id, &self.claim])
            .await?;
        Ok(())
    }

    fn settlement(&self, verdict: &Verdict, reason: &'static str) -> Settlement {
        let attempt = self.message.attempt;
        let policy = &self.consumer.policy;
        Settlement::Again(match verdict {
            Verdict::Done => return Settlement::Done,
            Verdict::Reject(error) => Change {
                state: DEAD,
                reason: "rejected",
                error: error_text(error),
                delay: None,
            },
            Verdict::Retry(error) => {
                let spent = attempt >= policy.attempts;
                Change {
                    state: if spent { DEAD } else { "parked" },
                    reason,
                    error: error_text(error),
                    delay: (!spent).then(|| policy.delay(attempt).as_secs_f64()),
                }
            }
        })
    }

    fn settled(
        &self,
        rows: Result<Vec<Row>, marquee_database::Error>,
        verdict: &Verdict,
    ) -> Result<Retried, Error> {
        let rows = rows.map_err(Error::of_own_statement)?;
        let row = rows.first().ok_or(Error::Gone(self.id))?;
        Ok(match verdict {
            Verdict::Done => Retried::Done,
            _ if row.get::<_, &str>(0) == DEAD => Retried::Dead,
            _ => Retried::Later,
        })
    }
}

enum Settlement {
    Done,
    Again(Change),
}

struct Change {
    state: &'static str,
    reason: &'static str,
    error: String,
    delay: Option<f64>,
}

impl Change {
    fn params<'a>(
        &'a self,
        claimed: &'a Claimed,
    ) -> [&'a (dyn tokio_postgres::types::ToSql + Sync); 6] {
        [
            &claimed.id,
            &claimed.claim,
            &self.state,
            &self.reason,
            &self.error,
            &self.delay,
        ]
    }
}

/// A message as it was kept. The row has the columns of marquee.parked that CLAIM names.
pub(crate) fn message(row: &Row) -> Message {
    let value: Vec<u8> = row.get("value");
    Message {
        event_id: row.get("event_id"),
        source: row.get("source"),
        seq: row.get("seq"),
        topic: row.get("topic"),
        key: row.get("key"),
        value: value.into(),
        headers: headers(row.get("headers")),
        published_at_ms: row.get("published_at_ms"),
        attempt: count(row.get("attempts")),
    }
}

fn headers(json: Value) -> Vec<(String, String)> {
    let Value::Array(pairs) = json else {
        return Vec::new();
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    pairs
        .iter()
        .filter_map(|pair| Some((text(pair.get(0))?, text(pair.get(1))?)))
        .collect()
}

const DEAD: &str = "dead";

/// $1 consumer, $2 topic, $3 limit, $4 lease in seconds, $5 attempts allowed. The limit stands in a fence of its own:
/// joined, it could be applied more than once.
const CLAIM: &str = "
with due as (
    select p.id from marquee.parked p
    where p.consumer = $1 and p.topic = $2 and p.state = 'parked' and p.next_attempt_at <= now()
    order by p.next_attempt_at, p.id
    limit $3
    for update skip locked
)
update marquee.parked p set
    attempts = case when p.attempts < $5 then p.attempts + 1 else p.attempts end,
    claim = case when p.attempts < $5 then gen_random_uuid() end,
    next_attempt_at = case when p.attempts < $5 then now() + make_interval(secs => $4) end,
    state = case when p.attempts < $5 then 'parked' else 'dead' end,
    error = case when p.attempts < $5 then p.error
        else concat_ws('; ', 'the last delivery was never settled: its host died or was cut off', p.error) end,
    last_failed_at = case when p.attempts < $5 then p.last_failed_at else now() end
from due where p.id = due.id
returning p.id, p.claim, p.partition, p.event_id, p.source, p.seq, p.topic, p.key, p.value, p.headers, p.attempts,
    floor(extract(epoch from p.published_at) * 1000)::bigint as published_at_ms";

/// $1 id, $2 claim, $3 to $6 consumer, topic, key, source. The key's lock comes first: the filter needs it before a row
/// can be locked.
const OPEN: &str = "
with state as (
    select 1 from marquee.key_state k
    where k.consumer = $3 and k.topic = $4 and k.key = $5 and k.source = $6
    for update
)
select p.id from marquee.parked p
where (not p.ordered or exists (select from state)) and p.id = $1 and p.claim = $2 and p.state = 'parked'
for update";

/// Applied: $1 id, $2 claim. The next message of the key becomes due, unless it is dead or a number before it is
/// missing; the watermark moves with it where a gap has been filled.
const DONE: &str = "
with gone as (
    delete from marquee.parked where id = $1 and claim = $2 and state = 'parked'
    returning id, consumer, topic, key, source, seq, event_id, ordered
), state as (
    select g.*, k.last_seq from gone g
    join marquee.key_state k on k.consumer = g.consumer and k.topic = g.topic and k.key = g.key and k.source = g.source
    where g.ordered
), head as (
    select p.id, p.seq, p.state, s.last_seq
    from state s
    join marquee.parked p on p.consumer = s.consumer and p.topic = s.topic and p.key = s.key and p.source = s.source
    where p.ordered and p.id <> s.id
    order by coalesce(p.seq, 0), p.id
    limit 1
), promoted as (
    update marquee.parked p set next_attempt_at = now()
    from head h
    where p.id = h.id and h.state = 'parked' and (h.seq is null or h.seq <= h.last_seq + 1)
    returning p.seq
), keys as (
    update marquee.key_state k
    set parked = k.parked - 1, last_seq = greatest(k.last_seq, (select seq from promoted))
    from state s
    where k.consumer = s.consumer and k.topic = s.topic and k.key = s.key and k.source = s.source
), remembered as (
    insert into marquee.inbox (consumer, event_id) select consumer, event_id from gone where seq is null
    on conflict on constraint inbox_pkey do update set seen_at = now()
)
select 'done'::text from gone";

/// Not applied: $1 id, $2 claim, $3 state, $4 reason, $5 error, $6 seconds until the next delivery, if there is one.
const AGAIN: &str = "
update marquee.parked set
    claim = null, state = $3, reason = $4, error = $5,
    next_attempt_at = now() + make_interval(secs => $6),
    first_failed_at = coalesce(first_failed_at, now()), last_failed_at = now()
where id = $1 and claim = $2 and state = 'parked'
returning state";

/// $1 id, $2 claim.
const RELEASE: &str = "
update marquee.parked set claim = null, attempts = attempts - 1, next_attempt_at = now() + interval '1 second'
where id = $1 and claim = $2 and state = 'parked'";
