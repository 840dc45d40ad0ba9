//! A page of a user's ratings, newest first, and where it begins in a form that a client can carry.
//!
//! Promise: a cursor is good for the user whose query made it and for no other; anything else is refused. It is no
//! secret and no grant: whoever computes a sum of their own reaches only what the query shows anyway.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Invalid, Record,
    event::{OCCURRED_AT_MAX_US, check_user},
};

/// Most ratings of a page.
pub const LIMIT_MAX: u32 = 100;

/// A stretch of one user's ratings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    user: String,
    after: Option<Cursor>,
    limit: u32,
}

/// The last rating of a page: the next one begins after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// When it was made, in microseconds since 1970.
    pub occurred_at_us: u64,
    /// What was rated.
    pub record: Record,
}

impl PageQuery {
    /// Check every bound.
    pub fn parse(user: &str, after: Option<&str>, limit: u32) -> Result<Self, Invalid> {
        check_user(user)?;
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Invalid::new(
                "limit",
                format_args!("must be 1 to {LIMIT_MAX}"),
            ));
        }
        let after = after.map(|after| Cursor::decode(after, user)).transpose()?;
        Ok(Self {
            user: user.to_owned(),
            after,
            limit,
        })
    }

    /// Whose ratings.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The last rating of the page before.
    pub fn after(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }

    /// At most as many.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Cut off what was read beyond the page to see whether there is a next one, and say where that begins.
    pub fn cut<T>(
        &self,
        mut found: Vec<T>,
        position: impl Fn(&T) -> Cursor,
    ) -> (Vec<T>, Option<String>) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|last| position(last).encode(&self.user));
        (found, next)
    }
}

impl Cursor {
    /// Its opaque form, tied to the user.
    pub fn encode(&self, user: &str) -> String {
        let mut position = self.occurred_at_us.to_be_bytes().to_vec();
        position.extend_from_slice(self.record.kind().as_bytes());
        position.push(0);
        position.extend_from_slice(self.record.id().as_bytes());
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&sum(user, &position).to_be_bytes());
        bytes.extend_from_slice(&position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) made for the same user.
    pub fn decode(text: &str, user: &str) -> Result<Self, Invalid> {
        Self::read(text, user)
            .ok_or_else(|| Invalid::new("after", "must be the `next` of a page of the same query"))
    }

    fn read(text: &str, user: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (expected, position) = rest.split_first_chunk()?;
        if *version != VERSION || u64::from_be_bytes(*expected) != sum(user, position) {
            return None;
        }
        let (occurred_at_us, record) = position.split_first_chunk()?;
        let occurred_at_us = u64::from_be_bytes(*occurred_at_us);
        let (kind, id) = std::str::from_utf8(record).ok()?.split_once('\0')?;
        (occurred_at_us <= OCCURRED_AT_MAX_US).then_some(())?;
        Some(Self {
            occurred_at_us,
            record: Record::parse(kind, id).ok()?,
        })
    }
}

/// FNV-1a over the query's name, the user and the position: a check against mistakes, not against attackers.
fn sum(user: &str, position: &[u8]) -> u64 {
    let parts = [b"ratings-by-user".as_slice(), user.as_bytes()];
    // 0xff stands in no UTF-8: the parts cannot run into each other.
    let bytes = parts
        .iter()
        .flat_map(|part| part.iter().copied().chain([0xff]))
        .chain(position.iter().copied());
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

    fn cursor(occurred_at_us: u64, id: &str) -> Cursor {
        Cursor {
            occurred_at_us,
            record: Record::parse("movie", id).unwrap(),
        }
    }

    #[test]
    fn a_cursor_of_another_user_or_of_nobody_is_refused() {
        let good = cursor(7, "r").encode("ann");
        let check = |text: &str, user: &str, taken: bool| {
            assert_eq!(Cursor::decode(text, user).is_ok(), taken, "{text} {user}");
        };
        check(&good, "ann", true);
        check(&good, "bob", false);
        check(&good, "Ann", false);
        check("", "ann", false);
        check("AA", "ann", false);
        check("not base64!", "ann", false);
        check(&format!("{good}="), "ann", false);
        check(good.get(..good.len() - 1).unwrap(), "ann", false);
        check(
            &cursor(OCCURRED_AT_MAX_US + 1, "r").encode("ann"),
            "ann",
            false,
        );
    }

    #[test]
    fn bounds_of_a_page() {
        let check = |user: &str, after: Option<&str>, limit: u32, good: bool| {
            assert_eq!(
                PageQuery::parse(user, after, limit).is_ok(),
                good,
                "{user} {limit}"
            );
        };
        check("u", None, 1, true);
        check("u", None, 100, true);
        check("u", None, 0, false);
        check("u", None, 101, false);
        check("", None, 1, false);
        check("a\0", None, 1, false);
        check(&"u".repeat(129), None, 1, false);
        check("u", Some(""), 1, false);
    }

    #[test]
    fn only_a_page_with_more_behind_it_has_a_next() {
        let query = PageQuery::parse("u", None, 2).unwrap();
        let position = |id: &&str| cursor(1, id);
        assert_eq!(query.cut(vec!["a", "b"], position), (vec!["a", "b"], None));
        let (page, next) = query.cut(vec!["a", "b", "c"], position);
        assert_eq!(page, ["a", "b"]);
        let second = PageQuery::parse("u", next.as_deref(), 2).unwrap();
        assert_eq!(second.after(), Some(&cursor(1, "b")));
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was(at in 0..=OCCURRED_AT_MAX_US, id in "[^\0]{1,20}", user in "[^\0]{1,20}") {
            let cursor = cursor(at, &id);
            prop_assert_eq!(Cursor::decode(&cursor.encode(&user), &user), Ok(cursor));
        }
    }
}
