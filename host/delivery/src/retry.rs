//! Parked messages, brought again: the run of a key whose first message is due, in one unit of work.
//!
//! Promise: a delivery is counted durably before it begins; a host that died gives its claim back by the lease; after
//! two deliveries of which nothing was heard again a message goes alone, of its key and of others like it, and one that
//! takes its hosts along alone is dead after its attempts. The claim on a run's first message is the claim on its key: nobody else delivers of it, so
//! no lock is held while the component works. Bounds: messages and bytes of a run. Not here: when to look (the schedule
//! trigger), calling the component.
//!
//! # How a caller goes through what is due
//!
//! Call [`claim`] until it finds nothing. Each claim, several at once where wanted, is delivered as
//! [`crate::apply`] says, with [`Claimed::most`] messages at first. The component failed as a whole: half as many, after
//! [`Claimed::renew`]; one alone: [`Claimed::fail`]. A conflict: the same again; the database away or busy, or the host
//! stopping: [`Claimed::release`], which gives the attempt back where it can be. [`Error::Gone`]: forget it.

use std::time::Duration;

use marquee_database::{
    Database, Unit,
    seeded::{Bug, seeded, slip},
};
use serde_json::Value;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    Consumer, Error, Message, Verdict,
    consume::{Settled, Summary, count, error_text},
    keys::Key,
};

/// The run of a key that this host may deliver now, by its first message.
#[derive(Debug, Clone)]
pub struct Claimed {
    id: i64,
    claim: Uuid,
    consumer: Consumer,
    key: Key,
    is_ordered: bool,
    partition: Option<i32>,
    attempt: u32,
    unsettled: i32,
}

/// What was due.
#[derive(Debug, Clone)]
pub enum Due {
    /// A run to deliver.
    Run(Claimed),
    /// A message that no host survived: it is dead now.
    Dead {
        /// Its number among the parked ones.
        id: i64,
    },
}

/// A run within its unit of work.
#[derive(Debug)]
pub struct Run {
    claimed: Claimed,
    /// By their numbers among the parked ones.
    messages: Vec<(i64, Message)>,
}

/// Claim what has been due for longest of a consumer and topic. `lease` is longer than a delivery can take: after it,
/// another host may claim what this one did not settle.
pub async fn claim(
    database: &Database,
    consumer: &Consumer,
    topic: &str,
    lease: Duration,
) -> Result<Option<Due>, Error> {
    let attempts = i32::try_from(consumer.policy.attempts).unwrap_or(i32::MAX);
    let params: [&(dyn ToSql + Sync); 5] = [
        &consumer.name,
        &topic,
        &lease.as_secs_f64(),
        &attempts,
        &UNSETTLED_UNTIL_ALONE,
    ];
    let claim = slip(
        Bug::AttemptsNotCounted,
        CLAIM,
        "p.attempts + counted",
        "p.attempts",
    );
    let rows = database
        .connection()
        .await?
        .query_planned(&claim, &params)
        .await?;
    Ok(rows.first().map(|row| {
        let id = row.get("id");
        // Null: it died just now.
        let Some(claim) = row.get("claim") else {
            return Due::Dead { id };
        };
        Due::Run(Claimed {
            id,
            claim,
            consumer: consumer.clone(),
            key: Key {
                consumer: consumer.name.clone(),
                topic: topic.to_owned(),
                key: row.get("key"),
                source: row.get("source"),
            },
            is_ordered: row.get("ordered"),
            partition: row.get("partition"),
            attempt: count(row.get("attempts")),
            unsettled: row.get("unsettled"),
        })
    }))
}

impl Claimed {
    /// The partition that it came from; none for what a command parked.
    pub fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// The first message's number among the parked ones.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// What orders it; empty: nothing does.
    pub fn key(&self) -> &str {
        &self.key.key
    }

    /// How many messages may be delivered together.
    pub fn most(&self) -> usize {
        if self.unsettled >= UNSETTLED_UNTIL_ALONE {
            1
        } else {
            MESSAGES
        }
    }

