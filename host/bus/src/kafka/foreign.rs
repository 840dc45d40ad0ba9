//! What other producers send, as values that every later step can hold. Two that differ stay two, but for null and empty:
//! a null key is none, a null value (a tombstone of a compacted topic) and a header's null value have no bytes.

/// A key, or the name of a header, as text. One that is not UTF-8, has a NUL, or looks like one that was written so, is
/// its bytes in hexadecimal behind `\x`, as PostgreSQL writes them.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') && !text.starts_with(HEX) => text.to_owned(),
        _ => format!("{HEX}{}", hex::encode(bytes)),
    }
}

/// A time in milliseconds since 1970, within the years 1970 to 9999: a producer that counts in nanoseconds is beyond what
/// any later step can write down. None is 1970.
pub(super) fn time_ms(time: Option<i64>) -> i64 {
    time.unwrap_or_default().clamp(0, LAST_MS)
}

const HEX: &str = r"\x";
/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::{LAST_MS, text, time_ms};

    #[test]
    fn names_stay_what_they_are_or_are_written_in_hexadecimal_and_no_two_become_one() {
        for (bytes, expected) in [
            (&b"movie"[..], "movie"),
            ("Straße".as_bytes(), "Straße"),
            (b"", ""),
            (&[0, 0, 0, 0, 0, 0, 0, 7], r"\x0000000000000007"),
            (&[0xff], r"\xff"),
            (&[0xfe], r"\xfe"),
            (br"\xff", r"\x5c786666"),
        ] {
            assert_eq!(text(bytes), expected);
        }
    }

    #[test]
    fn a_time_that_nobody_can_write_down_is_the_nearest_that_one_can() {
        for (given, taken) in [
            (Some(1_700_000_000_123), 1_700_000_000_123),
            (Some(1_700_000_000_123_456_789), 253_402_300_799_999),
            (Some(-1), 0),
            (None, 0),
        ] {
            assert_eq!(time_ms(given), taken);
        }
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        mangled([
            &b"movie"[..],
            br"\xff",
            br"\x5c786666",
            "Straße".as_bytes(),
            b"\0\xff",
        ])
    }

    proptest! {
        #[test]
        fn whatever_comes_a_name_can_be_kept_and_is_no_other_ones(one in names(), other in names()) {
            let written = text(&one);
            prop_assert!(!written.contains('\0') && written.len() <= 2 * one.len() + 2);
            prop_assert_eq!(written == text(&other), one == other);
        }

        #[test]
        fn whatever_comes_a_time_can_be_written_down(time in any::<Option<i64>>()) {
            prop_assert!((0..=LAST_MS).contains(&time_ms(time)));
        }
    }
}
