//! What the gateway asks of the metadata component.

use std::collections::HashSet;

use marquee_problem::OUT_OF_BOUNDS;

use super::{Page, in_url};
use crate::{
    bindings::movie::metadata0_3_0::{commands, queries, types},
    caller::Caller,
    domain::MovieId,
    failure::{Failure, KEY_REUSED, MOVIE_CHANGED, TITLE_TAKEN, UNKNOWN_MOVIE},
};

pub(crate) use commands::{NewMovie, Patch};
pub(crate) use queries::{Selection, Sort};
pub(crate) use types::Movie;

/// The movie with this id.
pub(crate) async fn one(id: &MovieId) -> Result<Movie, Failure> {
    let movie = queries::movie_by_id(id.0.clone()).await?;
    movie.ok_or_else(|| unknown(id))
}

/// A page of movies.
pub(crate) async fn page(selection: Selection) -> Result<Page<Movie>, Failure> {
    let page = queries::movies(selection).await.map_err(in_url)?;
    Ok((page.movies, page.next))
}

/// Which of these 1 to 500 movies there are, and what time it is, in microseconds since 1970: the one clock of ratings.
pub(crate) async fn existing(ids: Vec<String>) -> Result<(HashSet<String>, u64), Failure> {
    let found = queries::existing(ids).await?;
    Ok((found.ids.into_iter().collect(), found.now_us))
}

/// Those of these 1 to 100 movies that there are.
pub(crate) async fn by_ids(ids: Vec<String>) -> Result<Vec<Movie>, Failure> {
    Ok(queries::movies_by_ids(ids).await?)
}

/// Creates a movie, once a key, which is its caller's own.
pub(crate) async fn create(
    caller: &Caller,
    key: Option<&str>,
    movie: NewMovie,
) -> Result<Movie, Failure> {
    Ok(commands::create(movie, own(caller, key)).await?)
}

/// Creates movies, once a key, which is their caller's own; one result each, in their order.
pub(crate) async fn create_many(
    caller: &Caller,
    key: Option<&str>,
    movies: Vec<NewMovie>,
) -> Result<Vec<Result<Movie, Failure>>, Failure> {
    let results = commands::create_many(movies, own(caller, key)).await?;
    let results = results.into_iter().map(|result| result.map_err(Into::into));
    Ok(results.collect())
}

/// Changes a movie, if it has the expected version.
pub(crate) async fn update(
    id: &MovieId,
    expected: Option<u64>,
    patch: Patch,
) -> Result<Movie, Failure> {
    let patched = commands::update(id.0.clone(), expected, patch).await;
    patched.map_err(|error| of(error, id))
}

/// Deletes a movie, if it has the expected version.
pub(crate) async fn delete(id: &MovieId, expected: Option<u64>) -> Result<(), Failure> {
    let deleted = commands::delete(id.0.clone(), expected).await;
    deleted.map_err(|error| of(error, id))
}

fn own(caller: &Caller, key: Option<&str>) -> Option<String> {
    key.map(|key| format!("{}/{key}", caller.of_keys()))
}

fn of(error: types::Error, id: &MovieId) -> Failure {
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

impl From<types::Error> for Failure {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Exists(id) => {
                let mut problem = TITLE_TAKEN.with("`existing_id` is that movie's");
                problem.existing_id = Some(id);
                problem.into()
            }
            types::Error::UnknownMovie => UNKNOWN_MOVIE.with("there is no such movie").into(),
            types::Error::Changed(version) => MOVIE_CHANGED
                .with(format!("its `ETag` is now \"{version}\""))
                .into(),
            types::Error::KeyReused => {
                let detail = "take a new `Idempotency-Key` for what is new";
                KEY_REUSED.with(detail).into()
            }
            types::Error::Invalid(text) => Self::refused(&OUT_OF_BOUNDS, text),
            types::Error::Unavailable(text) => Self::unavailable(text),
            types::Error::Timeout(text) => Self::timeout(text),
            types::Error::Other(text) => Self::internal(text),
        }
    }
}