    pub(crate) async fn open(&self, unit: &mut Unit, limit: usize) -> Result<Run, Error> {
        let Key {
            consumer,
            topic,
            key,
            source,
        } = &self.key;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = if self.is_ordered {
            let params: [&(dyn ToSql + Sync); 6] = [consumer, topic, key, source, &limit, &BYTES];
            unit.query_planned(RUN, &params).await
        } else {
            unit.query(ALONE, &[&self.id]).await
        };
        let rows = rows.map_err(Error::of_own_statement)?;
        let is_ours = |row: &Row| {
            row.get::<_, i64>("id") == self.id
                && row.get::<_, Option<Uuid>>("claim") == Some(self.claim)
        };
        if !rows.first().is_some_and(is_ours) {
            return Err(Error::Gone(format!("message {}", self.id)));
        }
        let mut messages: Vec<(i64, Message)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut message = message(row);
            let follows = messages.last().is_none_or(|(_, before)| {
                before.seq.map(|seq| seq.saturating_add(1)) == message.seq
            });
            if row.get::<_, &str>("state") != PARKED || !follows {
                break;
            }
            if !messages.is_empty() {
                // The first one's is counted already.
                message.attempt = message.attempt.saturating_add(1);
            }
            messages.push((row.get("id"), message));
        }
        Ok(Run {
            claimed: self.clone(),
            messages,
        })
    }

    /// The next try of it begins: nobody else may claim it for so long.
    pub async fn renew(&self, database: &Database, lease: Duration) -> Result<(), Error> {
        let seconds = lease.as_secs_f64();
        let params: [&(dyn ToSql + Sync); 3] = [&self.id, &self.claim, &seconds];
        let mut connection = database.connection().await?;
        unless_gone(self.id, connection.execute(RENEW, &params).await)
    }

    /// The call failed with this message alone, and its unit was rolled back: note it, in a statement of its own.
    pub async fn fail(&self, database: &Database, error: &str) -> Result<Summary, Error> {
        let change = Change::of(
            self.id,
            Some(self.claim),
            self.attempt,
            &Verdict::Retry(error.to_owned()),
            &self.consumer,
            "failed",
        );
        let mut connection = database.connection().await?;
        unless_gone(self.id, connection.execute(AGAIN, &change.params()).await)?;
        Ok(change.summary(0))
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

    /// Lock the key, and make sure that the claim still stands.
    async fn hold(&self, unit: &mut Unit) -> Result<(), Error> {
        let Key {
            consumer,
            topic,
            key,
            source,
        } = &self.key;
        let params: [&(dyn ToSql + Sync); 6] =
            [&self.id, &self.claim, consumer, topic, key, source];
        unless_gone(self.id, unit.execute(HOLD, &params).await)
    }
}

impl Run {
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.messages
            .iter()
            .map(|(_, message)| message.clone())
            .collect()
    }

    pub(crate) async fn settle(
        self,
        unit: &mut Unit,
        verdicts: &[Verdict],
    ) -> Result<Settled, Error> {
        if verdicts.len() != self.messages.len() {
            return Err(Error::Verdicts {
                expected: self.messages.len(),
                given: verdicts.len(),
            });
        }
        let is_done = |verdict: &Verdict| *verdict == Verdict::Done;
        let done = verdicts.iter().take_while(|it| is_done(it)).count();
        let (applied, rest) = self.messages.split_at(done);
        let behind = verdicts.iter().skip(done);
        // What stands behind the first that was not applied was asked too early.
        if behind.clone().any(is_done) && !seeded(Bug::BehindCounts) {
            return Ok(Settled::Split(done + 1));
        }
        self.claimed.hold(unit).await?;
        let ids: Vec<i64> = applied.iter().map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            let applied = slip(
                Bug::RetriedNotCounted,
                APPLIED,
                "topic, partition, count(*) from gone",
                "topic, partition, 0 from gone",
            );
            let rows = unit.query(&applied, &[&ids]).await;
            let rows = rows.map_err(Error::of_own_statement)?;
            let gone = rows.first().map_or(0, |row| row.get::<_, i64>(0));
            if usize::try_from(gone) != Ok(ids.len()) {
                // A person took one of them away meanwhile.
                return Err(Error::Gone(format!("message {}", self.claimed.id)));
            }
        }
        let left = rest.first().zip(behind.clone().next());
        let mut summary = Summary {
            done,
            ..Summary::default()
        };
        if let Some(((id, message), verdict)) = left {
            let claim = (done == 0).then_some(self.claimed.claim);
            let consumer = &self.claimed.consumer;
            let change = Change::of(*id, claim, message.attempt, verdict, consumer, "retry");
            unless_gone(*id, unit.execute(AGAIN, &change.params()).await)?;
            summary = change.summary(done);
        }
        if self.claimed.is_ordered && done > 0 {
            let last = left.map(|(left, _)| left).or_else(|| applied.last());
            let seq = last.and_then(|(_, message)| message.seq);
            // Where one goes alone, so do those behind it: one of them is to blame.
            let unsettled = self.claimed.unsettled;
            self.claimed.key.advance(unit, done, seq, unsettled).await?;
        }
        Ok(Settled::Written(summary))
    }
}

