//! What operators use: health, metrics, the admin API and the console, on a socket in the data folder and on a TCP listener,
//! and the API's client.
//!
//! Promise: every change is in the history and the log with who asked for it; nobody else learns or changes anything, health
//! apart. Data flows from requests to `marquee-releases` and `marquee-delivery`; nothing of what they do is here. Not here:
//! the command line, which settings there are.

mod api;
pub mod client;
mod components;
mod console;
mod consumers;
mod desk;
mod documents;
pub mod events;
mod extract;
pub mod health;
mod life;
mod messages;
pub mod metrics;
mod outbox;
mod peer;
mod problem;
mod routes;
pub mod socket;
mod state;
mod traces;
mod upload;
pub mod wit;

pub use api::Api;
pub use console::{Console, samples::Samples};
pub use desk::Desk;
pub use documents::{
    BulkReport, LeftMessage, MessageState, MessagesOf, Migrate, Migrated, OneOf, Pin, Promote,
    Together, Traces, TracesOf, UPLOAD_BYTES,
};
pub use events::Events;
pub use life::{Life, Phase};
pub use metrics::Metrics;
pub use peer::Token;
pub use routes::serve;
