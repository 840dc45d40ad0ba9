//! One act of rating, as it is checked and kept.
//!
//! The JSON form on topic `ratings` is read strictly in the fields that this version knows, and fields that it does
//! not know are passed over: while two versions run, the older one reads what the newer one sends. An event that says
//! what it is in a field `type` is none of these, whatever else it has, and nothing to this version.

use marquee_guest::opaque;
use serde::Deserialize;
use uuid::Uuid;

use super::{Invalid, check_name, news::News};

/// What is rated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    kind: String,
    id: String,
}

/// What a user did to their rating of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Rated it, 1 to 10.
    Put(u8),
    /// Took the rating away.
    Delete,
}

/// One act of rating; every bound holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: Uuid,
    record: Record,
    user: String,
    change: Change,
    occurred_at_us: u64,
    record_exists: bool,
}

impl Record {
    /// A record of any kind, for questions: one of a kind that nobody rates is merely not known.
    pub fn parse(kind: &str, id: &str) -> Result<Self, Invalid> {
        Self::check_kind(kind)?;
        check_name("record_id", id, opaque::MAX_BYTES)?;
        Ok(Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
        })
    }

    /// A kind of record, for questions.
    pub fn check_kind(kind: &str) -> Result<(), Invalid> {
        check_name("record_type", kind, KIND_MAX_BYTES)
    }

    /// What kind of record it is.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its id among its kind.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.kind, self.id)
    }
}

impl Event {
    /// Check every bound but that of the time against the clock, which is the database's to tell.
    pub fn parse(
        event_id: &str,
        record_type: &str,
        record_id: &str,
        user_id: &str,
        change: Change,
        occurred_at_us: u64,
    ) -> Result<Self, Invalid> {
        let id = parse_event_id(event_id)?;
        let record = Record::parse(record_type, record_id)?;
        if record.kind != MOVIE {
            return Err(Invalid::new("record_type", format_args!("must be {MOVIE}")));
        }
        check_user(user_id)?;
        if let Change::Put(value) = change
            && !(1..=10).contains(&value)
        {
            return Err(Invalid::new("value", "must be 1 to 10"));
        }
        if occurred_at_us > OCCURRED_AT_MAX_US {
            return Err(Invalid::new(
                "occurred_at_us",
                "must be before the year 10000",
            ));
        }
        Ok(Self {
            id,
            record,
            user: user_id.to_owned(),
            change,
            occurred_at_us,
            record_exists: false,
        })
    }

    /// Reads the form that travels on topic `ratings`. None: another type of event.
    pub fn from_json(bytes: &[u8]) -> Result<Option<Self>, Invalid> {
        let wire: Wire<'_> = match serde_json::from_slice(bytes) {
            Ok(wire) => wire,
            Err(_) if News::read(bytes).is_ok() => return Ok(None),
            Err(error) => {
                return Err(Invalid::new(
                    "the event",
                    format_args!("cannot be read: {error}"),
                ));
            }
        };
        if wire.kind.is_some() {
            return Ok(None);
        }
        let change = match (wire.change, wire.value) {
            (Verb::Put, Some(value)) => Change::Put(value),
            (Verb::Delete, None) => Change::Delete,
            (Verb::Put, None) => return Err(Invalid::new("value", "must be there for a put")),
            (Verb::Delete, Some(_)) => {
                return Err(Invalid::new("value", "must not be there for a delete"));
            }
        };
        let event = Self::parse(
            &wire.event_id,
            &wire.record_type,
            &wire.record_id,
            &wire.user_id,
            change,
            wire.occurred_at_us,
        )?;
        Ok(Some(Self {
            record_exists: wire.record_exists,
            ..event
        }))
    }

    /// Names the act for ever.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What was rated.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Who rated.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The value that counts from this act on, if any.
    pub fn value(&self) -> Option<u8> {
        match self.change {
            Change::Put(value) => Some(value),
            Change::Delete => None,
        }
    }

    /// When they did it, in microseconds since 1970.
    pub fn occurred_at_us(&self) -> u64 {
        self.occurred_at_us
    }

    /// Whether the sender has asked the record's owner, who has it: it need not wait until the owner's own event comes.
    pub fn record_exists(&self) -> bool {
        self.record_exists
    }

    /// What decides which of two acts of a user on a record is newer: the time, then the id.
    pub fn age(&self) -> (u64, Uuid) {
        (self.occurred_at_us, self.id)
    }
}

/// The id of an event.
pub fn parse_event_id(text: &str) -> Result<Uuid, Invalid> {
    let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    let id = Uuid::try_parse(text).ok().filter(|_| hyphenated);
    id.ok_or_else(|| Invalid::new("event_id", "must be a UUID in its hyphenated form"))
}

/// A user's id as other contexts give it: the rule by which the gateway asks for it too.
pub(super) fn check_user(user_id: &str) -> Result<(), Invalid> {
    opaque::check(user_id).map_err(|rule| Invalid::new("user_id", rule))
}

