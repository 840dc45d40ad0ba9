//! A page of a list, and where it begins.

use marquee_guest::{
    cursor::{Cursors, Foreign, cut},
    opaque,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Invalid, Record, check_name, event::check_user};

/// Most entries of a page.
pub const LIMIT_MAX: u32 = 100;

/// A stretch of a list whose entries stand by a position.
#[derive(Debug, Clone)]
pub struct Page<P> {
    cursors: Cursors,
    after: Option<P>,
    limit: u32,
}

/// Of a user's ratings: by their place among them, last the one that came first.
pub type OfUser = Page<i64>;
/// Of a record's ratings: by the user.
pub type OfRecord = Page<String>;
/// Of the records of a kind: by score and id, best first.
pub type Ranked = Page<(i16, String)>;

impl OfUser {
    /// Check every bound.
    pub fn parse(user: &str, after: Option<&str>, limit: u32) -> Result<Self, Invalid> {
        check_user(user)?;
        Self::of(Cursors::of("ratings-of-user", user), after, limit, |_| true)
    }
}

impl OfRecord {
    /// Check every bound. Users who are kept since the rule of their ids was a wider one are positions too.
    pub fn parse(record: &Record, after: Option<&str>, limit: u32) -> Result<Self, Invalid> {
        let cursors = Cursors::of("ratings-of-record", (record.kind(), record.id()));
        let is_kept = |user: &String| check_name("user_id", user, opaque::MAX_BYTES).is_ok();
        Self::of(cursors, after, limit, is_kept)
    }
}

impl Ranked {
    /// Check every bound.
    pub fn parse(kind: &str, after: Option<&str>, limit: u32) -> Result<Self, Invalid> {
        Record::check_kind(kind)?;
        Self::of(Cursors::of("ranked", kind), after, limit, |(_, id)| {
            Record::parse(kind, id).is_ok()
        })
    }
}

impl<P: Serialize + DeserializeOwned> Page<P> {
    /// A cursor is no secret: whether a position is one that an entry can have is asked of whoever knows.
    fn of(
        cursors: Cursors,
        after: Option<&str>,
        limit: u32,
        is_possible: impl Fn(&P) -> bool,
    ) -> Result<Self, Invalid> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Invalid::new(
                "limit",
                format_args!("must be 1 to {LIMIT_MAX}"),
            ));
        }
        let decode = |after: &str| {
            let position = cursors.decode(after)?;
            is_possible(&position).then_some(position).ok_or(Foreign)
        };
        let after = after.map(decode).transpose();
        Ok(Self {
            cursors,
            after: after.map_err(|foreign| Invalid::new("after", foreign))?,
            limit,
        })
    }

    /// The position of the last entry of the page before.
    pub fn after(&self) -> Option<&P> {
        self.after.as_ref()
    }

    /// How many to read: one more than the page has, to see whether there is a next one.
    pub fn reads(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cut off what was read beyond the page, and say where the next one begins.
    pub fn cut<T>(&self, found: Vec<(P, T)>) -> (Vec<T>, Option<String>) {
        let (page, beyond) = cut(found, self.limit);
        let last = page.last().filter(|_| beyond.is_some());
        let next = last.map(|(position, _)| self.cursors.encode(position));
        (page.into_iter().map(|(_, entry)| entry).collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record::parse("movie", id).unwrap()
    }

    #[test]
    fn a_cursor_of_another_list_or_of_a_position_that_no_entry_can_have_is_refused() {
        let after = |cursor: &str, user: &str| OfUser::parse(user, Some(cursor), 1).is_ok();
        let good = Cursors::of("ratings-of-user", "ann").encode(&7_i64);
        assert!(after(&good, "ann"));
        for (cursor, user) in [(good.as_str(), "bob"), (&good, "Ann"), ("", "ann")] {
            assert!(!after(cursor, user), "{cursor} {user}");
        }
        let cursors = Cursors::of("ratings-of-record", ("movie", "r"));
        for (user, good) in [("ann", true), ("a\n", true), ("", false), ("a\0", false)] {
            let cursor = cursors.encode(&user);
            assert_eq!(
                OfRecord::parse(&record("r"), Some(&cursor), 1).is_ok(),
                good
            );
            assert!(OfRecord::parse(&record("s"), Some(&cursor), 1).is_err());
        }
        let cursors = Cursors::of("ranked", "movie");
        for (id, good) in [("r", true), ("", false), ("a\0", false)] {
            let cursor = cursors.encode(&(850_i16, id));
            assert_eq!(Ranked::parse("movie", Some(&cursor), 1).is_ok(), good);
            assert!(Ranked::parse("book", Some(&cursor), 1).is_err());
        }
    }

    #[test]
    fn bounds_of_a_page() {
        let check = |user: &str, after: Option<&str>, limit: u32, good: bool| {
            let page = OfUser::parse(user, after, limit);
            assert_eq!(page.is_ok(), good, "{user} {limit}");
        };
        check("u", None, 1, true);
        check("u", None, 100, true);
        check("u", None, 0, false);
        check("u", None, 101, false);
        check("", None, 1, false);
        check("a\0", None, 1, false);
        check(&"u".repeat(129), None, 1, false);
        check("u", Some(""), 1, false);
        assert!(Ranked::parse("", None, 1).is_err());
        assert!(Ranked::parse(&"k".repeat(33), None, 1).is_err());
    }

    #[test]
    fn only_a_page_with_more_behind_it_has_a_next() {
        let page = OfUser::parse("u", None, 2).unwrap();
        assert_eq!(page.reads(), 3);
        assert_eq!(page.cut(vec![(9, "a"), (5, "b")]), (vec!["a", "b"], None));
        let (entries, next) = page.cut(vec![(9, "a"), (5, "b"), (3, "c")]);
        assert_eq!(entries, ["a", "b"]);
        let second = OfUser::parse("u", next.as_deref(), 2).unwrap();
        assert_eq!(second.after(), Some(&5));
    }
}
