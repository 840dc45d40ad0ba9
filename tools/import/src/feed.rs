//! Lines of an input as lists, each of which goes with one request.
//!
//! Promises: a list is within the bounds of the API; what an earlier run had acknowledged is in none. Acts of which the
//! last counts (a user's ratings of a film) are under way one at a time, in the order of the input: the next waits until
//! the one before is settled and noted, so that neither a request that is repeated nor a run that goes on after another
//! can bring them in another order. Bounds: one list, and what says which acts are under way.

use std::collections::HashSet;

use serde::Serialize;

use crate::{
    api::{self, LIST_MAX_BYTES, Movie, folded},
    input::{Line, Rating},
    state::{Key, State},
};

/// What can be sent in lists.
pub(crate) trait Row: Serialize {
    /// Most in one.
    const LIST_MAX: usize;
    /// Most bytes by which it is longer, as the API has it, than as JSON here.
    const GROWS: usize;

    /// What it does, where the order in which that is done matters. A film that is named in two ways, by its title, by its
    /// title and year, by its id, is two films here.
    fn act(&self) -> Option<String>;
}

impl Row for Movie {
    const LIST_MAX: usize = Movie::LIST_MAX;
    const GROWS: usize = 0;

    fn act(&self) -> Option<String> {
        None
    }
}

impl Row for Rating {
    const LIST_MAX: usize = api::Rating::LIST_MAX;
    /// An id in the place of a title.
    const GROWS: usize = uuid::fmt::Hyphenated::LENGTH;

    fn act(&self) -> Option<String> {
        let year = self.year.unwrap_or_default();
        Some(format!("{}\n{year} {}", self.user_id, folded(&self.movie)))
    }
}

/// A line that is to be sent.
pub(crate) struct Job<T> {
    pub(crate) key: Key,
    pub(crate) row: T,
    act: Option<String>,
    size_bytes: usize,
}

/// What goes with one request.
pub(crate) struct List<T> {
    pub(crate) jobs: Vec<Job<T>>,
    /// Lines that cannot be read, and why.
    pub(crate) bad: Vec<(u64, String)>,
    /// Lines that are done already.
    pub(crate) skipped: u64,
}

/// The lines of an input, as far as they are not in a list.
pub(crate) struct Feed<I, T> {
    lines: I,
    /// It was read, and had no room or must wait.
    held: Option<Job<T>>,
    under_way: HashSet<String>,
}

impl<I: Iterator<Item = Line<T>>, T: Row> Feed<I, T> {
    pub(crate) fn of(lines: I) -> Self {
        Self {
            lines,
            held: None,
            under_way: HashSet::new(),
        }
    }

    /// The next list. None: the input has ended, or its next line waits for one that is under way.
    pub(crate) fn next(&mut self, earlier: Option<&State>) -> Option<List<T>> {
        let mut list = List {
            jobs: Vec::new(),
            bad: Vec::new(),
            skipped: 0,
        };
        let mut size_bytes = "[]".len();
        while list.jobs.len() + list.bad.len() < T::LIST_MAX {
            let job = match self.held.take() {
                Some(job) => job,
                None => match self.lines.next() {
                    Some(line) => match Job::of(line) {
                        Ok(job) if earlier.is_some_and(|earlier| earlier.has(job.key)) => {
                            list.skipped += 1;
                            continue;
                        }
                        Ok(job) => job,
                        Err(bad) => {
                            list.bad.push(bad);
                            continue;
                        }
                    },
                    None => break,
                },
            };
            let full = !list.jobs.is_empty() && size_bytes + job.size_bytes > LIST_MAX_BYTES;
            let act = job.act.as_ref();
            if full || act.is_some_and(|act| self.under_way.contains(act)) {
                self.held = Some(job);
                break;
            }
            size_bytes += job.size_bytes;
            self.under_way.extend(job.act.clone());
            list.jobs.push(job);
        }
        let nothing = list.jobs.is_empty() && list.bad.is_empty() && list.skipped == 0;
        (!nothing).then_some(list)
    }

    /// These are settled and noted.
    pub(crate) fn settled(&mut self, jobs: &[Job<T>]) {
        for act in jobs.iter().filter_map(|job| job.act.as_ref()) {
            self.under_way.remove(act);
        }
    }
}

