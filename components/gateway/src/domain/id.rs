//! Ids of movies.

use super::Invalid;

/// A movie's id: a UUID in its hyphenated lower-case form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovieId(String);

impl MovieId {
    /// Reads the hyphenated form in any letter case. The braced, URN and simple forms are refused, so that an
    /// id has one spelling in logs, URLs and keys. Any version of UUID is an id; whether a movie has it is
    /// another question.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let well_formed = text.len() == LENGTH
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if well_formed {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(Invalid::malformed(
                field,
                "must be a UUID in its hyphenated form, as in 0192f0c1-2345-7abc-8def-0123456789ab",
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters in the hyphenated form.
const LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_any_letter_case_becomes_lower_case() {
        let id = MovieId::parse("id", "0192F0C1-2345-7ABC-8def-0123456789AB").unwrap();
        assert_eq!(id.as_str(), "0192f0c1-2345-7abc-8def-0123456789ab");
    }

    #[test]
    fn the_nil_id_is_an_id() {
        assert!(MovieId::parse("id", "00000000-0000-0000-0000-000000000000").is_ok());
    }

    #[test]
    fn every_other_form_is_refused() {
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
            assert!(MovieId::parse("id", text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_an_id_again_changes_nothing(text in "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}") {
            let once = MovieId::parse("id", &text).unwrap();
            assert_eq!(MovieId::parse("id", once.as_str()).unwrap(), once);
        }
    }
}
