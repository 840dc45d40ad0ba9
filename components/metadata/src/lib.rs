//! Metadata: the bounded context that owns movies.
//!
//! Promises: a movie's change and its event on topic `metadata` are kept together or not at all; title and year are
//! unique together; a creation with an idempotency key happens once. Bounds are those of
//! `wit/movie-metadata-0.3/types.wit`.
//!
//! To read first: `domain`, then `store`. This file gives the domain its ids and translates to and from WIT; `v0_2` and
//! `v0_1` do so for the versions before.

pub mod domain;
pub mod store;
mod v0_1;
mod v0_2;

use uuid::Uuid;

use bindings::exports::movie::metadata0_3_0::{commands, queries, types};

use domain::{BATCH_MAX, Ids, Invalid, Key, Movie, NewMovie, Patch, Selection, Sort};
use store::commands::{Changed, Created};

marquee_guest::component!(Metadata, {
    path: [
        "../../wit/movie-metadata",
        "../../wit/movie-metadata-0.2",
        "../../wit/movie-metadata-0.3",
    ],
    world: "movie:metadata/metadata@0.3.0",
});

struct Metadata;

impl commands::Guest for Metadata {
    async fn create(
        movie: commands::NewMovie,
        idempotency_key: Option<String>,
    ) -> Result<types::Movie, types::Error> {
        let key = idempotency_key.as_deref().map(Key::parse).transpose()?;
        let created = store::commands::create(movie.try_into()?, Uuid::now_v7(), key.as_ref());
        result(created.await?)
    }

    async fn create_many(
        movies: Vec<commands::NewMovie>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<Result<types::Movie, types::Error>>, types::Error> {
        if !(1..=BATCH_MAX).contains(&movies.len()) {
            let bound = format!("movies must be 1 to {BATCH_MAX} of them");
            return Err(types::Error::Invalid(bound));
        }
        let key = idempotency_key.as_deref().map(Key::parse).transpose()?;
        let (mut good, mut keys) = (Vec::new(), Vec::new());
        let mut refused = Vec::new();
        for (place, movie) in movies.into_iter().enumerate() {
            refused.push(match NewMovie::try_from(movie) {
                Ok(new) => {
                    good.push((Uuid::now_v7(), new));
                    if let Some(key) = &key {
                        keys.push(key.of_place(place)?);
                    }
                    None
                }
                Err(invalid) => Some(invalid),
            });
        }
        let mut created = Vec::new();
        if !good.is_empty() {
            let keys = key.is_some().then_some(keys.as_slice());
            created = store::commands::create_many(good, keys).await?;
        }
        if created
            .iter()
            .any(|created| matches!(created, Created::KeyReused))
        {
            return Err(types::Error::KeyReused);
        }
        let mut created = created.into_iter();
        let each = refused.into_iter().map(|refused| match refused {
            Some(invalid) => Some(Err(invalid.into())),
            None => created.next().map(result),
        });
        let each: Option<Vec<_>> = each.collect();
        each.ok_or_else(|| types::Error::Other("fewer results than movies".to_owned()))
    }

    async fn update(
        id: String,
        expected: Option<u64>,
        patch: commands::Patch,
    ) -> Result<types::Movie, types::Error> {
        let id = domain::parse_id(&id)?;
        let patch = Patch::from(patch);
        // Somebody else's change between reading and writing hurts only who expects a version.
        for _ in 0..ATTEMPTS {
            let found = store::queries::by_id(id).await?;
            let movie = found.ok_or(types::Error::UnknownMovie)?;
            if expected.is_some_and(|expected| expected != movie.version) {
                return Err(types::Error::Changed(movie.version));
            }
            let Some(patched) = patch.apply(&movie)? else {
                return Ok(movie.into());
            };
            let renamed = (&patched.title, patched.year) != (&movie.title, movie.year);
            match store::commands::replace(&patched, renamed).await? {
                Changed::Done => return Ok(patched.into()),
                Changed::Exists(id) => return Err(types::Error::Exists(id.to_string())),
                Changed::Unknown => return Err(types::Error::UnknownMovie),
                Changed::Meanwhile(_) => {}
            }
        }
        let reason = "the movie is changed by others all the time";
        Err(types::Error::Unavailable(reason.to_owned()))
    }

    async fn delete(id: String, expected: Option<u64>) -> Result<(), types::Error> {
        let id = domain::parse_id(&id)?;
        match store::commands::delete(id, expected).await? {
            Changed::Done => Ok(()),
            Changed::Meanwhile(version) => Err(types::Error::Changed(version)),
            Changed::Unknown | Changed::Exists(_) => Err(types::Error::UnknownMovie),
        }
    }
}

impl queries::Guest for Metadata {
    async fn movie_by_id(id: String) -> Result<Option<types::Movie>, types::Error> {
        let id = domain::parse_id(&id)?;
        Ok(store::queries::by_id(id).await?.map(Into::into))
    }

