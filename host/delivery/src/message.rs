//! A message between the bus and a component, and what the bus's record says about its identity and place.
//!
//! Bound: key 256 bytes, value 1 MiB. A record that breaks them, or names no event, is undecodable: kept among the
//! dead, never delivered.

use bytes::Bytes;
use marquee_bus::Incoming;
use uuid::Uuid;

/// A message as a component gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Names the event for ever.
    pub event_id: Uuid,
    /// The outbox that numbered it; empty for a message without number.
    pub source: String,
    /// The dense number of its key.
    pub seq: Option<i64>,
    /// The topic that it was published on.
    pub topic: String,
    /// What orders it; empty: nothing does.
    pub key: String,
    /// The payload.
    pub value: Bytes,
    /// The publisher's headers, `traceparent` included; those that begin with `marquee-` are left out. A value
    /// that is not UTF-8 is its bytes in hexadecimal behind `\x`.
    pub headers: Vec<(String, String)>,
    /// When the bus took it, in milliseconds since 1970.
    pub published_at_ms: i64,
    /// Which delivery this is, from 1; counted before the call.
    pub attempt: u32,
}

/// What a component says about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is in the unit of work.
    Done,
    /// Not yet, and why.
    Retry(String),
    /// Never, and why.
    Reject(String),
}

/// A record, understood or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Where it stood in the partition.
    pub(crate) offset: i64,
    /// As far as it could be understood.
    pub(crate) message: Message,
    /// Why it cannot be delivered, if it cannot.
    pub(crate) undecodable: Option<String>,
    /// Whether it has a place in the order of its key: it has one, and one that can be read.
    pub(crate) ordered: bool,
}

/// Understand a record. `attempt` is the delivery that is about to happen.
pub(crate) fn decode(topic: &str, attempt: u32, record: &Incoming) -> Decoded {
    let mut problem = None;
    let mut event_id = None;
    let mut seq = None;
    let mut source = String::new();
    let mut headers = Vec::new();
    for (name, value) in &record.record.headers {
        match name.to_ascii_lowercase().as_str() {
            EVENT_ID => match std::str::from_utf8(value)
                .ok()
                .and_then(|text| Uuid::try_parse(text).ok())
            {
                Some(id) => event_id = event_id.or(Some(id)),
                None => problem = Some(format!("header {EVENT_ID} is not a UUID")),
            },
            SEQ => match std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .filter(|number| *number > 0)
            {
                Some(number) => seq = seq.or(Some(number)),
                None => problem = Some(format!("header {SEQ} is not a number from 1")),
            },
            SOURCE => match std::str::from_utf8(value) {
                Ok(text) if text.len() <= KEY_BYTES && !text.contains('\0') => {
                    text.clone_into(&mut source);
                }
                _ => problem = Some(format!("header {SOURCE} is not a name")),
            },
            lower if lower.starts_with(RESERVED) => {}
            _ => headers.push((printable(name), header_value(value))),
        }
    }
    let key = &record.record.key;
    let mut ordered = !key.is_empty();
    // Numbers order keys; without a key there is nothing that a number could order.
    if key.is_empty() {
        seq = None;
    }
    if seq.is_none() {
        source.clear();
        if event_id.is_none() && problem.is_none() {
            problem = Some(format!("it has neither {EVENT_ID} nor {SEQ}"));
        }
    } else if source.is_empty() {
        // Whose numbers these are nobody can say, so they say nothing.
        problem = Some(format!("it has {SEQ} and no {SOURCE}"));
        seq = None;
    }
    if record.record.value.len() > VALUE_BYTES {
        problem = Some(format!("its value is larger than {VALUE_BYTES} bytes"));
    }
    if key.len() > KEY_BYTES || key.contains('\0') {
        problem = Some(format!(
            "its key is longer than {KEY_BYTES} bytes or has a NUL"
        ));
        // Such a key has no place in any order.
        ordered = false;
        seq = None;
        source.clear();
    }
    let key = shortened(&printable(key), KEY_BYTES);
    let event_id = event_id.unwrap_or_else(|| match seq {
        Some(seq) => derived_id(&source, topic, &key, seq),
        None => Uuid::now_v7(),
    });
    Decoded {
        offset: record.offset,
        message: Message {
            event_id,
            source,
            seq,
            topic: topic.to_owned(),
            key,
            value: record.record.value.clone(),
            headers,
            published_at_ms: record.published_at_ms,
            attempt,
        },
        undecodable: problem,
        ordered,
    }
}

/// An event that has a number and no id has one that every host derives alike.
fn derived_id(source: &str, topic: &str, key: &str, seq: i64) -> Uuid {
    let name = format!("{source}\0{topic}\0{key}\0{seq}");
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// Whether a header says what an event is and where it stands.
pub(crate) fn is_ours(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with(RESERVED)
}

/// PostgreSQL's text has no NUL.
pub(crate) fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// As text; other bytes as PostgreSQL writes them.
fn header_value(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => printable(text),
        Err(_) => format!(r"\x{}", hex::encode(value)),
    }
}

