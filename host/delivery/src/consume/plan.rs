//! What becomes of each record of a batch: pure, so that it can be tried against a naive model.
//!
//! Promise: of each key, messages are delivered in order, each once; behind one that could not be applied nothing
//! of its key is. Not here: the locks that make the states true until the unit commits.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
};

use marquee_database::seeded::{Bug, seeded};
use uuid::Uuid;

use crate::{
    Error, Message, Policy, Verdict,
    message::{Decoded, printable, shortened},
};

/// A key of the batch's topic: the outbox that numbers it, and the key itself.
pub(crate) type Key = (String, String);

/// What the database knows of the batch's keys and events.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    /// Keys that are known.
    pub(crate) keys: HashMap<Key, KeyState>,
    /// Of the events without number: those not seen before.
    pub(crate) fresh: HashSet<Uuid>,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyState {
    /// Every number up to this one was applied or is parked.
    pub(crate) last_seq: i64,
    /// Messages that hold the key.
    pub(crate) parked: i32,
    /// The event that had that number, where it is known.
    pub(crate) last_event: Option<Uuid>,
}

impl KeyState {
    /// Whether another event than this one has used up its number: whoever numbered it was put back to before. Event ids of
    /// version 7 are in the order in which they were drawn, to the millisecond: one of a later millisecond cannot have an
    /// earlier number, unless the publisher's clock was set back in between. Within one it may be a redelivery.
    fn is_clash(&self, seq: i64, event: Uuid) -> bool {
        self.last_event
            .is_some_and(|last| match seq.cmp(&self.last_seq) {
                Ordering::Equal => event != last,
                Ordering::Less => match (milliseconds(event), milliseconds(last)) {
                    (Some(event), Some(last)) => event > last,
                    _ => false,
                },
                Ordering::Greater => false,
            })
    }
}

/// When an event id was drawn, if it says so.
fn milliseconds(id: Uuid) -> Option<u128> {
    (id.get_version_num() == 7).then(|| id.as_u128() >> 80)
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes to the component.
    Deliver,
    /// It was dealt with before.
    Duplicate,
    /// It waits behind a message of its key.
    Wait,
    /// A number before it is missing.
    Gap,
    /// Its number was another event's.
    Clash(String),
    /// It cannot be delivered, ever.
    Dead(String),
}

/// The fate of each record, before the component was asked.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<(Decoded, Step)>,
    /// The keys of the batch as they are after it.
    keys: BTreeMap<Key, Working>,
}

/// A key while the batch is gone through.
#[derive(Debug, Clone, Copy, Default)]
struct Working {
    state: KeyState,
    /// Whether the watermark moved.
    moved: bool,
}

/// What has to be written, after the component was asked.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Keys whose watermark moves or that get parked messages.
    pub(crate) keys: Vec<(Key, KeyState)>,
    /// Messages to keep.
    pub(crate) rows: Vec<Row>,
    /// In figures.
    pub(crate) summary: Summary,
}

/// A message to keep.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) message: Message,
    pub(crate) offset: i64,
    pub(crate) state: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) attempts: u32,
    /// Whether later messages of the key wait for it.
    pub(crate) ordered: bool,
    /// Whether it may be the next of its key to be delivered, and then after how many seconds.
    pub(crate) due_in: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is written; commit the unit.
    Written(Summary),
    /// The component applied a message behind one of the same key that it did not. Roll back; then deliver so many of
    /// the stretch first, and the others after them: those of that key will wait.
    Split(usize),
}

/// A batch in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The position after it: the offset to commit to the bus once the unit has committed.
    pub next: i64,
    /// Applied.
    pub done: usize,
    /// Left out: dealt with before.
    pub duplicates: usize,
    /// Parked: to be retried, or waiting behind one that is.
    pub parked: usize,
    /// Of the parked: those before which a number is missing. An alarm.
    pub gaps: usize,
    /// Dead: rejected, undecodable, or a clash.
    pub dead: usize,
    /// Whether the consumer holds more parked and dead messages than [`super::CROWDED`]. An alarm.
    pub crowded: bool,
}

/// What came of asking the component.
#[derive(Debug)]
pub(crate) enum Judged {
    /// Write this.
    Settle(Outcome),
    /// A message was applied behind one of its key that was not. Nothing of it may stand: deliver so many records
    /// first, and the others after them.
    Split(usize),
}

/// The reason of a message under a number that was another event's.
pub(crate) const CLASH: &str = "clash";

