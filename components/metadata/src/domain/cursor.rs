//! Where a page of movies begins, in a form that a client can carry.
//!
//! Promise: a cursor is good for the query that made it and for no other; anything else is refused. It is no
//! secret and no grant: whoever computes a sum of their own reaches only what the query shows anyway.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Invalid, TitleKey};

/// The beginning of a page: the key of its first movie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(TitleKey);

impl Cursor {
    /// The page that begins at this title's key.
    pub fn at(key: TitleKey) -> Self {
        Self(key)
    }

    /// The key where the page begins.
    pub fn key(&self) -> &TitleKey {
        &self.0
    }

    /// Its opaque form, tied to the prefix of its query.
    pub fn encode(&self, prefix: &TitleKey) -> String {
        let position = self.0.as_str().as_bytes();
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&sum(prefix, position).to_be_bytes());
        bytes.extend_from_slice(position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) made for the same prefix.
    pub fn decode(text: &str, prefix: &TitleKey) -> Result<Self, Invalid> {
        Self::read(text, prefix)
            .ok_or_else(|| Invalid::new("after", "must be the `next` of a page of the same query"))
    }

    fn read(text: &str, prefix: &TitleKey) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (expected, position) = rest.split_first_chunk()?;
        if *version != VERSION || u64::from_be_bytes(*expected) != sum(prefix, position) {
            return None;
        }
        let position = std::str::from_utf8(position).ok()?;
        // The database takes any text but this.
        (position.starts_with(prefix.as_str()) && !position.contains('\0'))
            .then(|| Self(TitleKey::from_stored(position.to_owned())))
    }
}

/// FNV-1a over the query's name, the prefix and the position: a check against mistakes, not against attackers.
fn sum(prefix: &TitleKey, position: &[u8]) -> u64 {
    let parts = [b"movies".as_slice(), prefix.as_str().as_bytes(), position];
    // 0xff stands in no UTF-8: the parts cannot run into each other.
    let bytes = parts
        .iter()
        .flat_map(|part| part.iter().copied().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The first byte of every cursor; another layout takes another.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_of_another_query_or_of_nobody_is_refused() {
        let prefix = TitleKey::of("al");
        let good = Cursor::at(TitleKey::of("Alien")).encode(&prefix);
        let check = |text: &str, prefix: &str, taken: bool| {
            assert_eq!(
                Cursor::decode(text, &TitleKey::of(prefix)).is_ok(),
                taken,
                "{text} {prefix}"
            );
        };
        check(&good, "al", true);
        check(&good, "AL", true);
        check(&good, "a", false);
        check(&good, "", false);
        check("", "al", false);
        check("AA", "al", false);
        check("not base64!", "al", false);
        check(&format!("{good}="), "al", false);
        check(&good.replacen('A', "B", 1), "al", false);
        check(good.get(..good.len() - 1).unwrap(), "al", false);
    }

    #[test]
    fn the_longest_cursor_fits_a_query_string() {
        let key = TitleKey::of(&"x".repeat(1_200));
        assert!(Cursor::at(key).encode(&TitleKey::of("")).len() < 2_048);
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was(prefix in "[^\0]{0,5}", rest in "[^\0]{0,20}") {
            let prefix = TitleKey::of(&prefix);
            let cursor = Cursor::at(TitleKey::from_stored(format!("{}{rest}", prefix.as_str())));
            prop_assert_eq!(Cursor::decode(&cursor.encode(&prefix), &prefix), Ok(cursor));
        }

        #[test]
        fn one_changed_byte_is_noticed(at in 0_usize..20, flip in 1_u8..=255) {
            let prefix = TitleKey::of("a");
            let good = Cursor::at(TitleKey::of("a long title")).encode(&prefix);
            let mut bytes = URL_SAFE_NO_PAD.decode(good).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(Cursor::decode(&URL_SAFE_NO_PAD.encode(bytes), &prefix).is_err());
        }
    }
}
