//! What a host does with a partition that it holds: a state machine without I/O and without a clock.
//!
//! Promise: each message is dealt with once and in the order of its key, whatever fails and whenever; a batch that fails
//! as a whole ends at the message that is to blame; nothing is tried without end and without a pause. It asks for one
//! [`Action`] at a time and is told by [`Actor::on`] what came of it, so a partition waits for nobody but itself. Bound:
//! the batch that it works on. Not here: what a verdict does ([`crate::consume`]), the calls themselves (triggers).
//!
//! # The order of things
//!
//! Assigned: the position is loaded and compared with the log, then the bus is told where to read. A batch: in one
//! delivery; where that fails as a whole it is halved until the guilty message stands alone, and that one is parked.
//! When five messages in a row failed alone, the component is to blame and not they: the [`Breaker`] opens, and one
//! message at a time is tried, with growing pauses, until one succeeds. A host that dies in a delivery is noticed by
//! the next one, which counts the beginnings of the first batch of a holding: after two without an end it hands over
//! one message at a time, and one that no host survived is dead.

mod breaker;
mod log;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod simulation;

use std::{collections::VecDeque, ops::Range, sync::Arc};

use marquee_bus::{Incoming, Log};
use marquee_database::chain;
use serde::Serialize;

pub use self::breaker::Breaker;
use crate::{
    Consumer, Error,
    consume::{Fate, Place, Position, Summary, Why},
};

/// What is to be done next, and told to [`Actor::on`] with the [`Event`] of the same name.
#[derive(Debug, Clone)]
pub enum Action {
    /// Read the position; where `log` is set, also what the bus has of the partition.
    Load {
        /// Ask the bus too.
        log: bool,
    },
    /// Write another position: [`Position::set`].
    Set {
        /// As it was.
        from: Position,
        /// The new one.
        to: Place,
    },
    /// Count the beginning of a delivery: [`Position::start`].
    Start(Position),
    /// Say that this host has survived: [`Position::survived`].
    Survived(Position),
    /// Deliver these, all in one unit of work.
    Deliver {
        /// From where they come.
        position: Position,
        /// At least one.
        records: Slice,
        /// Which delivery of them it is.
        attempt: u32,
    },
    /// Keep one without delivering it: [`crate::consume::keep`].
    Keep {
        /// From where it comes.
        position: Position,
        /// The message.
        record: Incoming,
        /// Which delivery of it failed.
        attempt: u32,
        /// As what.
        fate: Fate,
    },
    /// Tell the bus to read from here. Batches of before are to be dropped.
    Seek(i64),
    /// Ask the bus for the batch that follows.
    More,
    /// Tell the bus that everything before this is dealt with.
    Commit(i64),
    /// Wait; the more often in a row, the longer. To be cut short when the partition has to be given back.
    Rest {
        /// Pauses in a row before this one.
        tries: u32,
    },
    /// Nothing, until a batch comes, the bus is to be told, the position was moved, or the partition has to be given back.
    Await,
    /// Nothing ever again: the partition may go to another host.
    GiveBack,
}

/// What came of an action, or came by itself.
#[derive(Debug)]
pub enum Event {
    /// The position, and the log if it was asked for.
    Loaded(Result<(Position, Option<Log>), Error>),
    /// The new position.
    Set(Result<Position, Error>),
    /// The position with the start counted.
    Started(Result<Position, Error>),
    /// The position with its starts taken back.
    Survived(Result<Position, Error>),
    /// What came of a delivery.
    Delivered(Delivered),
    /// What came of keeping a message.
    Kept(Result<Summary, Error>),
    /// The bus reads from there.
    Sought(Result<(), marquee_bus::Error>),
    /// The bus was asked.
    Asked,
    /// It is time that the bus learns of what was dealt with, while nothing is under way. Once a second or so.
    Tell,
    /// The bus knows.
    Committed(Result<(), marquee_bus::Error>),
    /// The pause is over, or was cut short.
    Rested,
    /// Records, read after the last seek.
    Batch(Vec<Incoming>),
    /// A person may have paused the consumer or set it back, while nothing is under way.
    Moved,
    /// The partition has to be given back, while nothing is under way. At other times [`Actor::leave`].
    Leave,
}