    async fn movies_by_ids(ids: Vec<String>) -> Result<Vec<types::Movie>, types::Error> {
        let ids = Ids::parse(&ids, IDS_MAX)?;
        let movies = store::queries::by_ids(&ids).await?;
        Ok(movies.into_iter().map(Into::into).collect())
    }

    async fn movies(selection: queries::Selection) -> Result<queries::Page, types::Error> {
        let selection = Selection::parse(
            selection.query.as_deref(),
            selection.prefix.as_deref(),
            selection.year,
            selection.sort.into(),
            selection.after.as_deref(),
            selection.limit,
        )?;
        let (movies, next) = selection.cut(store::queries::page(&selection).await?);
        Ok(queries::Page {
            movies: movies.into_iter().map(Into::into).collect(),
            next,
        })
    }

    async fn existing(ids: Vec<String>) -> Result<queries::Existence, types::Error> {
        let ids = Ids::parse(&ids, EXISTING_MAX)?;
        let (ids, now_us) = store::queries::existing(&ids).await?;
        Ok(queries::Existence { ids, now_us })
    }
}

fn result(created: Created) -> Result<types::Movie, types::Error> {
    match created {
        Created::Movie(movie) => Ok(movie.into()),
        Created::Exists(id) => Err(types::Error::Exists(id.to_string())),
        Created::KeyReused => Err(types::Error::KeyReused),
    }
}

impl TryFrom<commands::NewMovie> for NewMovie {
    type Error = Invalid;

    fn try_from(new: commands::NewMovie) -> Result<Self, Invalid> {
        Self::parse(&new.title, new.year, &new.description, &new.director)
    }
}

impl From<commands::Patch> for Patch {
    fn from(patch: commands::Patch) -> Self {
        Self {
            title: patch.title,
            year: patch.year,
            description: patch.description,
            director: patch.director,
        }
    }
}

impl From<queries::Sort> for Sort {
    fn from(sort: queries::Sort) -> Self {
        match sort {
            queries::Sort::Title => Self::Title,
            queries::Sort::Year => Self::Year,
            queries::Sort::Newest => Self::Newest,
            queries::Sort::Relevance => Self::Relevance,
        }
    }
}

impl From<Movie> for types::Movie {
    fn from(movie: Movie) -> Self {
        Self {
            id: movie.id.to_string(),
            title: movie.title,
            year: movie.year,
            description: movie.description,
            director: movie.director,
            version: movie.version,
            created_at_ms: movie.created_at_ms,
        }
    }
}

impl From<Invalid> for types::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

marquee_guest::sql_errors!(types::Error);

/// How often a change without an expected version is tried.
const ATTEMPTS: u32 = 3;
/// Most ids of one question for movies.
const IDS_MAX: usize = 100;
/// Most ids of one question which movies there are.
const EXISTING_MAX: usize = 500;