/// At most so many bytes of it, whole characters.
pub(crate) fn shortened(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Names the event.
pub(crate) const EVENT_ID: &str = "marquee-event-id";
/// The number of its key.
pub(crate) const SEQ: &str = "marquee-seq";
/// The outbox that numbered it.
pub(crate) const SOURCE: &str = "marquee-source";
/// Headers that are the host's begin so.
const RESERVED: &str = "marquee-";
/// As marquee.check_message has it.
const KEY_BYTES: usize = 256;
/// As marquee.check_message has it.
const VALUE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use marquee_bus::Record;
    use marquee_fuzz::{mangled, mangled_text};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn incoming(key: &str, headers: &[(&str, &[u8])]) -> Incoming {
        Incoming {
            offset: 7,
            published_at_ms: 1,
            record: Record {
                key: key.to_owned(),
                value: Bytes::from_static(b"{}"),
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value)))
                    .collect(),
            },
        }
    }

    const ID: &[u8] = b"018f0000-0000-7000-8000-000000000001";

    #[test]
    fn identity_and_place_are_taken_from_the_headers() {
        let decoded = decode(
            "movies",
            1,
            &incoming(
                "a",
                &[
                    (EVENT_ID, ID),
                    (SEQ, b"5"),
                    (SOURCE, b"metadata"),
                    ("traceparent", b"00-1"),
                    ("marquee-other", b"x"),
                    ("signature", b"\xff\x00"),
                ],
            ),
        );
        assert_eq!(decoded.undecodable, None);
        assert_eq!(decoded.message.seq, Some(5));
        assert_eq!(decoded.message.source, "metadata");
        assert_eq!(
            decoded.message.headers,
            [("traceparent", "00-1"), ("signature", r"\xff00")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_names_no_event_or_breaks_a_bound_is_undecodable() {
        let large = {
            let mut record = incoming("a", &[(EVENT_ID, ID), (SEQ, b"1"), (SOURCE, b"s")]);
            record.record.value = vec![0; VALUE_BYTES + 1].into();
            record
        };
        let long = "k".repeat(KEY_BYTES + 1);
        let cases: Vec<(&str, Incoming)> = vec![
            ("no id", incoming("a", &[])),
            ("no id, no key", incoming("", &[(SEQ, b"1")])),
            ("id is no UUID", incoming("a", &[(EVENT_ID, b"x")])),
            (
                "seq, no source",
                incoming("a", &[(EVENT_ID, ID), (SEQ, b"1")]),
            ),
            ("seq 0", incoming("a", &[(EVENT_ID, ID), (SEQ, b"0")])),
            ("seq text", incoming("a", &[(EVENT_ID, ID), (SEQ, b"one")])),
            (
                "source bytes",
                incoming("a", &[(EVENT_ID, ID), (SOURCE, b"\xff")]),
            ),
            ("long key", incoming(&long, &[(EVENT_ID, ID)])),
            ("NUL in key", incoming("a\0b", &[(EVENT_ID, ID)])),
            ("large value", large),
        ];
        for (name, record) in cases {
            let decoded = decode("t", 1, &record);
            assert!(decoded.undecodable.is_some(), "{name}");
            assert!(decoded.message.key.len() <= KEY_BYTES, "{name}");
            assert!(!decoded.message.key.contains('\0'), "{name}");
        }
    }

    #[test]
    fn a_number_without_id_gets_the_same_id_everywhere() {
        let record = incoming("a", &[(SEQ, b"3"), (SOURCE, b"s")]);
        let (first, second) = (decode("t", 1, &record), decode("t", 2, &record));
        assert_eq!(first.undecodable, None);
        assert_eq!(first.message.event_id, second.message.event_id);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_record_can_be_kept_and_means_the_same_on_every_host(
            key in mangled_text(["movie".to_owned(), "a\0b".to_owned(), "\0".repeat(KEY_BYTES)]),
            headers in vec((
                mangled_text([EVENT_ID, SEQ, SOURCE, "Marquee-Seq", "traceparent"]),
                mangled([ID, b"5", b"9223372036854775807", b"metadata", b"\xff\x00"]),
            ), 0..6),
        ) {
            let headers: Vec<(&str, &[u8])> = { headers.iter() }.map(|(name, value)| (&**name, &**value)).collect();
            let record = incoming(&key, &headers);
            let decoded = decode("movies", 1, &record);
            let message = &decoded.message;
            prop_assert!(message.key.len() <= KEY_BYTES && message.source.len() <= KEY_BYTES);
            let texts = message.headers.iter().flat_map(|(name, value)| [name, value]);
            prop_assert!(texts.chain([&message.key, &message.source]).all(|text| !text.contains('\0')));
            prop_assert!(message.headers.iter().all(|(name, _)| !is_ours(name)));
            prop_assert_eq!(message.seq.is_some(), !message.source.is_empty());
            prop_assert!(message.seq.is_none_or(|seq| seq > 0 && decoded.ordered));
            prop_assert!(!decoded.ordered || !message.key.is_empty());
            let again = decode("movies", 1, &record);
            if decoded.undecodable.is_none() {
                prop_assert_eq!(again, decoded);
            }
        }
    }
}
