//! A batch within its unit of work: opened by the first statement, settled by the last.
//!
//! Bound: two round trips, one where nothing has to be written at the end.

use std::collections::BTreeSet;

use marquee_bus::{Incoming, Partition};
use marquee_database::{Database, Unit};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Consumer, Position,
    plan::{self, Judged, KeyState, Outcome, Plan, States, Summary},
    store,
};
use crate::{
    Error, Message, Verdict,
    message::{self, Decoded},
};

/// A batch that was let in: fenced, its keys locked, its duplicates known.
#[derive(Debug)]
pub struct Receipt {
    consumer: Consumer,
    partition: Partition,
    plan: Plan,
}

/// What came of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is written; commit the unit.
    Written(Summary),
    /// The component applied a message behind one of the same key that it did not. Roll back; then deliver the
    /// first so many records of the batch, and the others after them: those of that key will wait.
    Split(usize),
}

impl Receipt {
    /// Let a stretch of a partition in, as the first statement of a unit: what [`Position::fresh`] left of it, not
    /// empty.
    pub async fn open(
        unit: &mut Unit,
        consumer: &Consumer,
        position: &Position,
        records: &[Incoming],
    ) -> Result<Self, Error> {
        let topic = &position.partition.topic;
        let attempt = position.attempt();
        let records: Vec<Decoded> = records
            .iter()
            .map(|record| message::decode(topic, attempt, record))
            .collect();
        let next = records
            .last()
            .map_or(position.next, |record| record.offset.saturating_add(1));
        let states = read(unit, consumer, position, next, &records).await?;
        Ok(Self {
            consumer: consumer.clone(),
            partition: position.partition.clone(),
            plan: plan::plan(records, &states, consumer.first_contact),
        })
    }

    /// What the component is to be given, in order. Where it is empty, settle with no verdicts.
    pub fn messages(&self) -> Vec<Message> {
        self.plan.deliveries().cloned().collect()
    }

    /// Write what came of it, as the unit's last statement: one verdict for each of [`Self::messages`], in order.
    pub async fn settle(self, unit: &mut Unit, verdicts: &[Verdict]) -> Result<Settled, Error> {
        self.settle_as(unit, verdicts, "retry").await
    }

    pub(crate) async fn settle_as(
        self,
        unit: &mut Unit,
        verdicts: &[Verdict],
        reason: &'static str,
    ) -> Result<Settled, Error> {
        let outcome = match self.plan.judge(verdicts, &self.consumer.policy, reason)? {
            Judged::Split(first) => return Ok(Settled::Split(first)),
            Judged::Settle(outcome) => outcome,
        };
        if outcome.summary.gaps > 0 {
            tracing::error!(
                component = self.consumer.name,
                topic = self.partition.topic,
                partition = self.partition.number,
                gaps = outcome.summary.gaps,
                "numbers are missing before {} messages; their keys wait",
                outcome.summary.gaps
            );
        }
        if !outcome.keys.is_empty() || !outcome.rows.is_empty() {
            write(unit, &self.consumer, &self.partition, &outcome).await?;
        }
        Ok(Settled::Written(outcome.summary))
    }
}

/// Park the one record whose delivery failed as a whole (an error, a trap, a passed deadline) although it stood
/// alone; in a unit of its own. Where the consumer's attempts are spent it goes to the dead.
pub async fn park_failed(
    database: &Database,
    consumer: &Consumer,
    position: &Position,
    record: &Incoming,
    error: &str,
) -> Result<Summary, Error> {
    settle_alone(
        database,
        consumer,
        position,
        record,
        &Verdict::Retry(error.to_owned()),
    )
    .await
}

/// Put a record to the dead without delivering it, in a unit of its own: no host survived it.
pub async fn bury(
    database: &Database,
    consumer: &Consumer,
    position: &Position,
    record: &Incoming,
    error: &str,
) -> Result<Summary, Error> {
    settle_alone(
        database,
        consumer,
        position,
        record,
        &Verdict::Reject(error.to_owned()),
    )
    .await
}