#[derive(Deserialize)]
struct Wire<'a> {
    event_id: std::borrow::Cow<'a, str>,
    record_id: std::borrow::Cow<'a, str>,
    record_type: std::borrow::Cow<'a, str>,
    user_id: std::borrow::Cow<'a, str>,
    change: Verb,
    value: Option<u8>,
    occurred_at_us: u64,
    #[serde(default)]
    record_exists: bool,
    #[serde(rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Put,
    Delete,
}

/// The one kind of record that can be rated today.
pub(crate) const MOVIE: &str = "movie";
/// Most bytes of a kind of record.
const KIND_MAX_BYTES: usize = 32;
/// The last microsecond of the year 9999.
const OCCURRED_AT_MAX_US: u64 = 253_402_300_799_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"event_id":"0192f0c1-0000-7000-8000-000000000001","record_id":"r","record_type":"movie","user_id":"u","change":"put","value":7,"occurred_at_us":1700000000123456}"#;

    #[test]
    fn an_event_is_read_strictly_in_what_is_known_and_kindly_in_what_is_not() {
        let check = |from: &str, to: &str, good: bool| {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let event = Event::from_json(text.as_bytes());
            assert_eq!(event.is_ok_and(|event| event.is_some()), good, "{text}");
        };
        check("{", "{", true);
        check("{", r#"{"added_later":[1,{}],"#, true);
        check("{", r#"{"value":7,"#, false);
        check(r#""value":7,"#, "", false);
        check(r#""value":7"#, r#""value":0"#, false);
        check(r#""value":7"#, r#""value":1"#, true);
        check(r#""value":7"#, r#""value":10"#, true);
        check(r#""value":7"#, r#""value":11"#, false);
        check(r#""value":7"#, r#""value":256"#, false);
        check(r#""value":7"#, r#""value":-1"#, false);
        check(r#""value":7"#, r#""value":7.5"#, false);
        check(r#""value":7"#, r#""value":"7""#, false);
        check(r#""value":7"#, r#""value":null"#, false);
        check("put", "delete", false);
        check(r#""put","value":7"#, r#""delete""#, true);
        check("put", "patch", false);
        check("movie", "book", false);
        check("movie", "Movie", false);
        check(r#""r""#, r#""""#, false);
        check(r#""r""#, &format!("{:?}", "r".repeat(128)), true);
        check(r#""r""#, &format!("{:?}", "r".repeat(129)), false);
        check(r#""r""#, r#""a\u0000b""#, false);
        check(r#""u""#, r#""""#, false);
        check(r#""u""#, r#""a\u0000b""#, false);
        check(r#""u""#, r#""a\nb""#, false);
        check(r#""u""#, r#""a\u0085b""#, false);
        check(r#""u""#, r#"" u""#, false);
        check(r#""u""#, r#""u\u00a0""#, false);
        check(r#""u""#, r#""a b""#, true);
        check(r#""u""#, &format!("{:?}", "é".repeat(64)), true);
        check(r#""u""#, &format!("{:?}", "é".repeat(65)), false);
        check("0192f0c1-0000-7000-8000-000000000001", "7", false);
        check("1700000000123456", "-1", false);
        check("1700000000123456", "0", true);
        check("1700000000123456", "253402300799999999", true);
        check("1700000000123456", "253402300800000000", false);
        check("1700000000123456", "18446744073709551615", false);
        check("1700000000123456}", "1700000000123456", false);
        check("1700000000123456}", "1700000000123456}{}", false);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bytes in [b"".as_slice(), b"null", b"[]", b"\xff\xfe", b"{}"] {
            assert!(Event::from_json(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn another_type_of_event_is_none_and_no_error() {
        for text in [
            r#"{"type":"rating.flagged","event_id":7}"#.to_owned(),
            r#"{"type":"rating.flagged"}"#.to_owned(),
            GOOD.replacen('{', r#"{"type":"rating.imported","#, 1),
        ] {
            assert_eq!(Event::from_json(text.as_bytes()), Ok(None), "{text}");
        }
        let unclear = GOOD.replacen('{', r#"{"type":7,"#, 1);
        assert!(Event::from_json(unclear.as_bytes()).is_err());
    }

    #[test]
    fn only_a_sender_who_says_so_vouches_for_the_record() {
        let check = |from: &str, to: &str, exists: bool| {
            let text = GOOD.replacen(from, to, 1);
            let event = Event::from_json(text.as_bytes()).unwrap().unwrap();
            assert_eq!(event.record_exists(), exists, "{text}");
        };
        check("{", "{", false);
        check("{", r#"{"record_exists":false,"#, false);
        check("{", r#"{"record_exists":true,"#, true);
        let unclear = GOOD.replacen('{', r#"{"record_exists":"yes","#, 1);
        assert!(Event::from_json(unclear.as_bytes()).is_err());
    }
}
