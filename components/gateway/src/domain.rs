//! What the gateway itself must know of movies and ratings: the forms of ids and values, and the event that tells of a
//! rating. Pure: no HTTP, no WIT, no clock.
//!
//! What only the owners of the data can judge (how long a title is, whether the movie is known) is not checked here. A
//! rating goes to the bus, where nobody can refuse it any more, so its bounds are.

use marquee_guest::opaque;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::{Builder, Uuid, fmt::Hyphenated};

/// A movie's id: a UUID in its hyphenated form, in any letter case. Answers have it in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    examples("0192f0c1-2345-7abc-8def-0123456789ab"),
    pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
)]
pub(crate) struct MovieId(pub(crate) String);

impl TryFrom<String> for MovieId {
    type Error = &'static str;

    /// The braced, URN and simple forms are refused, so that an id has one spelling in logs, URLs and keys. Any version
    /// of UUID is an id; whether a movie has it is another question.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        hyphenated(&text).map(|id| Self(id.to_string())).ok_or(
            "must be a UUID in its hyphenated form, as in 0192f0c1-2345-7abc-8def-0123456789ab",
        )
    }
}

/// An event's id: a UUID in its hyphenated form, in any letter case.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    value_type = String,
    examples("0192f0c1-9999-7abc-8def-0123456789ab"),
    pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
)]
pub(crate) struct EventId(pub(crate) Uuid);

impl TryFrom<String> for EventId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let id = hyphenated(&text).map(Self);
        id.ok_or("must be a UUID in its hyphenated form")
    }
}

fn hyphenated(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok();
    id.filter(|_| text.len() == Hyphenated::LENGTH)
}

/// Who rates. Opaque: compared byte for byte, never normalised. At most 128 bytes in UTF-8, without control characters,
/// and without blanks at either end. Rating refuses whatever else comes to it by whatever way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    examples("ana"),
    pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]{0,126}[^\s\u0000-\u001f\u007f-\u009f])?$"
)]
pub(crate) struct UserId(pub(crate) String);

impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        opaque::check(&text).map(|()| Self(text))
    }
}

/// A rating's value: 1 is the lowest, 10 the highest.
pub(crate) fn value(number: f64) -> Result<u8, &'static str> {
    let mut values = 1..=10;
    values
        .find(|value| f64::from(*value) == number)
        .ok_or("must be from 1 to 10")
}

/// What is rated. There is one kind of record today.
pub(crate) const RECORD_TYPE: &str = "movie";

/// Is it that kind?
pub(crate) fn check_record_type(text: &str) -> Result<(), &'static str> {
    let is_it = text == RECORD_TYPE;
    is_it.then_some(()).ok_or("must be \"movie\"")
}

/// The topic that ratings travel on.
pub(crate) const TOPIC: &str = "ratings";

/// What a user did to their rating of a movie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "change", content = "value", rename_all = "lowercase")]
pub(crate) enum Change {
    /// Rated it, 1 to 10; replaces the user's earlier rating.
    Put(u8),
    /// Deleted the rating.
    Delete,
}

/// One act of rating, as it travels on the topic.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RatingEvent {
    /// Names the act for ever; it counts once, whichever way it travels.
    pub(crate) event_id: Uuid,
    pub(crate) record_id: MovieId,
    pub(crate) record_type: &'static str,
    pub(crate) user_id: UserId,
    #[serde(flatten)]
    pub(crate) change: Change,
    /// Microseconds since 1970-01-01T00:00:00Z, by the clock of metadata's database.
    pub(crate) occurred_at_us: u64,
    /// The gateway has asked metadata, so the rating need not wait for the movie's own event.
    pub(crate) record_exists: bool,
}

impl RatingEvent {
    /// Movie and user: what cannot be applied holds up that user's ratings of that movie, and nothing else. Which of two
    /// acts counts is decided by their times, in whatever order they come.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.record_id.0, self.user_id.0)
    }
}

/// What a user does to their rating of a movie.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) movie: MovieId,
    pub(crate) user: UserId,
    pub(crate) change: Change,
}

impl Act {
    /// The id of the event, where the act has an idempotency key: the same for the same act under the same key of the
    /// same caller. A UUID of version 8 whose first ten bytes are of the key, so that whoever has seen another act under
    /// the key can tell, and whose last six are of the act. `number` tells apart the acts of one request.
    pub(crate) fn event_id(&self, caller: &str, key: &str, number: usize) -> Uuid {
        let of_key = digest(&[caller, key, &number.to_string()]);
        let value = match self.change {
            Change::Put(value) => value,
            Change::Delete => 0,
        };
        let of_act = digest(&[&self.movie.0, &self.user.0, &value.to_string()]);
        let mut bytes = [0; 16];
        let (first, last) = bytes.split_at_mut(10);
        first
            .iter_mut()
            .zip(of_key)
            .for_each(|(to, from)| *to = from);
        last.iter_mut()
            .zip(of_act)
            .for_each(|(to, from)| *to = from);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// Of these texts, each with its length, so that none can run into the next.
fn digest(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