async fn settle_alone(
    database: &Database,
    consumer: &Consumer,
    position: &Position,
    record: &Incoming,
    verdict: &Verdict,
) -> Result<Summary, Error> {
    let mut unit = database.unit();
    let receipt =
        Receipt::open(&mut unit, consumer, position, std::slice::from_ref(record)).await?;
    let verdicts = vec![verdict.clone(); receipt.plan.deliveries().count()];
    match receipt.settle_as(&mut unit, &verdicts, "failed").await? {
        Settled::Written(summary) => {
            unit.commit().await?;
            Ok(summary)
        }
        Settled::Split(_) => Err(Error::Verdicts {
            expected: 1,
            given: 1,
        }),
    }
}

async fn read(
    unit: &mut Unit,
    consumer: &Consumer,
    position: &Position,
    next: i64,
    records: &[Decoded],
) -> Result<States, Error> {
    let mut keys = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for record in records {
        let message = &record.message;
        if message.seq.is_none() && record.undecodable.is_none() {
            ids.insert(message.event_id);
        }
        if !message.key.is_empty() {
            keys.insert((message.key.as_str(), message.source.as_str()));
        }
    }
    let (keys, sources): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let rows = unit
        .query(
            store::OPEN,
            &[
                &consumer.name,
                &position.partition.topic,
                &position.partition.number,
                &position.next,
                &next,
                &sources,
                &keys,
                &ids,
            ],
        )
        .await
        .map_err(Error::of_own_statement)?;
    let mut states = States::default();
    let mut holds = false;
    for row in rows {
        match row.get::<_, i32>(0) {
            0 => holds = true,
            1 => {
                let state = KeyState {
                    last_seq: row.get(3),
                    parked: row.get(4),
                };
                states.keys.insert((row.get(1), row.get(2)), state);
            }
            _ => {
                states.fresh.insert(row.get(5));
            }
        }
    }
    if holds {
        Ok(states)
    } else {
        Err(position.fenced())
    }
}

async fn write(
    unit: &mut Unit,
    consumer: &Consumer,
    partition: &Partition,
    outcome: &Outcome,
) -> Result<(), Error> {
    macro_rules! column {
        ($row:ident => $value:expr) => {
            outcome.rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let sources: Vec<&str> = outcome.keys.iter().map(|(key, _)| key.0.as_str()).collect();
    let keys: Vec<&str> = outcome.keys.iter().map(|(key, _)| key.1.as_str()).collect();
    let watermarks: Vec<i64> = outcome.keys.iter().map(|(_, last_seq)| *last_seq).collect();
    let counts = unit
        .query(
            store::SETTLE,
            &[
                &consumer.name,
                &partition.topic,
                &partition.number,
                &column!(row => row.message.source.as_str()),
                &column!(row => row.message.key.as_str()),
                &column!(row => row.message.seq),
                &column!(row => row.message.event_id),
                &column!(row => headers_to_json(&row.message.headers)),
                &column!(row => row.message.value.as_ref()),
                &column!(row => row.message.published_at_ms),
                &column!(row => row.offset),
                &column!(row => row.state),
                &column!(row => row.reason),
                &column!(row => row.error.as_deref()),
                &column!(row => i32::try_from(row.attempts).unwrap_or(i32::MAX)),
                &column!(row => row.ordered),
                &column!(row => row.due_in),
                &sources,
                &keys,
                &watermarks,
                &PARKED_PER_CONSUMER,
            ],
        )
        .await
        .map_err(Error::of_own_statement)?;
    let full = |row: &tokio_postgres::Row| {
        let (kept, held): (i64, i64) = (row.get(0), row.get(1));
        kept + held > PARKED_PER_CONSUMER
    };
    if counts.iter().any(full) {
        return Err(Error::ConsumerFull {
            consumer: consumer.name.clone(),
            limit: PARKED_PER_CONSUMER,
        });
    }
    Ok(())
}

fn headers_to_json(headers: &[(String, String)]) -> Value {
    headers
        .iter()
        .map(|(name, value)| Value::Array(vec![name.as_str().into(), value.as_str().into()]))
        .collect()
}

/// Parked and dead messages of a consumer. A consumer that fails at everything stops there, with its messages still on
/// the bus, instead of copying the topic into its database.
pub const PARKED_PER_CONSUMER: i64 = 100_000;
