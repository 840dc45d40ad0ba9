//! Keyset pagination: where a page begins, in a form that a client can carry.
//!
//! Promise: a cursor is good for the query that made it, with the parameters that it had, and for no other; anything
//! else is refused. It is no secret and no grant: whoever computes a sum of their own reaches only what the query shows
//! anyway. So a position is data from outside once it is decoded: check what the domain says of it.
//!
//! Knows no host, no WIT and no SQL: a domain may use it.
//!
//! ```
//! use marquee_guest::cursor::{Cursors, cut};
//!
//! // A user's notes, newest first: the position is the last note of the page, by time and id.
//! let cursors = Cursors::of("notes-by-user", "ann");
//! let found = vec![(30_u64, 7_u32), (20, 5), (10, 9)]; // `limit` and one more
//! let (page, beyond) = cut(found, 2);
//! let last = page.last().filter(|_| beyond.is_some());
//! let next = last.map(|last| cursors.encode(last));
//!
//! let after: (u64, u32) = cursors.decode(&next.expect("there is more")).expect("it is ours");
//! assert_eq!(after, (20, 5));
//! ```

use std::hash::Hasher as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use siphasher::sip::SipHasher24;

/// A cursor is not of this query: it was made by another one, by another layout, or by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the `next` of a page of the same query")]
pub struct Foreign;

/// The cursors of one query with its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Cursors(SipHasher24);

impl Cursors {
    /// Those of the query of this name, asked with these parameters. Parameters are whatever decides which rows the
    /// query has and in which order; a limit does not.
    pub fn of(query: &str, parameters: impl Serialize) -> Self {
        let mut sum = SipHasher24::new();
        // Each part says where it ends, so that none can run into the next.
        sum.write(&bytes(&(query, parameters)));
        Self(sum)
    }

    /// The opaque form of a position: letters, digits, `-` and `_`. It is longer than the position by a third and
    /// twelve characters.
    pub fn encode(&self, position: &impl Serialize) -> String {
        let position = bytes(position);
        let mut cursor = vec![VERSION];
        cursor.extend_from_slice(&self.sum(&position));
        cursor.extend_from_slice(&position);
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// The position that [`encode`](Self::encode) was given.
    pub fn decode<P: DeserializeOwned>(&self, cursor: &str) -> Result<P, Foreign> {
        self.read(cursor).ok_or(Foreign)
    }

    fn read<P: DeserializeOwned>(&self, cursor: &str) -> Option<P> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (sum, position) = rest.split_first_chunk()?;
        if *version != VERSION || *sum != self.sum(position) {
            return None;
        }
        let (position, rest) = postcard::take_from_bytes(position).ok()?;
        rest.is_empty().then_some(position)
    }

    fn sum(&self, position: &[u8]) -> [u8; 8] {
        let mut sum = self.0;
        sum.write(position);
        sum.finish().to_be_bytes()
    }
}

/// Cut a page out of what was found. A query for a page asks for one row more than `limit`: the first row beyond the
/// page, where there is one, says that there is a next page.
pub fn cut<T>(mut found: Vec<T>, limit: u32) -> (Vec<T>, Option<T>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let beyond = (found.len() > limit).then(|| found.drain(limit..).next());
    (found, beyond.flatten())
}

/// Plain data always has bytes. What has none (a map of unknown length) has no position either: its cursors are refused.
fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}

/// The first byte of every cursor; another layout takes another.
const VERSION: u8 = 2;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_of_another_query_or_of_nobody_is_refused() {
        let good = Cursors::of("notes", "ann").encode(&(7_u64, "x"));
        let check = |cursor: &str, query: &str, parameters: &str, taken: bool| {
            let found = Cursors::of(query, parameters).decode::<(u64, String)>(cursor);
            assert_eq!(found.is_ok(), taken, "{cursor} {query} {parameters}");
        };
        check(&good, "notes", "ann", true);
        check(&good, "notes", "Ann", false);
        check(&good, "notes", "an", false);
        check(&good, "notes", "", false);
        check(&good, "notesa", "nn", false);
        check(&good, "tags", "ann", false);
        check("", "notes", "ann", false);
        check("AA", "notes", "ann", false);
        check("not base64!", "notes", "ann", false);
        check(&format!("{good}="), "notes", "ann", false);
        check(&format!("{good}A"), "notes", "ann", false);
        check(good.get(..good.len() - 1).unwrap(), "notes", "ann", false);
    }

    #[test]
    fn a_position_of_another_shape_is_refused() {
        let cursors = Cursors::of("notes", ());
        let cursor = cursors.encode(&(7_u64, "x"));
        assert_eq!(cursors.decode::<u64>(&cursor), Err(Foreign));
        assert_eq!(cursors.decode::<(u64, String, u8)>(&cursor), Err(Foreign));
    }

    #[test]
    fn a_cursor_is_the_same_in_every_build() {
        let cursor = Cursors::of("notes", "ann").encode(&(7_u64, "x"));
        assert_eq!(cursor, "AtznxNMd3-PDBwF4");
    }

    #[test]
    fn a_page_is_cut_where_its_limit_is() {
        let check = |found: &[u8], limit: u32, page: &[u8], beyond: Option<u8>| {
            assert_eq!(
                cut(found.to_vec(), limit),
                (page.to_vec(), beyond),
                "{found:?}"
            );
        };
        check(&[], 2, &[], None);
        check(&[1, 2], 2, &[1, 2], None);
        check(&[1, 2, 3], 2, &[1, 2], Some(3));
        check(&[1, 2, 3, 4], 2, &[1, 2], Some(3));
        check(&[1], 0, &[], Some(1));
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was(position in any::<(u64, String, Option<i32>)>(), parameter in any::<String>()) {
            let cursors = Cursors::of("notes", &parameter);
            prop_assert_eq!(cursors.decode(&cursors.encode(&position)), Ok(position));
        }

        #[test]
        fn one_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
            let cursors = Cursors::of("notes", "ann");
            let mut bytes = URL_SAFE_NO_PAD.decode(cursors.encode(&"a long title")).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(cursors.decode::<String>(&changed), Err(Foreign));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_cursor_that_is_taken_is_one_that_was_given(text in mangled_text([
            Cursors::of("notes", "ann").encode(&(7_u64, "x")),
            Cursors::of("notes", "ann").encode(&(u64::MAX, "a long title")),
            Cursors::of("notes", "bob").encode(&(7_u64, "x")),
        ])) {
            let cursors = Cursors::of("notes", "ann");
            if let Ok(position) = cursors.decode::<(u64, String)>(&text) {
                prop_assert_eq!(cursors.encode(&position), text);
            }
        }
    }
}
