//! What consumers get, and what they make of it.

use bytes::Bytes;

/// A message as a consumer gets it. See `wit/marquee-messaging/types.wit`.
#[derive(Debug, Clone)]
pub struct Message {
    /// Names the event for ever.
    pub event_id: String,
    /// Where it was published.
    pub topic: String,
    /// What orders it.
    pub key: String,
    /// The payload.
    pub value: Bytes,
    /// In the order of publication.
    pub headers: Vec<(String, String)>,
    /// In milliseconds since 1970.
    pub published_at_ms: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is in the unit of work.
    Done,
    /// Not yet; the reason.
    Retry(String),
    /// Never; the reason.
    Reject(String),
}
