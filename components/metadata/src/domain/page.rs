//! What a request for a page of movies may ask.

use marquee_guest::cursor::{Cursors, Foreign, cut};

use super::{Invalid, TitleKey, without_nul};

/// Most movies of a page.
pub const LIMIT_MAX: u32 = 100;
/// Most characters of a prefix.
pub const PREFIX_MAX_CHARS: usize = 200;

/// A stretch of the movies in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    prefix: TitleKey,
    start: TitleKey,
    limit: u32,
}

impl PageQuery {
    /// Check every bound. Outer blanks of a prefix count: a person may search for a word and a blank.
    pub fn parse(prefix: Option<&str>, after: Option<&str>, limit: u32) -> Result<Self, Invalid> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Invalid::new(
                "limit",
                format_args!("must be 1 to {LIMIT_MAX}"),
            ));
        }
        let prefix = prefix.unwrap_or_default();
        without_nul("prefix", prefix)?;
        if prefix.chars().count() > PREFIX_MAX_CHARS {
            return Err(Invalid::new(
                "prefix",
                format_args!("must have at most {PREFIX_MAX_CHARS} characters"),
            ));
        }
        let prefix = TitleKey::of(prefix);
        let start = match after {
            Some(after) => cursors(&prefix)
                .decode(after)
                .and_then(|key| TitleKey::below(&prefix, key).ok_or(Foreign))
                .map_err(|foreign| Invalid::new("after", foreign))?,
            None => prefix.clone(),
        };
        Ok(Self {
            prefix,
            start,
            limit,
        })
    }

    /// What every key of the page begins with.
    pub fn prefix(&self) -> &TitleKey {
        &self.prefix
    }

    /// The least key of the page.
    pub fn start(&self) -> &TitleKey {
        &self.start
    }

    /// At most as many.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Cut off what was read beyond the page to see whether there is a next one, and say where that begins: at the first
    /// movie that did not fit.
    pub fn cut<T>(&self, found: Vec<T>, title: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        let (page, beyond) = cut(found, self.limit);
        let next = beyond.map(|first| cursors(&self.prefix).encode(&TitleKey::of(title(&first))));
        (page, next)
    }
}

/// A cursor is tied to the prefix of its query.
fn cursors(prefix: &TitleKey) -> Cursors {
    Cursors::of("movies", prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_a_page() {
        let check = |prefix: Option<&str>, after: Option<&str>, limit: u32, good: bool| {
            assert_eq!(
                PageQuery::parse(prefix, after, limit).is_ok(),
                good,
                "{prefix:?} {after:?} {limit}"
            );
        };
        check(None, None, 1, true);
        check(None, None, 100, true);
        check(None, None, 0, false);
        check(None, None, 101, false);
        check(None, None, u32::MAX, false);
        check(Some(""), None, 1, true);
        check(Some(&"é".repeat(200)), None, 1, true);
        check(Some(&"é".repeat(201)), None, 1, false);
        check(Some("a\0"), None, 1, false);
        check(None, Some(""), 1, false);
        check(None, Some("x"), 1, false);
    }

    #[test]
    fn a_page_that_is_full_but_last_has_no_next() {
        let query = PageQuery::parse(None, None, 2).unwrap();
        let (page, next) = query.cut(vec!["a", "b"], |title| title);
        assert_eq!((page, next), (vec!["a", "b"], None));
    }

    #[test]
    fn the_next_page_begins_at_the_first_movie_that_did_not_fit() {
        let query = PageQuery::parse(None, None, 2).unwrap();
        let (page, next) = query.cut(vec!["a", "b", "C"], |title| title);
        assert_eq!(page, ["a", "b"]);
        let second = PageQuery::parse(None, next.as_deref(), 2).unwrap();
        assert_eq!(second.start(), &TitleKey::of("c"));
    }

    #[test]
    fn a_cursor_is_good_for_its_prefix_as_it_is_compared_and_for_no_other() {
        let query = PageQuery::parse(Some("al"), None, 1).unwrap();
        let (_, next) = query.cut(vec!["alien", "aliens"], |title| title);
        let check = |prefix: Option<&str>, good: bool| {
            let found = PageQuery::parse(prefix, next.as_deref(), 1);
            assert_eq!(found.is_ok(), good, "{prefix:?}");
        };
        check(Some("al"), true);
        check(Some("AL"), true);
        check(Some("a"), false);
        check(Some(""), false);
        check(None, false);
    }

    #[test]
    fn a_position_that_the_query_cannot_have_is_refused() {
        let prefix = TitleKey::of("al");
        let check = |key: &str, good: bool| {
            let after = cursors(&prefix).encode(&key);
            let found = PageQuery::parse(Some("al"), Some(&after), 1);
            assert_eq!(found.is_ok(), good, "{key}");
        };
        check("alien", true);
        check("bambi", false);
        check("al\0", false);
    }

    #[test]
    fn the_longest_cursor_fits_a_query_string() {
        let key = TitleKey::of(&"x".repeat(1_200));
        assert!(cursors(&TitleKey::of("")).encode(&key).len() < 2_048);
    }
}