/// Decide, without asking the component. `any_number`: a key of which nothing is known begins with whatever number comes
/// first, since what was before is not there to be read.
pub(crate) fn plan(records: Vec<Decoded>, states: &States, any_number: bool) -> Plan {
    let mut keys: BTreeMap<Key, Working> = BTreeMap::new();
    let mut seen_here = HashSet::new();
    let mut steps = Vec::with_capacity(records.len());
    for record in records {
        let message = &record.message;
        let step = match (message.seq, &record.undecodable) {
            (Some(seq), undecodable) => {
                let working = working(&mut keys, states, message);
                let state = &mut working.state;
                let begins = any_number && state.last_seq == 0 && state.parked == 0;
                if state.is_clash(seq, message.event_id) && !seeded(Bug::ClashNotNoticed) {
                    Step::Clash(clash(seq, state))
                } else if seq <= state.last_seq && !seeded(Bug::DuplicatesOff) {
                    Step::Duplicate
                } else {
                    let in_order = begins
                        || seq == state.last_seq + 1
                        || (seq > state.last_seq && seeded(Bug::GapNotNoticed))
                        || (seq <= state.last_seq && seeded(Bug::DuplicatesOff));
                    if in_order {
                        state.last_seq = seq.max(state.last_seq);
                        state.last_event = Some(message.event_id);
                        working.moved = !seeded(Bug::WatermarkNotRaised);
                    }
                    let step = match undecodable {
                        Some(reason) => Step::Dead(reason.clone()),
                        None if !in_order => Step::Gap,
                        None if state.parked > 0 && !seeded(Bug::KeyNotHeld) => Step::Wait,
                        None => Step::Deliver,
                    };
                    if step != Step::Deliver {
                        state.parked += 1;
                    }
                    step
                }
            }
            (None, Some(reason)) => {
                if record.ordered {
                    working(&mut keys, states, message).state.parked += 1;
                }
                Step::Dead(reason.clone())
            }
            (None, None) => {
                let is_seen = !states.fresh.contains(&message.event_id)
                    || !seen_here.insert(message.event_id);
                if is_seen && !seeded(Bug::InboxOff) {
                    Step::Duplicate
                } else if message.key.is_empty() {
                    Step::Deliver
                } else {
                    let state = &mut working(&mut keys, states, message).state;
                    if state.parked > 0 && !seeded(Bug::KeyNotHeld) {
                        state.parked += 1;
                        Step::Wait
                    } else {
                        Step::Deliver
                    }
                }
            }
        };
        steps.push((record, step));
    }
    Plan { steps, keys }
}

fn clash(seq: i64, state: &KeyState) -> String {
    let (last_seq, last) = (state.last_seq, state.last_event.unwrap_or_default());
    format!(
        "number {seq} of its key was used up: event {last} had number {last_seq}. The publisher's database was put back to \
         before; this event was not applied, retry it if it should be"
    )
}