/// What came of a delivery. Unless it says otherwise, it was rolled back.
#[derive(Debug)]
pub enum Delivered {
    /// Committed.
    Settled(Summary),
    /// So many first, the others after them.
    Split(usize),
    /// Another transaction was in the way.
    Conflict,
    /// The component failed as a whole.
    Failed {
        /// Of what.
        error: String,
        /// How many messages it was given.
        messages: usize,
    },
    /// No fault of the component. A commit may be unknown.
    Error(Error),
}

/// A stretch of a batch.
#[derive(Debug, Clone)]
pub struct Slice {
    records: Arc<[Incoming]>,
    range: Range<usize>,
}

impl Slice {
    fn new(records: Vec<Incoming>) -> Self {
        Self {
            range: 0..records.len(),
            records: records.into(),
        }
    }

    /// The records.
    pub fn records(&self) -> &[Incoming] {
        self.records.get(self.range.clone()).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    /// Without what is dealt with.
    fn fresh(mut self, position: &Position) -> Self {
        self.range.start = self.range.end - position.fresh(self.records()).len();
        self
    }

    fn split(self, first: usize) -> [Self; 2] {
        let middle = self.range.start.saturating_add(first).min(self.range.end);
        let part = |range| Self {
            records: Arc::clone(&self.records),
            range,
        };
        [part(self.range.start..middle), part(middle..self.range.end)]
    }
}

/// What is done with a partition, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Batches are delivered as they come.
    Working,
    /// Messages go one by one: hosts died of one of these.
    OneByOne,
    /// The circuit breaker is open: the component fails at everything, and is tried with one message at a time.
    BreakerOpen,
    /// A person has paused it.
    Paused,
    /// The database or the bus does not do what is asked; it is tried again.
    Waiting,
    /// The bus gives nothing of it where it stands, again and again: a person has to see to it. It is tried on.
    Unreadable,
}

/// A held partition.
#[derive(Debug)]
pub struct Actor {
    consumer: Consumer,
    position: Position,
    /// What is left of the batch, in order.
    work: VecDeque<Slice>,
    /// Whether a batch was begun under this holding: its start is counted then.
    begun: bool,
    /// Messages go one by one: hosts died here.
    alone: bool,
    /// The start of the delivery at the position is counted.
    counted: bool,
    /// Everything before this is dealt with, and the bus does not know. No batch waits for it: the position is what counts.
    untold: Option<i64>,
    leaving: bool,
    conflicts: u32,
    /// Pauses in a row.
    tries: u32,
    breaker: Breaker,
    crowded: bool,
    /// What is about to be kept of the first message is as little as can be: the server refused the rest.
    stripping: bool,
    next: Next,
    /// Between the position and what was read there is something else: the log says whether retention took it.
    gap: bool,
}

/// Where the next batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The bus is not told from where.
    Unknown,
    /// It follows the one that was brought.
    Follows,
    /// The bus was asked for it.
    Asked,
}

impl Actor {
    /// A partition that was just assigned, and what to do first.
    pub fn new(consumer: Consumer, position: Position) -> (Self, Action) {
        let actor = Self {
            consumer,
            position,
            work: VecDeque::new(),
            begun: false,
            alone: false,
            counted: false,
            untold: None,
            leaving: false,
            conflicts: 0,
            tries: 0,
            breaker: Breaker::default(),
            crowded: false,
            stripping: false,
            next: Next::Unknown,
            gap: false,
        };
        let first = Action::Load { log: true };
        (actor, first)
    }

