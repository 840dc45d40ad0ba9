//! Version 0.2 of the interfaces, which has one case for what is not there and for what did not answer. It does what the version
//! after it does, and goes when nobody imports it any more.

use super::Metadata;
use crate::bindings::exports::movie::{
    metadata0_2_0::{commands, queries, types},
    metadata0_3_0 as new,
};

impl commands::Guest for Metadata {
    async fn create(
        movie: commands::NewMovie,
        idempotency_key: Option<String>,
    ) -> Result<types::Movie, types::Error> {
        let created = <Self as new::commands::Guest>::create(movie.into(), idempotency_key).await;
        Ok(created?.into())
    }

    async fn create_many(
        movies: Vec<commands::NewMovie>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<Result<types::Movie, types::Error>>, types::Error> {
        let movies = movies.into_iter().map(Into::into).collect();
        let created = <Self as new::commands::Guest>::create_many(movies, idempotency_key).await?;
        let each = created.into_iter().map(|created| Ok(created?.into()));
        Ok(each.collect())
    }

    async fn update(
        id: String,
        expected: Option<u64>,
        patch: commands::Patch,
    ) -> Result<types::Movie, types::Error> {
        let updated = <Self as new::commands::Guest>::update(id, expected, patch.into()).await;
        Ok(updated?.into())
    }

    async fn delete(id: String, expected: Option<u64>) -> Result<(), types::Error> {
        Ok(<Self as new::commands::Guest>::delete(id, expected).await?)
    }
}

impl queries::Guest for Metadata {
    async fn movie_by_id(id: String) -> Result<Option<types::Movie>, types::Error> {
        let found = <Self as new::queries::Guest>::movie_by_id(id).await?;
        Ok(found.map(Into::into))
    }

    async fn movies_by_ids(ids: Vec<String>) -> Result<Vec<types::Movie>, types::Error> {
        let found = <Self as new::queries::Guest>::movies_by_ids(ids).await?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    async fn movies(selection: queries::Selection) -> Result<queries::Page, types::Error> {
        let page = <Self as new::queries::Guest>::movies(selection.into()).await?;
        Ok(queries::Page {
            movies: page.movies.into_iter().map(Into::into).collect(),
            next: page.next,
        })
    }

    async fn existing(ids: Vec<String>) -> Result<queries::Existence, types::Error> {
        let found = <Self as new::queries::Guest>::existing(ids).await?;
        Ok(queries::Existence {
            ids: found.ids,
            now_us: found.now_us,
        })
    }
}

impl From<commands::NewMovie> for new::commands::NewMovie {
    fn from(old: commands::NewMovie) -> Self {
        Self {
            title: old.title,
            year: old.year,
            description: old.description,
            director: old.director,
        }
    }
}

impl From<commands::Patch> for new::commands::Patch {
    fn from(old: commands::Patch) -> Self {
        Self {
            title: old.title,
            year: old.year,
            description: old.description,
            director: old.director,
        }
    }
}

impl From<queries::Selection> for new::queries::Selection {
    fn from(old: queries::Selection) -> Self {
        Self {
            query: old.query,
            prefix: old.prefix,
            year: old.year,
            sort: match old.sort {
                queries::Sort::Title => new::queries::Sort::Title,
                queries::Sort::Year => new::queries::Sort::Year,
                queries::Sort::Newest => new::queries::Sort::Newest,
                queries::Sort::Relevance => new::queries::Sort::Relevance,
            },
            after: old.after,
            limit: old.limit,
        }
    }
}

impl From<new::types::Movie> for types::Movie {
    fn from(movie: new::types::Movie) -> Self {
        Self {
            id: movie.id,
            title: movie.title,
            year: movie.year,
            description: movie.description,
            director: movie.director,
            version: movie.version,
            created_at_ms: movie.created_at_ms,
        }
    }
}

impl From<new::types::Error> for types::Error {
    fn from(error: new::types::Error) -> Self {
        match error {
            new::types::Error::Exists(id) => Self::Exists(id),
            new::types::Error::UnknownMovie => Self::UnknownMovie,
            new::types::Error::Changed(version) => Self::Changed(version),
            new::types::Error::KeyReused => Self::KeyReused,
            new::types::Error::Invalid(text) => Self::Invalid(text),
            new::types::Error::Unavailable(text) | new::types::Error::Timeout(text) => {
                Self::Unavailable(text)
            }
            new::types::Error::Other(text) => Self::Other(text),
        }
    }
}
