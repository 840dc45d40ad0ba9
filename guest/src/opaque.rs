//! Ids that others give out: opaque texts, compared byte for byte and never normalised.
//!
//! Promise: two ids that pass and look alike in a log do not differ by a blank's or a control character's sake, and every
//! database keeps them. One rule for whoever takes such an id in and whoever keeps it.
//!
//! Knows no host, no WIT and no SQL: a domain may use it.

/// Most bytes of an id, in UTF-8.
pub const MAX_BYTES: usize = 128;

/// What [`check`] asks for, to stand behind the name of a field.
pub const RULE: &str =
    "must have 1 to 128 bytes, no control characters and no blanks at either end";

/// Whether a text may be an id.
///
/// # Errors
/// The [`RULE`], where the text breaks it.
///
/// ```
/// use marquee_guest::opaque;
///
/// assert!(opaque::check("ann").is_ok());
/// assert_eq!(opaque::check("ann\n"), Err(opaque::RULE));
/// ```
pub fn check(text: &str) -> Result<(), &'static str> {
    let good = (1..=MAX_BYTES).contains(&text.len())
        && text.trim().len() == text.len()
        && !text.chars().any(char::is_control);
    good.then_some(()).ok_or(RULE)
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, RULE, check};

    #[test]
    fn an_id_is_any_text_within_the_bounds() {
        for text in [
            "u",
            "a b",
            "é",
            "e\u{301}",
            "👩‍👩‍👧",
            "\u{202e}abc",
            "%_'\"\\",
            &"x".repeat(MAX_BYTES),
            &"é".repeat(MAX_BYTES / 2),
        ] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn what_is_empty_long_padded_or_has_control_characters_is_none() {
        for text in [
            "",
            " ",
            " a",
            "a ",
            "a\u{a0}",
            "\u{3000}a",
            "a\nb",
            "a\0b",
            "a\u{1b}[31m",
            "a\u{85}b",
            &"x".repeat(MAX_BYTES + 1),
            &"é".repeat(MAX_BYTES / 2 + 1),
        ] {
            assert_eq!(check(text), Err(RULE), "{text:?}");
        }
    }
}
