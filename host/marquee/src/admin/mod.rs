//! What operators use: health and the admin API, on a socket in the data folder and on a TCP listener.

mod api;
mod desk;
mod documents;
mod events;
pub(crate) mod health;
mod messages;
mod outbox;
mod peer;
mod problem;
pub(crate) mod socket;
mod upload;

pub(crate) use api::{Api, serve};
pub(crate) use desk::Desk;
pub(crate) use documents::{BulkReport, MessageState, MessagesOf, Pin, Promote, UPLOAD_BYTES};
pub(crate) use peer::Token;
