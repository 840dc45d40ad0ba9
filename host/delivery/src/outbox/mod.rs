//! The way out: committed rows of `marquee.outbox`, to the bus.
//!
//! Promise: at least once, and in the order of the key: a row is published only after all earlier rows of its key were
//! acknowledged, and deleted only after it was acknowledged itself. What the bus refuses is set aside ([`rows`] is what a
//! person does about it). Bound: 500 rows or 4 MiB in memory. Not here: who wrote the row, which is `marquee.publish`.

mod aside;
mod lease;
mod relay;
pub mod rows;
mod run;
mod store;
pub(crate) mod totals;
mod trace;

pub use lease::TTL;
pub use relay::{Poke, Relay};
pub use totals::Totals;
