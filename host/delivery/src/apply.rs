//! One way to apply: messages of one unit of work, fresh from the bus or parked, are opened, given to the component and
//! settled alike.

use marquee_bus::Incoming;
use marquee_database::Unit;

use crate::{
    Consumer, Error, Message, Verdict,
    consume::{Position, Receipt, Settled},
    retry::{Claimed, Run},
};

/// What is delivered in one unit of work.
#[derive(Debug, Clone, Copy)]
pub enum Stretch<'a> {
    /// Of a partition: what [`Position::fresh`] left of a batch, not empty.
    Fresh {
        /// From where it comes.
        position: &'a Position,
        /// The records.
        records: &'a [Incoming],
        /// Which delivery of them it is, from 1.
        attempt: u32,
    },
    /// Of the parked messages: a key's run.
    Parked {
        /// Its first one.
        claimed: &'a Claimed,
        /// How many at the most.
        limit: usize,
    },
}

/// A stretch that was let in.
#[derive(Debug)]
pub enum Opened {
    /// Fresh from the bus.
    Fresh(Receipt),
    /// Parked.
    Parked(Run),
}

impl Stretch<'_> {
    /// Let it in, as the first statement of a unit.
    pub async fn open(self, unit: &mut Unit, consumer: &Consumer) -> Result<Opened, Error> {
        Ok(match self {
            Self::Fresh {
                position,
                records,
                attempt,
            } => Opened::Fresh(Receipt::open(unit, consumer, position, records, attempt).await?),
            Self::Parked { claimed, limit } => Opened::Parked(claimed.open(unit, limit).await?),
        })
    }

    /// The partition that it came from; none for what a command parked.
    pub fn partition(self) -> Option<i32> {
        match self {
            Self::Fresh { position, .. } => Some(position.partition().number),
            Self::Parked { claimed, .. } => claimed.partition(),
        }
    }
}

impl Opened {
    /// What the component is to be given, in order. Where it is empty, settle with no verdicts.
    pub fn messages(&self) -> Vec<Message> {
        match self {
            Self::Fresh(receipt) => receipt.messages(),
            Self::Parked(run) => run.messages(),
        }
    }

    /// Write what came of it, as the unit's last statements: one verdict for each of [`Self::messages`], in order.
    pub async fn settle(self, unit: &mut Unit, verdicts: &[Verdict]) -> Result<Settled, Error> {
        match self {
            Self::Fresh(receipt) => receipt.settle(unit, verdicts).await,
            Self::Parked(run) => run.settle(unit, verdicts).await,
        }
    }
}