    /// The partition has to be given back: what is under way is finished, and nothing begun.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        if self.position.is_paused {
            State::Paused
        } else if self.breaker.is_open() {
            State::BreakerOpen
        } else if self.tries > 0 {
            State::Waiting
        } else if self.alone {
            State::OneByOne
        } else {
            State::Working
        }
    }

    /// What came of the last action, or came by itself after [`Action::Await`]: what to do next.
    pub fn on(&mut self, event: Event) -> Action {
        match event {
            Event::Loaded(Ok((position, log))) => self.loaded(position, log),
            Event::Set(Ok(position)) => {
                self.position = position;
                self.counted = false;
                // What it believed would keep what is behind the position, or let go what is not.
                self.untold = Some(self.position.next());
                self.go_on()
            }
            Event::Started(Ok(position)) => {
                self.position = position;
                self.counted = true;
                self.deliver()
            }
            Event::Survived(_) => {
                self.counted = false;
                self.go_on()
            }
            Event::Delivered(delivered) => self.delivered(delivered),
            Event::Kept(Ok(summary)) => {
                self.settled(&summary);
                self.breaker.failed();
                self.go_on()
            }
            Event::Kept(Err(error)) => self.not_kept(&error),
            Event::Loaded(Err(error)) | Event::Set(Err(error)) | Event::Started(Err(error)) => {
                self.failed(&error)
            }
            Event::Sought(Ok(())) | Event::Asked => {
                self.next = Next::Asked;
                self.go_on()
            }
            Event::Sought(Err(error)) => self.not_sought(&error),
            Event::Tell => match self.untold {
                Some(offset) => Action::Commit(offset),
                None => self.go_on(),
            },
            Event::Committed(Ok(())) => {
                self.untold = None;
                self.go_on()
            }
            Event::Committed(Err(error)) => self.not_told(&error),
            Event::Rested if self.leaving => self.go_on(),
            Event::Rested if self.breaker.is_resting() => {
                self.breaker.rested();
                self.go_on()
            }
            Event::Rested => Action::Load {
                log: self.work.is_empty() || self.gap,
            },
            Event::Batch(records) => self.batch(records),
            Event::Moved => {
                self.forget();
                Action::Load { log: true }
            }
            Event::Leave => {
                self.leave();
                self.go_on()
            }
        }
    }

    /// The next thing, where nothing is under way.
    fn go_on(&mut self) -> Action {
        if self.leaving {
            self.work.clear();
        }
        while let Some(slice) = self.work.pop_front() {
            // After an unknown commit some of it may be dealt with.
            let slice = slice.fresh(&self.position);
            if slice.len() > 0 {
                self.work.push_front(slice);
                return self.begin();
            }
        }
        if self.counted {
            // Nothing moved since: the host is alive, and that was no death.
            return Action::Survived(self.position.clone());
        }
        if self.leaving {
            return self.untold.map_or(Action::GiveBack, Action::Commit);
        }
        self.alone = false;
        match self.next {
            Next::Unknown => Action::Seek(self.position.next()),
            Next::Follows => Action::More,
            Next::Asked => Action::Await,
        }
    }

    /// Work on the first slice.
    fn begin(&mut self) -> Action {
        if let Some(tries) = self.breaker.pause() {
            return Action::Rest { tries };
        }
        let count = (!self.begun || self.alone) && !self.counted;
        if count {
            let first = self.work.front().and_then(|slice| slice.records().first());
            let offset = first.map_or(0, |record| record.offset);
            if self.position.starts() > 0 && offset > self.position.next() {
                // Hosts died of what was here; it is gone. The message behind it is not to blame.
                return Action::Set {
                    from: self.position.clone(),
                    to: Place {
                        next: offset,
                        log: self.position.log.clone(),
                        why: Why::Empty,
                    },
                };
            }
            self.begun = true;
            return Action::Start(self.position.clone());
        }
        self.deliver()
    }

    fn deliver(&mut self) -> Action {
        let deaths = self.deaths();
        self.alone |= deaths >= DEATHS_UNTIL_ALONE;
        if self.alone || self.breaker.is_open() {
            self.divide(1);
        }
        let Some(records) = self.work.front().cloned() else {
            return self.go_on();
        };
        if deaths >= self.consumer.policy.attempts.max(DEATHS_UNTIL_ALONE + 1) {
            let error = "no host survived its delivery".to_owned();
            return self.keep(Fate::Dead(error));
        }
        Action::Deliver {
            position: self.position.clone(),
            records,
            attempt: self.attempt(),
        }
    }

    /// Hosts that died in the delivery that is about to happen, as far as it is known.
    fn deaths(&self) -> u32 {
        let starts = if self.counted {
            self.position.starts()
        } else {
            0
        };
        starts.saturating_sub(1)
    }

    /// Which delivery of the first message it is. Of those in a batch nobody knows to whom they came.
    fn attempt(&self) -> u32 {
        let alone = self.deaths().saturating_sub(DEATHS_UNTIL_ALONE);
        alone.saturating_add(1)
    }

    fn delivered(&mut self, delivered: Delivered) -> Action {
        match delivered {
            Delivered::Settled(summary) => {
                self.settled(&summary);
                if summary.done > 0 {
                    self.breaker.worked();
                }
            }
            Delivered::Split(first) => self.divide(first),
            Delivered::Conflict => {
                self.conflicts += 1;
                if self.conflicts >= CONFLICTS {
                    self.conflicts = 0;
                    return self.blame("other transactions were in the way each time".to_owned());
                }
                if self.conflicts >= CONFLICTS_AT_ONCE {
                    return self.rest();
                }
            }
            Delivered::Failed { error, .. } => return self.blame(error),
            Delivered::Error(error) if error.is_refusal() => return self.blame(chain(&error)),
            Delivered::Error(error) => return self.failed(&error),
        }
        self.go_on()
    }

    /// A delivery failed, and would again: halve it, or keep the message that stands alone.
    fn blame(&mut self, error: String) -> Action {
        let amount = self.work.front().map_or(0, Slice::len);
        if amount > 1 {
            tracing::info!(
                messages = amount,
                error,
                "a batch failed as a whole and is halved"
            );
            self.divide(amount / 2);
            return self.go_on();
        }
        let position = self.position.next();
        tracing::warn!(position, error, "a message failed and is parked");
        self.keep(Fate::Failed(error))
    }

    /// Keep the first message without delivering it.
    fn keep(&mut self, fate: Fate) -> Action {
        self.stripping = matches!(fate, Fate::Stripped(_));
        let first = self.work.front().and_then(|slice| slice.records().first());
        match first.cloned() {
            Some(record) => Action::Keep {
                position: self.position.clone(),
                record,
                attempt: self.attempt(),
                fate,
            },
            None => self.go_on(),
        }
    }

    fn not_kept(&mut self, error: &Error) -> Action {
        if !error.is_refusal() || self.stripping {
            return self.failed(error);
        }
        // What the server will not take it will not take a second time either: keep what it can.
        tracing::error!(error = chain(error), "a message cannot be kept as it is");
        self.keep(Fate::Stripped(chain(error)))
    }

    /// It is written up to here.
    fn settled(&mut self, summary: &Summary) {
        self.position.advance(summary);
        self.conflicts = 0;
        self.tries = 0;
        self.counted = false;
        self.untold = Some(self.position.next());
        if summary.crowded && !self.crowded {
            tracing::error!(
                consumer = self.consumer.name,
                "consumer {} holds more than {} parked and dead messages; see `marquee messages list`",
                self.consumer.name,
                crate::consume::CROWDED
            );
        }
        self.crowded = summary.crowded;
    }

    /// An error that is no fault of a message.
    fn failed(&mut self, error: &Error) -> Action {
        if matches!(error, Error::Fenced { .. }) {
            tracing::info!(%error, "the partition went on elsewhere");
            self.forget();
            return Action::Load { log: true };
        }
        tracing::warn!(error = chain(error), "a partition waits");
        if self.leaving {
            return self.go_on();
        }
        self.rest()
    }

    fn not_sought(&mut self, error: &marquee_bus::Error) -> Action {
        if matches!(error, marquee_bus::Error::Fenced(_)) {
            return Action::GiveBack;
        }
        tracing::warn!(%error, "the bus does not answer; trying again");
        self.next = Next::Unknown;
        if self.leaving {
            self.go_on()
        } else {
            self.rest()
        }
    }

    fn not_told(&mut self, error: &marquee_bus::Error) -> Action {
        if matches!(error, marquee_bus::Error::Fenced(_)) {
            return Action::GiveBack;
        }
        tracing::warn!(%error, "the bus does not take how far a partition is; it is told again");
        if self.leaving {
            // Whoever holds it next reads the position.
            self.untold = None;
        }
        self.go_on()
    }

    fn rest(&mut self) -> Action {
        let tries = self.tries;
        self.tries = tries.saturating_add(1);
        Action::Rest { tries }
    }

    /// What was read is of no use any more.
    fn forget(&mut self) {
        self.work.clear();
        self.counted = false;
        self.next = Next::Unknown;
        self.gap = false;
    }

    fn batch(&mut self, records: Vec<Incoming>) -> Action {
        self.next = Next::Follows;
        let slice = Slice::new(records).fresh(&self.position);
        if slice.len() == 0 {
            // Not what was asked for: the log may have been made again under the position.
            return self.rest();
        }
        self.tries = 0;
        let first = slice.records().first().map(|record| record.offset);
        self.work.push_back(slice);
        if first > Some(self.position.next()) {
            self.gap = true;
            return Action::Load { log: true };
        }
        self.go_on()
    }

    /// Put the first slice back in two.
    fn divide(&mut self, first: usize) {
        if let Some(slice) = self.work.pop_front() {
            let [first, rest] = slice.split(first);
            self.work.push_front(rest);
            self.work.push_front(first);
        }
    }

    fn loaded(&mut self, position: Position, log: Option<Log>) -> Action {
        let before = std::mem::replace(&mut self.position, position);
        if self.leaving {
            self.forget();
            return Action::GiveBack;
        }
        if self.position.is_paused {
            if !before.is_paused {
                tracing::info!("the subscription is paused");
            }
            self.forget();
            return Action::Rest { tries: PAUSED };
        }
        // Where it was set meanwhile, what was read is of another place.
        let was_set =
            self.position.incarnation != before.incarnation || self.position.next < before.next;
        let Some(log) = log else {
            // Between two tries.
            if was_set {
                self.forget();
                return Action::Load { log: true };
            }
            self.counted &= self.position.starts > 0;
            return self.go_on();
        };
        let to = log::judge(&log, &self.position, self.consumer.from);
        if was_set || to.is_some() || !self.gap {
            self.forget();
        }
        self.gap = false;
        match to {
            None => self.go_on(),
            Some(to) => {
                // What was dealt with may be of another log.
                self.untold = None;
                Action::Set {
                    from: self.position.clone(),
                    to,
                }
            }
        }
    }
}

/// How a person's pause is waited for: up to 0.8 s between two looks.
const PAUSED: u32 = 3;
/// One death may be anything. Two at the same place are likely a message's doing.
pub(crate) const DEATHS_UNTIL_ALONE: u32 = 2;
/// Conflicts in a row that are answered at once; after them there are pauses.
const CONFLICTS_AT_ONCE: u32 = 3;
/// After so many a delivery is halved, or its message parked: under SERIALIZABLE a large one may never get through.
const CONFLICTS: u32 = 8;