impl<T: Row> Job<T> {
    fn of(line: Line<T>) -> Result<Self, (u64, String)> {
        let number = line.number;
        let row = line.parsed.map_err(|reason| (number, reason))?;
        // Texts and numbers always become JSON.
        let json = serde_json::to_vec(&row).unwrap_or_default();
        Ok(Self {
            key: Key::of(number, &json),
            act: row.act(),
            size_bytes: json.len() + T::GROWS + ",".len(),
            row,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rating(number: u64, user: &str) -> Line<Rating> {
        Line {
            number,
            parsed: Ok(Rating {
                user_id: user.to_owned(),
                movie: "Heat".to_owned(),
                year: None,
                value: 7,
            }),
        }
    }

    fn numbers<T>(list: &List<T>) -> Vec<u64> {
        list.jobs.iter().map(|job| job.key.number).collect()
    }

    #[test]
    fn a_list_ends_before_what_the_api_does_not_take() {
        let lines = (1..=1_100).map(|number| rating(number, &format!("user{number}")));
        let mut feed = Feed::of(lines);
        let mut lengths = Vec::new();
        while let Some(list) = feed.next(None) {
            lengths.push(list.jobs.len());
        }
        assert_eq!(lengths, [500, 500, 100]);

        let film = |number: u64, length: usize| Line {
            number,
            parsed: Ok(Movie {
                title: format!("{number}"),
                year: None,
                description: "\"".repeat(length),
                director: "D".to_owned(),
            }),
        };
        let long = LIST_MAX_BYTES;
        let lines = (1..=10)
            .map(|number| film(number, 4_000))
            .chain([film(11, long)]);
        let mut feed = Feed::of(lines);
        let mut places = Vec::new();
        while let Some(list) = feed.next(None) {
            let items: Vec<_> = list.jobs.iter().map(|job| &job.row).collect();
            let size = serde_json::to_vec(&items).unwrap().len();
            assert!(size <= LIST_MAX_BYTES || items.len() == 1, "{size}");
            places.push(numbers(&list));
        }
        assert_eq!(places, [(1..=8).collect(), vec![9, 10], vec![11]]);
    }

    #[test]
    fn a_users_ratings_of_a_film_are_under_way_one_at_a_time_and_in_order() {
        let users = ["ann", "bob", "ann", "cid", "ann"];
        let mut feed = Feed::of((1..).zip(users).map(|(number, user)| rating(number, user)));
        let first = feed.next(None).unwrap();
        assert_eq!(numbers(&first), [1, 2]);
        assert!(feed.next(None).is_none(), "line 3 waits for line 1");
        feed.settled(&first.jobs);
        let second = feed.next(None).unwrap();
        assert_eq!(numbers(&second), [3, 4]);
        assert!(feed.next(None).is_none());
        feed.settled(&second.jobs);
        let third = feed.next(None).unwrap();
        assert_eq!(numbers(&third), [5]);
        feed.settled(&third.jobs);
        assert!(feed.next(None).is_none() && feed.under_way.is_empty());
    }

    #[test]
    fn a_film_is_the_same_however_its_title_is_written_and_another_in_another_year() {
        let act = |movie: &str, year| {
            let (user_id, movie) = ("ann".to_owned(), movie.to_owned());
            let rating = Rating {
                user_id,
                movie,
                year,
                value: 7,
            };
            rating.act()
        };
        assert_eq!(act("Straße", None), act("STRASSE", None));
        assert_eq!(act("King Kong", Some(1933)), act("king kong", Some(1933)));
        assert_ne!(act("King Kong", Some(1933)), act("King Kong", Some(2005)));
    }

    #[test]
    fn lines_that_cannot_be_read_are_told_and_bounded_as_others_are() {
        let lines = (1..=501).map(|number| Line::<Rating> {
            number,
            parsed: Err("it is bad".to_owned()),
        });
        let mut feed = Feed::of(lines);
        assert_eq!(feed.next(None).unwrap().bad.len(), 500);
        let last = feed.next(None).unwrap();
        assert_eq!(last.bad, [(501, "it is bad".to_owned())]);
        assert!(feed.next(None).is_none());
    }
}