/// What is written of a message that was not applied.
struct Change {
    id: i64,
    claim: Option<Uuid>,
    attempts: i32,
    state: &'static str,
    reason: &'static str,
    error: String,
    delay: Option<f64>,
}

impl Change {
    fn of(
        id: i64,
        claim: Option<Uuid>,
        attempt: u32,
        verdict: &Verdict,
        consumer: &Consumer,
        reason: &'static str,
    ) -> Self {
        let policy = &consumer.policy;
        let (reason, error, is_dead) = match verdict {
            Verdict::Reject(error) => ("rejected", error.as_str(), true),
            Verdict::Retry(error) => (reason, error.as_str(), attempt >= policy.attempts),
            Verdict::Done => (reason, "", false),
        };
        Self {
            id,
            claim,
            attempts: i32::try_from(attempt).unwrap_or(i32::MAX),
            state: if is_dead { DEAD } else { PARKED },
            reason,
            error: error_text(error),
            delay: (!is_dead).then(|| policy.delay(attempt).as_secs_f64()),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.id,
            &self.claim,
            &self.state,
            &self.reason,
            &self.error,
            &self.delay,
            &self.attempts,
        ]
    }

    fn summary(&self, done: usize) -> Summary {
        let is_dead = usize::from(self.state == DEAD);
        Summary {
            done,
            dead: is_dead,
            parked: 1 - is_dead,
            ..Summary::default()
        }
    }
}

fn unless_gone(id: i64, rows: Result<u64, marquee_database::Error>) -> Result<(), Error> {
    Error::unless_found(rows, format_args!("message {id}"))
}

/// A message as it was kept. The row has the columns of marquee.parked that RUN names.
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

const PARKED: &str = "parked";
const DEAD: &str = "dead";
/// Messages of a run, as many as of a batch.
const MESSAGES: usize = 500;
/// Bytes of payload in a run; its first message may exceed it alone.
const BYTES: i64 = 4 << 20;
/// One death may be anything, and any message's of the run. Two are likely one's doing.
const UNSETTLED_UNTIL_ALONE: i32 = 2;

/// $1 consumer, $2 topic, $3 lease in seconds, $4 attempts allowed, $5 unsettled deliveries after which it goes alone. A
/// claim that is there was never settled. As long as others were delivered with it, that is no attempt of this message.
/// Of those that go alone one is claimed at a time: what is claimed beside it would be counted with its deaths.
const CLAIM: &str = "
with due as (
    select p.id, s.unsettled,
        p.claim is not null and s.unsettled > $5 and p.attempts >= $4 as is_dead,
        case when p.claim is null or s.unsettled > $5 then 1 else 0 end as counted
    from marquee.parked p
    cross join lateral (select case when p.claim is null then p.unsettled else p.unsettled + 1 end as unsettled) as s
    where p.consumer = $1 and p.topic = $2 and p.state = 'parked' and p.next_attempt_at <= now()
        and not exists (select from marquee.pauses where consumer = $1 and topic = $2)
        and (s.unsettled <= $5 or not exists (
            select from marquee.parked q
            where q.consumer = $1 and q.topic = $2 and q.state = 'parked' and q.claim is not null and q.unsettled > $5
                and q.next_attempt_at > now() and q.next_attempt_at <= now() + make_interval(secs => $3)
        ) and pg_try_advisory_xact_lock(hashtextextended('marquee.parked/' || $1 || '/' || $2, 0)))
    order by p.next_attempt_at, p.id
    limit 1
    for update of p skip locked
)
update marquee.parked p set
    unsettled = due.unsettled,
    attempts = case when is_dead then p.attempts else p.attempts + counted end,
    claim = case when not is_dead then gen_random_uuid() end,
    next_attempt_at = case when not is_dead then now() + make_interval(secs => $3) end,
    state = case when is_dead then 'dead' else 'parked' end,
    error = case when is_dead
        then concat_ws('; ', 'the last delivery was never settled: its host died or was cut off', p.error)
        else p.error end,
    last_failed_at = case when is_dead then now() else p.last_failed_at end
