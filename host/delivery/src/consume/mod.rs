//! The way in: a batch of the bus, in the unit of work in which its effects are written.
//!
//! Promise: each message takes effect once, in the order of its key, however often and by whichever host it is
//! delivered. Bound: the batch. Not here: calling the component, the bus's own offsets.
//!
//! [`crate::partition`] says which of these is to be done when:
//!
//! - [`Position::load`], [`Position::set`], [`Position::start`], [`Position::survived`]: how far the consumer is.
//! - [`Receipt::open`], the component with [`Receipt::messages`], [`Receipt::settle`] with its verdicts, all in one unit
//!   of work; then commit and [`Position::advance`]. Where there is nothing to deliver, settle with no verdicts. A
//!   component's SQL goes through the same unit, between the two.
//! - [`keep`]: a message that is not delivered (again): parked, or dead.

pub(crate) mod plan;
mod position;
mod receipt;
mod store;

pub use plan::{Settled, Summary};
pub use position::{Place, Position, Why};
pub use receipt::{CROWDED, Fate, Receipt, keep};

pub(crate) use plan::error_text;
pub(crate) use store::count;

use crate::policy::Consumer;
