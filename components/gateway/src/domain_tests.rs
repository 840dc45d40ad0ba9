//! The forms of ids and values, and the event's.

use super::*;

fn movie(text: &str) -> Result<MovieId, &'static str> {
    text.to_owned().try_into()
}

fn user(text: &str) -> Result<UserId, &'static str> {
    text.to_owned().try_into()
}

fn event(change: Change) -> String {
    let event = RatingEvent {
        event_id: uuid::Uuid::from_u128(0x0192f0c1_0000_7000_8000_000000000001),
        record_id: movie("0192F0C1-2345-7abc-8def-0123456789ab").unwrap(),
        record_type: RECORD_TYPE,
        user_id: user("a\"b").unwrap(),
        change,
        occurred_at_us: 1_700_000_000_123_456,
        record_exists: true,
    };
    serde_json::to_string(&event).unwrap()
}

#[test]
fn a_put_travels_with_its_value() {
    assert_eq!(
        event(Change::Put(7)),
        r#"{"event_id":"0192f0c1-0000-7000-8000-000000000001","record_id":"0192f0c1-2345-7abc-8def-0123456789ab","record_type":"movie","user_id":"a\"b","change":"put","value":7,"occurred_at_us":1700000000123456,"record_exists":true}"#
    );
}

#[test]
fn a_delete_travels_without_a_value() {
    let sent = event(Change::Delete);
    assert!(
        sent.contains(r#""change":"delete","occurred_at_us""#),
        "{sent}"
    );
}

#[test]
fn a_value_is_a_whole_number_from_1_to_10() {
    for number in 1..=10_u8 {
        assert_eq!(value(f64::from(number)), Ok(number));
    }
    for number in [
        f64::MIN,
        -1.0,
        -0.0,
        0.0,
        11.0,
        256.0,
        257.0,
        9e15,
        f64::MAX,
        f64::NAN,
    ] {
        assert!(value(number).is_err(), "{number}");
    }
}

#[test]
fn an_id_of_any_letter_case_becomes_lower_case() {
    let id = movie("0192F0C1-2345-7ABC-8def-0123456789AB").unwrap();
    assert_eq!(id.0, "0192f0c1-2345-7abc-8def-0123456789ab");
    assert!(movie("00000000-0000-0000-0000-000000000000").is_ok());
}

#[test]
fn every_other_form_of_an_id_is_refused() {
    for text in [
        "",
        " ",
        "-1",
        "{0192f0c1-2345-7abc-8def-0123456789ab}",
        "urn:uuid:0192f0c1-2345-7abc-8def-0123456789ab",
        "0192f0c123457abc8def0123456789ab",
        "0192f0c1-2345-7abc-8def-0123456789a",
        "0192f0c1-2345-7abc-8def-0123456789abc",
        "0192f0c1-2345-7abc-8def-0123456789ag",
        "0192f0c12-345-7abc-8def-0123456789ab",
        " 192f0c1-2345-7abc-8def-0123456789ab",
        "../../../../../../../../../etc/passw",
        "' or 1=1; drop table movies; --     ",
        "０192f0c1-2345-7abc-8def-0123456789",
    ] {
        assert!(movie(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_user_id_is_an_opaque_id_and_taken_as_it_stands() {
    for text in ["u", "a b", "e\u{301}", "\u{202e}abc"] {
        assert_eq!(user(text).unwrap().0, text);
    }
    for text in ["", " a", "a\nb", &"x".repeat(129)] {
        assert!(user(text).is_err(), "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn reading_an_id_again_changes_nothing(text in "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}") {
        let once = movie(&text).unwrap();
        assert_eq!(movie(&once.0).unwrap(), once);
    }
}

#[test]
fn an_act_under_a_key_has_one_id_and_acts_under_one_key_have_ids_that_begin_alike() {
    let act = |user: &str, change| Act {
        movie: MovieId("0192f0c1-2345-7abc-8def-0123456789ab".to_owned()),
        user: UserId(user.to_owned()),
        change,
    };
    let first = act("ana", Change::Put(7));
    let id = first.event_id("caller", "key", 0);
    assert_eq!(id, first.event_id("caller", "key", 0));
    assert_eq!(
        (id.get_version_num(), id.get_variant()),
        (8, uuid::Variant::RFC4122)
    );
    for other in [
        act("ana", Change::Put(8)),
        act("ana", Change::Delete),
        act("bo", Change::Put(7)),
    ] {
        let other = other.event_id("caller", "key", 0);
        assert_ne!(id, other);
        assert_eq!(id.as_bytes()[..10], other.as_bytes()[..10]);
    }
    for other in [
        first.event_id("other", "key", 0),
        first.event_id("caller", "kez", 0),
        first.event_id("callerk", "ey", 0),
        first.event_id("caller", "key", 1),
    ] {
        assert_ne!(id.as_bytes()[..10], other.as_bytes()[..10]);
    }
}