from due where p.id = due.id
returning p.id, p.claim, p.partition, p.key, p.source, p.ordered, p.attempts, p.unsettled";

/// A key's first messages in their order, dead ones too: $1 to $4 the key, $5 how many, $6 bytes.
const RUN: &str = "
select id, claim, state, event_id, source, seq, topic, key, value, headers, attempts,
    floor(extract(epoch from published_at) * 1000)::bigint as published_at_ms
from (
    select p.*, coalesce(seq, 0) as place, row_number() over run as number,
        sum(octet_length(p.value)) over run as bytes
    from (
        select * from marquee.parked
        where consumer = $1 and topic = $2 and key = $3 and source = $4 and ordered
        order by coalesce(seq, 0), id limit $5
    ) as p
    window run as (order by coalesce(seq, 0), id rows unbounded preceding)
) as run
where bytes <= $6 or number = 1
order by place, id";

/// A message that nothing orders. $1 id.
const ALONE: &str = "
select id, claim, state, event_id, source, seq, topic, key, value, headers, attempts,
    floor(extract(epoch from published_at) * 1000)::bigint as published_at_ms
from marquee.parked where id = $1";

/// $1 id, $2 claim, $3 to $6 consumer, topic, key, source. The key's lock comes first: the filter needs it before a row
/// can be locked.
const HOLD: &str = "
with state as (
    select 1 from marquee.key_state k
    where k.consumer = $3 and k.topic = $4 and k.key = $5 and k.source = $6
    for update
)
select p.id from marquee.parked p
where (not p.ordered or exists (select from state)) and p.id = $1 and p.claim = $2 and p.state = 'parked'
for update";

/// $1 ids. How many went. What a command parked is in no partition, and in no count of one.
const APPLIED: &str = "
with gone as (
    delete from marquee.parked where id = any ($1) and state = 'parked'
    returning consumer, topic, partition, event_id, seq
), counted as (
    insert into marquee.ledger as l (consumer, topic, partition, retried)
    select consumer, topic, partition, count(*) from gone where partition is not null group by 1, 2, 3
    on conflict on constraint ledger_pkey do update set retried = l.retried + excluded.retried
), remembered as (
    insert into marquee.inbox (consumer, event_id) select consumer, event_id from gone where seq is null
    on conflict on constraint inbox_pkey do update set seen_at = now()
)
select count(*) from gone";

/// Not applied: $1 id, $2 claim, $3 state, $4 reason, $5 error, $6 seconds until the next delivery, if there is one, $7
/// deliveries so far.
const AGAIN: &str = "
update marquee.parked set
    claim = null, unsettled = 0, state = $3, reason = $4, error = $5, attempts = $7,
    next_attempt_at = now() + make_interval(secs => $6),
    first_failed_at = coalesce(first_failed_at, now()), last_failed_at = now()
where id = $1 and claim is not distinct from $2 and state = 'parked'";

/// $1 id, $2 claim, $3 lease in seconds.
const RENEW: &str = "
update marquee.parked set next_attempt_at = now() + make_interval(secs => $3)
where id = $1 and claim = $2 and state = 'parked'";

/// $1 id, $2 claim.
const RELEASE: &str = "
update marquee.parked set claim = null, attempts = attempts - 1, next_attempt_at = now() + interval '1 second'
where id = $1 and claim = $2 and state = 'parked'";
