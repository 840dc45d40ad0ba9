//! What operators use: health on a TCP listener, and the admin API on a socket in the data folder.

mod api;
mod documents;
pub(crate) mod health;
mod messages;
mod problem;
pub(crate) mod socket;

pub(crate) use api::Api;
pub(crate) use documents::{MessageState, Pin, Promote, UPLOAD_BYTES};
pub(crate) use problem::Problem;
