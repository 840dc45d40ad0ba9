//! Version 0.1 of the interfaces, which knows neither years nor changes: translated to the domain of this version. A movie
//! that is created here has no year, and titles are told apart as everywhere. It goes when nobody imports it any more.

use uuid::Uuid;

use super::{Metadata, store};
use crate::{
    bindings::exports::movie::metadata0_1_0::{commands, queries, types},
    domain::{Invalid, Movie, NewMovie, Selection, Sort, parse_id},
    store::commands::Created,
};

impl commands::Guest for Metadata {
    async fn submit(movie: commands::NewMovie) -> Result<types::Movie, types::Error> {
        let new = NewMovie::parse(&movie.title, None, &movie.description, &movie.director)?;
        match store::commands::create(new, Uuid::now_v7(), None).await? {
            Created::Movie(movie) => Ok(movie.into()),
            Created::Exists(id) => Err(types::Error::TitleTaken(id.to_string())),
            Created::KeyReused => Err(types::Error::Other("a key that was not given".to_owned())),
        }
    }
}

impl queries::Guest for Metadata {
    async fn movie_by_id(id: String) -> Result<Option<types::Movie>, types::Error> {
        let id = parse_id(&id)?;
        Ok(store::queries::by_id(id).await?.map(Into::into))
    }

    async fn movies(
        prefix: Option<String>,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let (prefix, after) = (prefix.as_deref(), after.as_deref());
        let selection = Selection::parse(None, prefix, None, Sort::Title, after, limit)?;
        let (movies, next) = selection.cut(store::queries::page(&selection).await?);
        Ok(queries::Page {
            movies: movies.into_iter().map(Into::into).collect(),
            next,
        })
    }
}

impl From<Movie> for types::Movie {
    fn from(movie: Movie) -> Self {
        Self {
            id: movie.id.to_string(),
            title: movie.title,
            description: movie.description,
            director: movie.director,
        }
    }
}

impl From<Invalid> for types::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

marquee_guest::sql_errors!(types::Error, Unavailable);