impl Plan {
    /// What goes to the component, in order.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = &Message> {
        self.steps
            .iter()
            .filter(|(_, step)| *step == Step::Deliver)
            .map(|(record, _)| &record.message)
    }

    /// Add what the component said of the deliveries. `reason` is why a retry is one: the component's word, or its
    /// failure.
    pub(crate) fn judge(
        self,
        verdicts: &[Verdict],
        policy: &Policy,
        reason: &'static str,
    ) -> Result<Judged, Error> {
        let expected = self.deliveries().count();
        if verdicts.len() != expected {
            return Err(Error::Verdicts {
                expected,
                given: verdicts.len(),
            });
        }
        let mut verdicts = verdicts.iter();
        let mut outcome = Outcome::default();
        // Where in the batch the first delivered message of a key stands that was not applied.
        let mut held: HashMap<Key, usize> = HashMap::new();
        let mut keys = self.keys;
        for (index, (record, step)) in self.steps.into_iter().enumerate() {
            outcome.summary.next = outcome.summary.next.max(record.offset.saturating_add(1));
            let key = key_of(&record.message);
            let ordered = !record.message.key.is_empty();
            match step {
                Step::Duplicate => outcome.summary.duplicates += 1,
                Step::Wait => outcome.park(record, "waiting", None, 0, Some(0.0)),
                Step::Gap => {
                    outcome.summary.gaps += 1;
                    outcome.park(record, "gap", None, 0, None);
                }
                Step::Clash(error) => {
                    outcome.bury(record, CLASH, &error, 0, false);
                }
                Step::Dead(reason) => {
                    let ordered = record.ordered;
                    outcome.bury(record, "undecodable", &reason, 0, ordered);
                }
                Step::Deliver => match verdicts.next() {
                    None | Some(Verdict::Done) => {
                        if let Some(first) = held.get(&key).filter(|_| ordered)
                            && !seeded(Bug::BehindCounts)
                        {
                            return Ok(Judged::Split(first.saturating_add(1)));
                        }
                        outcome.summary.done += 1;
                    }
                    Some(verdict @ (Verdict::Retry(error) | Verdict::Reject(error))) => {
                        let attempt = record.message.attempt;
                        let behind = ordered && held.contains_key(&key);
                        if ordered {
                            held.entry(key.clone()).or_insert(index);
                            if let Some(working) = keys.get_mut(&key) {
                                working.state.parked += 1;
                            }
                        }
                        let spent = attempt >= policy.attempts;
                        if behind {
                            // It was asked too early; what it said then decides nothing.
                            outcome.park(record, "waiting", Some(error), attempt, Some(0.0));
                        } else if matches!(verdict, Verdict::Reject(_)) {
                            outcome.bury(record, "rejected", error, attempt, ordered);
                        } else if spent {
                            outcome.bury(record, reason, error, attempt, ordered);
                        } else {
                            let delay = policy.delay(attempt).as_secs_f64();
                            outcome.park(record, reason, Some(error), attempt, Some(delay));
                        }
                    }
                },
            }
        }
        outcome.only_heads_are_due();
        let parking: HashSet<Key> = outcome
            .rows
            .iter()
            .filter(|row| row.ordered)
            .map(|row| key_of(&row.message))
            .collect();
        for (key, working) in keys {
            if working.moved || parking.contains(&key) {
                outcome.keys.push((key, working.state));
            }
        }
        Ok(Judged::Settle(outcome))
    }
}

impl Outcome {
    fn park(
        &mut self,
        record: Decoded,
        reason: &'static str,
        error: Option<&str>,
        attempts: u32,
        due_in: Option<f64>,
    ) {
        self.summary.parked += 1;
        self.keep(record, "parked", reason, error, attempts, due_in, None);
    }

    fn bury(
        &mut self,
        record: Decoded,
        reason: &'static str,
        error: &str,
        attempts: u32,
        ordered: bool,
    ) {
        self.summary.dead += 1;
        self.keep(
            record,
            "dead",
            reason,
            Some(error),
            attempts,
            None,
            Some(ordered),
        );
    }

    #[expect(clippy::too_many_arguments, reason = "private; one per column")]
    fn keep(
        &mut self,
        record: Decoded,
        state: &'static str,
        reason: &'static str,
        error: Option<&str>,
        attempts: u32,
        due_in: Option<f64>,
        ordered: Option<bool>,
    ) {
        self.rows.push(Row {
            ordered: ordered.unwrap_or(!record.message.key.is_empty()),
            offset: record.offset,
            message: record.message,
            state,
            reason,
            error: error.map(error_text),
            attempts,
            due_in,
        });
    }

    /// Of each key only the first kept message may be due; a key whose first one is dead or beyond a gap has none.
    fn only_heads_are_due(&mut self) {
        let mut heads: HashMap<Key, (i64, usize)> = HashMap::new();
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| row.ordered) {
            let place = (row.message.seq.unwrap_or(0), index);
            let head = heads.entry(key_of(&row.message)).or_insert(place);
            *head = place.min(*head);
        }
        for (index, row) in self.rows.iter_mut().enumerate() {
            let is_head = heads
                .get(&key_of(&row.message))
                .is_some_and(|(_, head)| *head == index);
            if row.ordered && !is_head {
                row.due_in = None;
            }
        }
    }
}

fn working<'a>(
    keys: &'a mut BTreeMap<Key, Working>,
    states: &States,
    message: &Message,
) -> &'a mut Working {
    let key = key_of(message);
    let known = states.keys.get(&key).copied().unwrap_or_default();
    keys.entry(key).or_insert(Working {
        state: known,
        moved: false,
    })
}

/// The key that a message belongs to.
pub(crate) fn key_of(message: &Message) -> Key {
    (message.source.clone(), message.key.clone())
}

/// What is kept of an error: as much as an operator reads.
pub(crate) fn error_text(error: &str) -> String {
    shortened(&printable(error), ERROR_BYTES)
}

/// A thousand characters, for the most part.
const ERROR_BYTES: usize = 1_000;

#[cfg(test)]
#[path = "plan_model.rs"]
mod model;
