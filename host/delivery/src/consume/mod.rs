//! The way in: a batch of the bus, in the unit of work in which its effects are written.
//!
//! Promise: each message takes effect once, in the order of its key, however often and by whichever host it is
//! delivered. Bound: the batch. Not here: calling the component, the bus's own offsets.
//!
//! # How a caller goes through a batch
//!
//! 1. *Assigned*: [`Position::load`]; where [`Position::seek_to`] names an offset, seek to it. Keep the position for as
//!    long as the assignment holds.
//! 2. *A batch*: take [`Position::fresh`] of it; where nothing is left, commit the offset to the bus and go on. For the
//!    first batch after the assignment call [`Position::start`] before, and look at [`Position::mode`]: in
//!    [`Mode::Single`] hand the records over one by one (with `start` before each), in [`Mode::Bury`] give the first one
//!    to [`bury`] and go on with the next.
//! 3. *In a unit of work*: [`Receipt::open`], the component with [`Receipt::messages`], [`Receipt::settle`] with its
//!    verdicts, commit; then [`Position::advance`], and commit [`Summary::next`] to the bus. Where there is nothing to
//!    deliver, settle with no verdicts. A component's SQL goes through the same unit, between the two.
//! 4. *What can happen*:
//!    - [`Settled::Split`]: roll back; the records before the split as a batch of their own, then those after it.
//!    - the component failed as a whole (an error, a trap, a passed deadline, too few verdicts): roll back; halve the
//!      batch, and go on with the halves in order. One record alone: [`park_failed`]. Where the unit itself says that
//!      it failed by a conflict or an unreachable database, one of the next two holds instead.
//!    - [`Error::is_conflict`](crate::Error::is_conflict): roll back and do the same batch again, at once, a bounded
//!      number of times; then as a failure.
//!    - [`Error::is_passing`](crate::Error::is_passing): roll back, wait (with growing, jittered pauses), do the same
//!      batch again. After a commit whose outcome is unknown load the position first: `fresh` then tells what is left.
//!    - [`Error::Fenced`](crate::Error::Fenced): roll back and drop what was read; load the position anew if the
//!      partition is still held, and seek to it.
//!    - [`Error::TooManyParked`](crate::Error::TooManyParked) or
//!      [`Error::ConsumerFull`](crate::Error::ConsumerFull): roll back, pause the partition, alarm; try again later.
//!
//!    Whenever the host is done with a try that did not advance the position, [`Position::survived`] says so; the count
//!    of starts is then one of deaths only.

mod plan;
mod position;
mod receipt;
mod store;

pub use plan::{PARKED_PER_KEY, Summary};
pub use position::{Mode, Position};
pub use receipt::{PARKED_PER_CONSUMER, Receipt, Settled, bury, park_failed};

pub(crate) use plan::error_text;
pub(crate) use store::count;

use crate::policy::Consumer;
