//! A page of a user's ratings, newest first, and where it begins.

use marquee_guest::cursor::{Cursors, Foreign, cut};

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
    after: Option<Position>,
    limit: u32,
}

/// Where a rating stands among its user's. The next page begins after the last one of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
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
        let after = after
            .map(|after| Position::decode(after, user))
            .transpose()?;
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
    pub fn after(&self) -> Option<&Position> {
        self.after.as_ref()
    }

    /// At most as many.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Cut off what was read beyond the page to see whether there is a next one, and say where that begins.
    pub fn cut<T>(
        &self,
        found: Vec<T>,
        position: impl Fn(&T) -> Position,
    ) -> (Vec<T>, Option<String>) {
        let (page, beyond) = cut(found, self.limit);
        let last = page.last().filter(|_| beyond.is_some());
        let next = last.map(|last| position(last).encode(&self.user));
        (page, next)
    }
}

impl Position {
    fn encode(&self, user: &str) -> String {
        let record = &self.record;
        cursors(user).encode(&(self.occurred_at_us, record.kind(), record.id()))
    }

    fn decode(after: &str, user: &str) -> Result<Self, Invalid> {
        let read = || {
            let (occurred_at_us, kind, id): (u64, String, String) = cursors(user).decode(after)?;
            let record = Record::parse(&kind, &id).map_err(|_| Foreign)?;
            let known = occurred_at_us <= OCCURRED_AT_MAX_US;
            known
                .then_some(Self {
                    occurred_at_us,
                    record,
                })
                .ok_or(Foreign)
        };
        read().map_err(|foreign| Invalid::new("after", foreign))
    }
}

/// A cursor is tied to the user.
fn cursors(user: &str) -> Cursors {
    Cursors::of("ratings-by-user", user)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(occurred_at_us: u64, id: &str) -> Position {
        Position {
            occurred_at_us,
            record: Record::parse("movie", id).unwrap(),
        }
    }

    #[test]
    fn a_position_of_another_user_or_that_no_rating_can_have_is_refused() {
        let check = |after: &str, user: &str, taken: bool| {
            assert_eq!(
                Position::decode(after, user).is_ok(),
                taken,
                "{after} {user}"
            );
        };
        let good = position(7, "r").encode("ann");
        check(&good, "ann", true);
        check(&good, "bob", false);
        check(&good, "Ann", false);
        check("", "ann", false);
        let late = position(OCCURRED_AT_MAX_US + 1, "r").encode("ann");
        check(&late, "ann", false);
        let nameless = cursors("ann").encode(&(7_u64, "movie", ""));
        check(&nameless, "ann", false);
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
        let at = |id: &&str| position(1, id);
        assert_eq!(query.cut(vec!["a", "b"], at), (vec!["a", "b"], None));
        let (page, next) = query.cut(vec!["a", "b", "c"], at);
        assert_eq!(page, ["a", "b"]);
        let second = PageQuery::parse("u", next.as_deref(), 2).unwrap();
        assert_eq!(second.after(), Some(&position(1, "b")));
    }

    proptest! {
        #[test]
        fn a_position_comes_back_as_it_was(at in 0..=OCCURRED_AT_MAX_US, id in "[^\0]{1,20}", user in "[^\0]{1,20}") {
            let position = position(at, &id);
            prop_assert_eq!(Position::decode(&position.encode(&user), &user), Ok(position));
        }
    }
}
