//! Which movies a list has, in which order, and where a page of it begins.
//!
//! Keyset pagination: a page begins behind the last movie of the one before, as that movie was when it was shown. One
//! that is created, changed or deleted meanwhile is shown where it stands then, or not.

use marquee_guest::cursor::{Cursors, cut};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Invalid, Movie, movie, text};

/// Most movies of a page.
pub const LIMIT_MAX: u32 = 100;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Sort {
    /// By title.
    Title,
    /// By year, then by title; those without a year last.
    Year,
    /// The last that was created first.
    Newest,
    /// Titles that begin with the query's words, then the others.
    Relevance,
}

/// The parts of a list by relevance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// What begins with the query's words.
    Beginnings,
    /// The others that have all the words.
    Others,
}

/// Behind which movie a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The movie's title.
    pub title: String,
    /// Its year.
    pub year: Option<u16>,
    /// Its id.
    pub id: Uuid,
    /// In which part of the list it was.
    pub part: Part,
}

/// A stretch of the movies. Every bound holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    query: Option<String>,
    prefix: Option<String>,
    year: Option<u16>,
    sort: Sort,
    after: Option<Position>,
    limit: u32,
}

impl Selection {
    /// Check every bound. A query of blanks is none; blanks of a prefix count, since a person may look for a word and a
    /// blank.
    pub fn parse(
        query: Option<&str>,
        prefix: Option<&str>,
        year: Option<u16>,
        sort: Sort,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Self, Invalid> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Invalid::new(
                "limit",
                format_args!("must be 1 to {LIMIT_MAX}"),
            ));
        }
        let part = |field: &str, given: Option<&str>| -> Result<Option<String>, Invalid> {
            let given = given.filter(|given| !given.is_empty());
            given
                .map(|given| text(field, given, TEXT_MAX_CHARS).map(|()| given.to_owned()))
                .transpose()
        };
        let query = part("query", query.map(str::trim))?;
        if sort == Sort::Relevance && query.is_none() {
            return Err(Invalid::new("sort", "by relevance needs a query"));
        }
        let mut selection = Self {
            query,
            prefix: part("prefix", prefix)?,
            year: year.map(movie::year).transpose()?,
            sort,
            after: None,
            limit,
        };
        selection.after = after.map(|after| selection.position(after)).transpose()?;
        Ok(selection)
    }

    /// The words that are looked for.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// What the titles begin with. Not empty.
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// The year of all of them.
    pub fn year(&self) -> Option<u16> {
        self.year
    }

    /// The order.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// Behind which movie the page begins; none is the first page.
    pub fn after(&self) -> Option<&Position> {
        self.after.as_ref()
    }

    /// At most as many.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Cut off what was read beyond the page to see whether there is a next one, and say where that begins: behind the
    /// last movie that fits.
    pub fn cut(&self, found: Vec<(Part, Movie)>) -> (Vec<Movie>, Option<String>) {
        let (page, beyond) = cut(found, self.limit);
        let last = page.last().filter(|_| beyond.is_some());
        let next = last.map(|(part, movie)| {
            self.cursors().encode(&Position {
                title: movie.title.clone(),
                year: movie.year,
                id: movie.id,
                part: *part,
            })
        });
        (page.into_iter().map(|(_, movie)| movie).collect(), next)
    }

    fn position(&self, after: &str) -> Result<Position, Invalid> {
        let position: Position = self
            .cursors()
            .decode(after)
            .map_err(|foreign| Invalid::new("after", foreign))?;
        // A client may have made it: it must be such that the database takes it.
        text("after", &position.title, TEXT_MAX_CHARS)?;
        position.year.map(movie::year).transpose()?;
        Ok(position)
    }

    fn cursors(&self) -> Cursors {
        Cursors::of(
            "movies 0.2",
            (&self.query, &self.prefix, self.year, self.sort),
        )
    }
}

