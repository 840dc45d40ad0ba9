//! A batch within its unit of work: opened by the first statement, settled by the last.
//!
//! Bound: two round trips, one where nothing has to be written at the end.

use std::collections::BTreeSet;

use marquee_bus::{Incoming, Partition};
use marquee_database::{
    Database, Unit,
    seeded::{Bug, slip},
};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    Consumer, Position,
    plan::{self, CLASH, Judged, KeyState, Outcome, Plan, Settled, States, Summary},
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

impl Receipt {
    /// Let a stretch of a partition in, as the first statement of a unit: what [`Position::fresh`] left of it, not
    /// empty. `attempt`: which delivery of these it is, from 1.
    pub async fn open(
        unit: &mut Unit,
        consumer: &Consumer,
        position: &Position,
        records: &[Incoming],
        attempt: u32,
    ) -> Result<Self, Error> {
        let topic = &position.partition.topic;
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
            plan: plan::plan(records, &states, position.takes_any_number()),
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
        let mut outcome = match self.plan.judge(verdicts, &self.consumer.policy, reason)? {
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
        for row in outcome.rows.iter().filter(|row| row.reason == CLASH) {
            tracing::error!(
                component = self.consumer.name,
                topic = self.partition.topic,
                key = row.message.key,
                source = row.message.source,
                event = %row.message.event_id,
                "an event has a number that was another's: {}",
                row.error.as_deref().unwrap_or_default()
            );
        }
        if !outcome.rows.is_empty() || outcome.summary.duplicates > 0 {
            outcome.summary.crowded =
                write(unit, &self.consumer, &self.partition, &outcome).await?;
        } else if !outcome.keys.is_empty() {
            let Watermarks {
                sources,
                keys,
                numbers,
                events,
            } = Watermarks::of(&outcome);
            let topic = &self.partition.topic;
            let params: [&(dyn ToSql + Sync); 6] = [
                &self.consumer.name,
                topic,
                &sources,
                &keys,
                &numbers,
                &events,
            ];
            let raised = unit.execute(store::RAISE, &params).await;
            raised.map_err(Error::of_own_statement)?;
        }
        Ok(Settled::Written(outcome.summary))
    }
}

/// What becomes of a message that is not delivered (again).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its delivery failed as a whole although it stood alone: parked, or dead where its attempts are spent.
    Failed(String),
    /// Dead.
    Dead(String),
    /// Dead, and nothing is kept of it that the server could refuse: neither its headers nor its time. It refused to
    /// keep the message as it is, and would do so each time.
    Stripped(String),
}

/// Keep a record without delivering it, in a unit of its own.
pub async fn keep(
    database: &Database,
    consumer: &Consumer,
    position: &Position,
    record: &Incoming,
    attempt: u32,
    fate: &Fate,
) -> Result<Summary, Error> {
    let verdict = match fate {
        Fate::Failed(error) => Verdict::Retry(error.clone()),
        Fate::Dead(error) | Fate::Stripped(error) => Verdict::Reject(error.clone()),
    };
    let mut record = record.clone();
    if matches!(fate, Fate::Stripped(_)) {
        record.published_at_ms = 0;
        record
            .record
            .headers
            .retain(|(name, _)| message::is_ours(name));
    }
    let mut unit = database.unit();
    let records = std::slice::from_ref(&record);
    let receipt = Receipt::open(&mut unit, consumer, position, records, attempt).await?;
    let verdicts = vec![verdict; receipt.plan.deliveries().count()];
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
        if record.ordered {
            keys.insert((message.key.as_str(), message.source.as_str()));
        }
    }
    let (keys, sources): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let open = slip(
        Bug::IncarnationIgnored,
        store::OPEN,
        "incarnation = $9",
        "$9::bigint is not null",
    );
    let open = slip(
        Bug::FenceOff,
        open,
        "position = $4 and incarnation = $9",
        "$9::bigint is not null",
    );
    let rows = unit
        .query_by_index(
            &open,
            &[
                &consumer.name,
                &position.partition.topic,
                &position.partition.number,
                &position.next,
                &next,
                &sources,
                &keys,
                &ids,
                &position.incarnation,
                &i64::try_from(records.len()).unwrap_or(i64::MAX),
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
                    last_event: row.get(5),
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

/// The keys whose watermark moves, or that get parked messages, column by column.
struct Watermarks<'a> {
    sources: Vec<&'a str>,
    keys: Vec<&'a str>,
    numbers: Vec<i64>,
    events: Vec<Option<Uuid>>,
}

impl<'a> Watermarks<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let amount = outcome.keys.len();
        let mut columns = Self {
            sources: Vec::with_capacity(amount),
            keys: Vec::with_capacity(amount),
            numbers: Vec::with_capacity(amount),
            events: Vec::with_capacity(amount),
        };
        for ((source, key), state) in &outcome.keys {
            columns.sources.push(source);
            columns.keys.push(key);
            columns.numbers.push(state.last_seq);
            columns.events.push(state.last_event);
        }
        columns
    }
}

async fn write(
    unit: &mut Unit,
    consumer: &Consumer,
    partition: &Partition,
    outcome: &Outcome,
) -> Result<bool, Error> {
    macro_rules! column {
        ($row:ident => $value:expr) => {
            outcome.rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let Watermarks {
        sources,
        keys,
        numbers,
        events,
    } = Watermarks::of(outcome);
    let counts = unit
        .query_planned(
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
                &numbers,
                &CROWDED,
                &i64::try_from(outcome.summary.duplicates).unwrap_or(i64::MAX),
                &events,
            ],
        )
        .await
        .map_err(Error::of_own_statement)?;
    Ok(counts.iter().any(|row| row.get::<_, i64>(0) > CROWDED))
}

fn headers_to_json(headers: &[(String, String)]) -> Value {
    headers
        .iter()
        .map(|(name, value)| Value::Array(vec![name.as_str().into(), value.as_str().into()]))
        .collect()
}

/// Parked and dead messages of a consumer: more is a fault of its own, and an alarm. Nothing stops for it: what stands
/// behind them on the bus may be good.
pub const CROWDED: i64 = 100_000;
