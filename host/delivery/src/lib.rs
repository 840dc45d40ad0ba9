//! Delivery: what stands between a committed row and its effect in another service's database.
//!
//! Promise: an event that was acknowledged is never lost and never counted twice, whatever dies. The way out is
//! [`outbox`] (rows to the bus, in order within a key); the way in is [`partition`] (what is done next with a partition),
//! [`consume`] (a batch, its fence and its de-duplication in one transaction) and [`retry`] (what could not be applied
//! yet); [`messages`], [`consumers`] and [`identity`] are what a person does about the rest; [`audit`] says whether it all adds up; [`job`]
//! is work that the clock starts; [`touches`] is what hosts that keep answers look for. All of it is SQL in the schema `marquee` of the service's own database.
//!
//! It knows no WebAssembly, no Kafka, no HTTP and no component: a caller delivers the messages.

pub mod apply;
pub mod audit;
pub mod consume;
pub mod consumers;
mod error;
pub mod identity;
pub mod job;
mod keys;
pub mod lag;
mod message;
pub mod messages;
pub mod outbox;
pub mod partition;
mod policy;
pub mod retry;
pub mod telemetry;
pub mod touches;

pub use error::Error;
pub use message::{Message, Verdict};
pub use policy::{ATTEMPTS, Begin, Consumer, INTERVAL, Policy};

use marquee_database::{Migrations, migrate::MigrateError};

/// The schema `marquee`, to be applied to each database with messaging before a component's own migrations.
pub fn migrations() -> Result<Migrations, MigrateError> {
    Migrations::built_in(
        "delivery",
        &[
            ("0001_outbox.sql", include_str!("../schema/0001_outbox.sql")),
            ("0002_inbox.sql", include_str!("../schema/0002_inbox.sql")),
            ("0003_jobs.sql", include_str!("../schema/0003_jobs.sql")),
            (
                "0004_event_state.sql",
                include_str!("../schema/0004_event_state.sql"),
            ),
            ("0005_source.sql", include_str!("../schema/0005_source.sql")),
            (
                "0006_incarnations.sql",
                include_str!("../schema/0006_incarnations.sql"),
            ),
            (
                "0007_outbox_totals.sql",
                include_str!("../schema/0007_outbox_totals.sql"),
            ),
            (
                "0008_touches.sql",
                include_str!("../schema/0008_touches.sql"),
            ),
        ],
    )
}