/// Most characters of a query, of a prefix and of the title of a position.
const TEXT_MAX_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NewMovie;

    fn parse(
        query: Option<&str>,
        prefix: Option<&str>,
        sort: Sort,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Selection, Invalid> {
        Selection::parse(query, prefix, None, sort, after, limit)
    }

    fn found(titles: &[&str]) -> Vec<(Part, Movie)> {
        let movie = |title: &&str| {
            let new = NewMovie::parse(title, Some(1979), "", "d").unwrap();
            (Part::Beginnings, new.created(Uuid::from_u128(7), 0))
        };
        titles.iter().map(movie).collect()
    }

    fn next(selection: &Selection) -> Option<String> {
        let limit = usize::try_from(selection.limit()).unwrap();
        selection.cut(found(&vec!["x"; limit + 1])).1
    }

    #[test]
    fn bounds_of_a_page() {
        let check = |query: Option<&str>,
                     prefix: Option<&str>,
                     sort,
                     after: Option<&str>,
                     limit,
                     good: bool| {
            assert_eq!(
                parse(query, prefix, sort, after, limit).is_ok(),
                good,
                "{query:?} {prefix:?} {sort:?} {after:?} {limit}"
            );
        };
        let long = |count| "é".repeat(count);
        check(None, None, Sort::Title, None, 1, true);
        check(None, None, Sort::Year, None, 100, true);
        check(None, None, Sort::Newest, None, 0, false);
        check(None, None, Sort::Title, None, 101, false);
        check(None, None, Sort::Title, None, u32::MAX, false);
        check(None, Some(""), Sort::Title, None, 1, true);
        check(None, Some(&long(200)), Sort::Title, None, 1, true);
        check(None, Some(&long(201)), Sort::Title, None, 1, false);
        check(None, Some("a\0"), Sort::Title, None, 1, false);
        check(Some(&long(200)), None, Sort::Relevance, None, 1, true);
        check(Some(&long(201)), None, Sort::Relevance, None, 1, false);
        check(Some("a\0"), None, Sort::Title, None, 1, false);
        check(None, None, Sort::Relevance, None, 1, false);
        check(Some(" \n"), None, Sort::Relevance, None, 1, false);
        check(None, None, Sort::Title, Some(""), 1, false);
        check(None, None, Sort::Title, Some("x"), 1, false);
        let year = |year| Selection::parse(None, None, Some(year), Sort::Title, None, 1).is_ok();
        assert!(year(1979) && !year(1) && !year(u16::MAX));
    }

    #[test]
    fn a_page_that_is_full_but_last_has_no_next() {
        let selection = parse(None, None, Sort::Title, None, 2).unwrap();
        let (page, next) = selection.cut(found(&["a", "b"]));
        assert_eq!((page.len(), next), (2, None));
    }

    #[test]
    fn the_next_page_begins_behind_the_last_movie_that_fits() {
        let selection = parse(None, None, Sort::Title, None, 2).unwrap();
        let (page, next) = selection.cut(found(&["a", "b", "C"]));
        assert_eq!(page.len(), 2);
        let second = parse(None, None, Sort::Title, next.as_deref(), 5).unwrap();
        let after = second.after().unwrap();
        assert_eq!((after.title.as_str(), after.year), ("b", Some(1979)));
        assert_eq!(after.id, Uuid::from_u128(7));
    }

    #[test]
    fn a_cursor_is_good_for_its_selection_and_for_no_other() {
        let selection = parse(Some("al"), None, Sort::Relevance, None, 1).unwrap();
        let after = next(&selection);
        let check = |query, prefix, sort, good: bool| {
            let found = parse(query, prefix, sort, after.as_deref(), 7);
            assert_eq!(found.is_ok(), good, "{query:?} {prefix:?} {sort:?}");
        };
        check(Some("al"), None, Sort::Relevance, true);
        check(Some(" al "), None, Sort::Relevance, true);
        check(Some("al"), None, Sort::Title, false);
        check(Some("a"), None, Sort::Relevance, false);
        check(None, Some("al"), Sort::Title, false);
        check(None, None, Sort::Title, false);
    }

    #[test]
    fn a_position_that_no_movie_has_is_refused() {
        let selection = parse(None, None, Sort::Title, None, 1).unwrap();
        let check = |title: &str, year, good: bool| {
            let after = selection.cursors().encode(&Position {
                title: title.to_owned(),
                year,
                id: Uuid::nil(),
                part: Part::Others,
            });
            let found = parse(None, None, Sort::Title, Some(&after), 1);
            assert_eq!(found.is_ok(), good, "{title} {year:?}");
        };
        check("a", None, true);
        check("a\0", None, false);
        check("a", Some(1), false);
    }

    #[test]
    fn the_longest_cursor_fits_a_query_string() {
        let selection = parse(None, None, Sort::Title, None, 1).unwrap();
        let (_, next) = selection.cut(found(&[&"😀".repeat(200), "b"]));
        assert!(next.unwrap().len() < 2_048);
    }
}
