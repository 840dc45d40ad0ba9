//! What the gateway asks of others: the metadata and rating components and the bus.
//!
//! A trait, so that every route can be driven by a test without WebAssembly; `wit` has the real one.

mod wit;

use std::future::Future;

use crate::domain::{
    id::MovieId,
    movie::{Movie, MoviePage, NewMovie},
    page::{PageQuery, Prefix},
    rating::{Aggregate, RatingEvent, RatingPage, UserId},
};

pub(crate) use wit::Components;

/// The other components and the bus.
pub trait Upstream {
    /// The movie with this id, if there is one.
    fn movie(&self, id: &MovieId) -> impl Future<Output = Result<Option<Movie>, Failure>>;

    /// A page of the movies whose titles begin with the prefix, or of all.
    fn movies(
        &self,
        prefix: Option<&Prefix>,
        page: &PageQuery,
    ) -> impl Future<Output = Result<MoviePage, Failure>>;

    /// Keeps a movie.
    fn submit_movie(&self, movie: &NewMovie) -> impl Future<Output = Result<Movie, Failure>>;

    /// What a movie's ratings come to.
    fn aggregate(&self, id: &MovieId) -> impl Future<Output = Result<Aggregate, Failure>>;

    /// A page of a user's ratings.
    fn ratings_by_user(
        &self,
        user: &UserId,
        page: &PageQuery,
    ) -> impl Future<Output = Result<RatingPage, Failure>>;

    /// Publishes an event. Ok: the bus has it, durably.
    fn publish(&self, event: &RatingEvent) -> impl Future<Output = Result<(), Failure>>;

    /// Gives an event to the rating component itself. An event that also reached the bus counts once.
    fn submit_rating(&self, event: &RatingEvent) -> impl Future<Output = Result<(), Failure>>;
}

/// Why there was no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another movie, whose id this is, has the title.
    TitleTaken(String),
    /// A value was refused by its owner; the text may be shown to a client.
    Invalid(String),
    /// Not there now; worth trying again. The text is for operators.
    Unavailable(String),
    /// There, and too slow. The text is for operators.
    DeadlinePassed(String),
    /// Anything else. The text is for operators.
    Other(String),
}

impl Failure {
    /// Tells a passed deadline from any other unavailability. The interfaces have one case for both; only
    /// their text says which, so this reads the words that the host and the drivers use for it.
    pub fn unavailable(text: String) -> Self {
        let lower = text.to_ascii_lowercase();
        if DEADLINE_WORDS.iter().any(|word| lower.contains(word)) {
            Self::DeadlinePassed(text)
        } else {
            Self::Unavailable(text)
        }
    }
}

/// How a text says that time ran out. The host says "did not answer in time", PostgreSQL "statement timeout".
const DEADLINE_WORDS: [&str; 4] = ["deadline", "in time", "timed out", "timeout"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_deadline_is_told_by_its_words() {
        let passed = |text: &str| {
            matches!(
                Failure::unavailable(text.into()),
                Failure::DeadlinePassed(_)
            )
        };
        assert!(passed("deadline exceeded"));
        assert!(passed("canceling statement due to statement timeout"));
        assert!(passed("component metadata did not answer in time"));
        assert!(passed("the bus did not acknowledge in time"));
        assert!(!passed("connection refused"));
        assert!(!passed(""));
    }
}
