//! How titles are compared.
//!
//! Promise: two titles are the same exactly when their keys are equal, and a title begins with a prefix exactly when
//! its key begins with the prefix's. The key is the canonical composition (NFC) of the title, lower-cased
//! character by character, so neither the way an accent was typed nor a letter's place in a word matters. It is
//! no case folding: "ß" and "ss" differ. The title itself is kept as it was sent.

use unicode_normalization::UnicodeNormalization as _;

/// A title, or the beginning of one, as it is compared. Keys are ordered by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct TitleKey(String);

impl TitleKey {
    /// The key of a title or of a title's beginning.
    pub fn of(title: &str) -> Self {
        let lower = title.nfc().flat_map(char::to_lowercase).map(|c| match c {
            // The one letter with a second lower-case form: at the end of a word.
            'ς' => 'σ',
            other => other,
        });
        // Lower-casing can leave what composes further.
        Self(lower.nfc().collect())
    }

    /// A key that was made before and comes back from a client: one that begins with the prefix and that the database
    /// takes.
    pub(super) fn below(prefix: &Self, key: String) -> Option<Self> {
        (key.starts_with(&prefix.0) && !key.contains('\0')).then_some(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text above every key that begins with this one, and above no other that is greater. None where there
    /// is no such text: then nothing bounds them from above.
    pub fn upper_bound(&self) -> Option<String> {
        let mut bound = self.0.clone();
        while let Some(last) = bound.pop() {
            // The order of bytes in UTF-8 is the order of code points.
            let next = match last {
                '\u{d7ff}' => Some('\u{e000}'),
                other => char::from_u32(u32::from(other).saturating_add(1)),
            };
            if let Some(next) = next {
                bound.push(next);
                return Some(bound);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn titles_that_people_take_for_the_same_have_one_key() {
        let check = |left: &str, right: &str, same: bool| {
            assert_eq!(
                TitleKey::of(left) == TitleKey::of(right),
                same,
                "{left} {right}"
            );
        };
        check("Alien", "ALIEN", true);
        check("Amélie", "AME\u{301}LIE", true);
        check("Οδός", "ΟΔΌΣ", true);
        check("Alien", "Aliens", false);
        check("Straße", "Strasse", false);
        check("100%", "100_", false);
        check("A  B", "A B", false);
    }

    #[test]
    fn the_upper_bound_is_the_next_text_of_the_same_length_or_shorter() {
        let check = |key: &str, bound: Option<&str>| {
            assert_eq!(
                TitleKey(key.into()).upper_bound().as_deref(),
                bound,
                "{key:?}"
            );
        };
        check("", None);
        check("ab", Some("ac"));
        check("%", Some("&"));
        check("a\u{10ffff}", Some("b"));
        check("\u{10ffff}", None);
        check("\u{d7ff}", Some("\u{e000}"));
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key(title in any::<String>()) {
            let key = TitleKey::of(&title);
            prop_assert_eq!(TitleKey::of(key.as_str()), key);
        }

        #[test]
        fn exactly_the_keys_with_the_prefix_lie_in_its_range(
            prefix in "[ab%_é]{0,3}", other in "[ab%_éz\u{10ffff}]{0,5}",
        ) {
            let prefix = TitleKey(prefix);
            let bound = prefix.upper_bound();
            let inside = other.as_str() >= prefix.as_str()
                && bound.is_none_or(|bound| other < bound);
            prop_assert_eq!(inside, other.starts_with(prefix.as_str()));
        }
    }
}
