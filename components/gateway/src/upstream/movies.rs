//! What the gateway asks of the metadata component.

use std::collections::HashSet;

use marquee_guest::rest::Failure;

use crate::{
    bindings::movie::metadata0_3_0::types,
    caller::Caller,
    domain::MovieId,
    kinds::{KEY_REUSED, MOVIE_CHANGED, TITLE_TAKEN, UNKNOWN_MOVIE},
};

pub(crate) use crate::bindings::movie::metadata0_3_0::{
    commands::{self, NewMovie, Patch},
    queries::{self, Selection, Sort},
};
pub(crate) use types::Movie;

/// The movie with this id.
pub(crate) async fn one(id: &MovieId) -> Result<Movie, Failure> {
    let movie = queries::movie_by_id(id.0.clone()).await?;
    movie.ok_or_else(|| unknown(id))
}

/// Which of these 1 to 500 movies there are, and what time it is, in microseconds since 1970: the one clock of ratings.
pub(crate) async fn existing(ids: Vec<String>) -> Result<(HashSet<String>, u64), Failure> {
    let found = queries::existing(ids).await?;
    Ok((found.ids.into_iter().collect(), found.now_us))
}

/// An idempotency key as metadata knows it: its caller's own.
pub(crate) fn own(caller: &Caller, key: Option<String>) -> Option<String> {
    key.map(|key| format!("{}/{key}", caller.of_keys()))
}

/// Why this movie was not changed.
pub(crate) fn unchanged(error: types::Error, id: &MovieId) -> Failure {
    match error {
        types::Error::UnknownMovie => unknown(id),
        error => error.into(),
    }
}

/// There is no such movie.
pub(crate) fn unknown(id: &MovieId) -> Failure {
    let detail = format!("there is no movie {}", id.0);
    UNKNOWN_MOVIE.with(detail).into()
}

/// The movie is in another version than the one that is expected.
pub(crate) fn changed(version: u64) -> Failure {
    let detail = format!("its `ETag` is now \"{version}\"");
    MOVIE_CHANGED.with(detail).into()
}

/// The key of an act is another one's.
pub(crate) fn key_reused() -> Failure {
    let detail = "take a new `Idempotency-Key` for what is new";
    KEY_REUSED.with(detail).into()
}

marquee_guest::failures!(types::Error {
    types::Error::Exists(id) => {
        let mut problem = TITLE_TAKEN.with("`existing_id` is that movie's");
        problem.existing_id = Some(id);
        problem.into()
    },
    types::Error::UnknownMovie => UNKNOWN_MOVIE.with("there is no such movie").into(),
    types::Error::Changed(version) => changed(version),
    types::Error::KeyReused => key_reused(),
});
