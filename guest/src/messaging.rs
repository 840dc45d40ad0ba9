//! Messages in and out: what came is read, judged and answered in order; what goes out has an id of its own.
//!
//! A component that consumes exports `marquee:messaging/consumer`; the types of that interface are the ones here when its
//! bindings are made [with them](crate::component). A batch has the messages of one topic and one partition; the call is
//! one transaction of the component's database, and each message has a verdict:
//!
//! ```
//! use marquee_guest::messaging::{Batch, Message, Verdict};
//!
//! # async fn know(_: impl Iterator<Item = &u64>) -> Result<Vec<u64>, String> { Ok(vec![]) }
//! async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
//!     // What cannot be read is rejected, with the reason.
//!     let batch = Batch::read(&messages, |message| message.json::<u64>());
//!     // One statement for the whole batch. An error rolls everything back; the host tries again.
//!     let known = know(batch.iter()).await?;
//!     Ok(batch.verdicts(|number| match known.contains(number) {
//!         true => Verdict::Done,
//!         false => Verdict::Retry(format!("{number} is not known yet")),
//!     }))
//! }
//! ```
//!
//! A component with a database publishes in SQL, see [`sql`](crate::sql). One without imports
//! `marquee:messaging/producer` and gives its `publish` what [`Outgoing::new`] makes.

use serde::{Serialize, de::DeserializeOwned};

pub use bindings::marquee::messaging::types::{Message, Outgoing, PublishError, Verdict};

mod bindings {
    #![allow(
        missing_docs,
        reason = "wit-bindgen writes it; what is public of it has the interface's words"
    )]
    wit_bindgen::generate!({
        inline: "
            package marquee:guest-messaging;

            world guest {
                import marquee:messaging/types@0.1.0;
            }
        ",
        path: "../wit/marquee-messaging",
        generate_all,
        generate_unused_types: true,
    });
}

/// The messages of one call, each read or refused. The order is the messages' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(Vec<Result<T, String>>);

impl<T> Batch<T> {
    /// Read each message. One that cannot be read is rejected; the error's text is the reason that operators see.
    pub fn read<E: std::fmt::Display>(
        messages: &[Message],
        read: impl Fn(&Message) -> Result<T, E>,
    ) -> Self {
        let read = |message| read(message).map_err(|error| error.to_string());
        Self(messages.iter().map(read).collect())
    }

    /// What could be read.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// One verdict a message: the judge's where it could be read, reject where not.
    pub fn verdicts(self, mut judge: impl FnMut(&T) -> Verdict) -> Vec<Verdict> {
        let verdict = |read: Result<T, String>| match read {
            Ok(one) => judge(&one),
            Err(reason) => Verdict::Reject(reason),
        };
        self.0.into_iter().map(verdict).collect()
    }
}

impl Message {
    /// The payload, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.value)
    }
}

impl Outgoing {
    /// A message with a new id (a UUIDv7) and no headers. An empty key means no order. Whoever publishes again what may
    /// have been published sends the same message, with the same id: consumers drop an id that they have seen.
    pub fn new(topic: impl Into<String>, key: impl Into<String>, value: Vec<u8>) -> Self {
        Self {
            event_id: uuid::Uuid::now_v7().to_string(),
            topic: topic.into(),
            key: key.into(),
            value,
            headers: Vec::new(),
        }
    }

    /// The same with a value that is written as JSON. Fails as the value's own `Serialize` does.
    pub fn json(
        topic: impl Into<String>,
        key: impl Into<String>,
        value: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::new(topic, key, serde_json::to_vec(value)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: &str) -> Message {
        Message {
            event_id: String::new(),
            topic: "numbers".to_owned(),
            key: String::new(),
            value: value.as_bytes().to_vec(),
            headers: Vec::new(),
            published_at_ms: 0,
            attempt: 1,
        }
    }

    #[test]
    fn verdicts_stand_in_the_order_of_the_messages_and_what_cannot_be_read_is_rejected() {
        let messages = ["1", "bad", "2"].map(message);
        let batch = Batch::read(&messages, |message| message.json::<u8>());
        assert_eq!(batch.iter().copied().collect::<Vec<_>>(), [1, 2]);
        let found = batch.verdicts(|number| match number {
            2 => Verdict::Retry("later".to_owned()),
            _ => Verdict::Done,
        });
        assert!(
            matches!(
                found.as_slice(),
                [Verdict::Done, Verdict::Reject(bad), Verdict::Retry(later)]
                    if bad.starts_with("expected value") && later == "later"
            ),
            "{found:?}"
        );
    }

    #[test]
    fn each_message_that_goes_out_has_an_id_of_its_own() {
        let made = [(); 2].map(|()| Outgoing::json("numbers", "k", &[1, 2]).unwrap());
        let [first, second] = &made;
        assert_eq!(first.value, b"[1,2]");
        assert_ne!(first.event_id, second.event_id);
        let id = uuid::Uuid::parse_str(&first.event_id).unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(first.event_id, id.to_string());
    }
}
