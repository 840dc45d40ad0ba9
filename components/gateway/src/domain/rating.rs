//! Ratings: what a user may do to one, and the event that tells of it.

use serde::Serialize;

use super::{Invalid, id::MovieId};

/// The only kind of record that can be rated.
pub const RECORD_TYPE_MOVIE: &str = "movie";
/// The lowest rating.
pub const VALUE_MIN: u8 = 1;
/// The highest rating.
pub const VALUE_MAX: u8 = 10;
/// Most bytes of a user's id.
pub const USER_ID_MAX_BYTES: usize = 128;
/// The topic that ratings travel on.
pub const TOPIC: &str = "ratings";

/// Who rates. Opaque: compared byte for byte, never normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId(String);

impl UserId {
    /// 1 to 128 bytes without control characters and without blanks at either end, so that no two ids look the
    /// same in a log for a blank's sake.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let well_formed = (1..=USER_ID_MAX_BYTES).contains(&text.len())
            && text.trim().len() == text.len()
            && !text.chars().any(char::is_control);
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::out_of_bounds(
                field,
                format!(
                    "must have 1 to {USER_ID_MAX_BYTES} bytes, no control characters and no blanks at either end"
                ),
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A rating's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(u8);

impl Value {
    /// 1 to 10 inclusive.
    pub fn new(number: i128) -> Result<Self, Invalid> {
        u8::try_from(number)
            .ok()
            .filter(|value| (VALUE_MIN..=VALUE_MAX).contains(value))
            .map(Self)
            .ok_or_else(|| {
                Invalid::out_of_bounds("value", format!("must be from {VALUE_MIN} to {VALUE_MAX}"))
            })
    }

    /// The value as a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Checks that a record is of the one kind that can be rated.
pub fn check_record_type(text: &str) -> Result<(), Invalid> {
    if text == RECORD_TYPE_MOVIE {
        Ok(())
    } else {
        Err(Invalid::out_of_bounds(
            "record_type",
            format!("must be \"{RECORD_TYPE_MOVIE}\""),
        ))
    }
}

/// What a user did to their rating of a movie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Rated it; replaces the user's earlier rating.
    Put(Value),
    /// Took the rating away.
    Delete,
}

/// One act of rating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingEvent {
    /// Names the act for ever; it counts once, whichever way it travels.
    pub event_id: String,
    /// The rated movie.
    pub movie: MovieId,
    /// Who rated.
    pub user: UserId,
    /// What they did.
    pub change: Change,
    /// When, in microseconds since 1970-01-01T00:00:00Z.
    pub occurred_at_us: u64,
}

impl RatingEvent {
    /// Orders the event: all acts on one movie keep their order.
    pub fn key(&self) -> &str {
        self.movie.as_str()
    }

    /// The event as it travels on topic `ratings`.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (change, value) = match self.change {
            Change::Put(value) => ("put", Some(value.get())),
            Change::Delete => ("delete", None),
        };
        serde_json::to_vec(&Wire {
            event_id: &self.event_id,
            record_id: self.movie.as_str(),
            record_type: RECORD_TYPE_MOVIE,
            user_id: self.user.as_str(),
            change,
            value,
            occurred_at_us: self.occurred_at_us,
            record_exists: true,
        })
    }
}

/// What a movie's ratings come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aggregate {
    /// The mean; none while there is no rating.
    pub average: Option<f64>,
    /// How many users' ratings count.
    pub count: u64,
}

/// A user's rating as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// The rated record.
    pub record_id: String,
    /// Its kind.
    pub record_type: String,
    /// Who rated.
    pub user_id: String,
    /// 1 to 10.
    pub value: u8,
    /// When, in microseconds since 1970-01-01T00:00:00Z.
    pub occurred_at_us: u64,
}

/// A stretch of one user's ratings, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingPage {
    /// The ratings.
    pub ratings: Vec<Rating>,
    /// Where the next page begins; none on the last one.
    pub next: Option<String>,
}

#[derive(Serialize)]
struct Wire<'a> {
    event_id: &'a str,
    record_id: &'a str,
    record_type: &'a str,
    user_id: &'a str,
    change: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<u8>,
    occurred_at_us: u64,
    /// The gateway has asked metadata, so the rating need not wait for the movie's own event.
    record_exists: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: Change) -> RatingEvent {
        RatingEvent {
            event_id: "0192f0c1-0000-7000-8000-000000000001".into(),
            movie: MovieId::parse("id", "0192F0C1-2345-7abc-8def-0123456789ab").unwrap(),
            user: UserId::parse("user", "a\"b").unwrap(),
            change,
            occurred_at_us: 1_700_000_000_123_456,
        }
    }

    #[test]
    fn a_put_travels_with_its_value() {
        let json = event(Change::Put(Value::new(7).unwrap()))
            .to_json()
            .unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"event_id":"0192f0c1-0000-7000-8000-000000000001","record_id":"0192f0c1-2345-7abc-8def-0123456789ab","record_type":"movie","user_id":"a\"b","change":"put","value":7,"occurred_at_us":1700000000123456,"record_exists":true}"#
        );
    }

    #[test]
    fn a_delete_travels_without_a_value() {
        let json = event(Change::Delete).to_json().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["change"], "delete");
        assert!(json.get("value").is_none());
    }

    #[test]
    fn a_value_is_1_to_10() {
        for number in 1..=10 {
            assert_eq!(
                Value::new(number).map(|value| i128::from(value.get())),
                Ok(number)
            );
        }
        for number in [
            i128::MIN,
            -1,
            0,
            11,
            256,
            257,
            266,
            1 << 31,
            (1 << 53) + 1,
            1 << 63,
            i128::MAX,
        ] {
            assert!(Value::new(number).is_err(), "{number}");
        }
    }

    #[test]
    fn a_user_id_is_taken_as_it_stands() {
        for text in [
            "u",
            "a b",
            "é",
            "e\u{301}",
            "👩‍👩‍👧",
            "\u{202e}abc",
            "%_'\"\\",
            &"x".repeat(128),
        ] {
            assert_eq!(UserId::parse("user", text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_user_id_outside_its_bounds_is_refused() {
        for text in [
            "",
            " ",
            " a",
            "a\u{a0}",
            "a\nb",
            "a\u{1b}[31m",
            "a\u{85}b",
            &"x".repeat(129),
            &"é".repeat(65),
        ] {
            assert!(UserId::parse("user", text).is_err(), "{text:?}");
        }
    }
}
