//! Metadata: the bounded context that owns movies.
//!
//! Promises: a movie and its event `movie.created` on topic `metadata` are kept together or not at all; a title is
//! unique without regard to case and to outer blanks. Bounds are those of `wit/movie-metadata/types.wit`.
//!
//! To read first: `domain`, then `store`. This file gives the domain its ids and translates to and from WIT.

pub mod domain;
pub mod store;

use marquee_guest::sql;

use bindings::exports::movie::metadata::{commands, queries, types};

use domain::{Invalid, Movie, NewMovie, PageQuery};

marquee_guest::component!(Metadata, {
    path: "../../wit/movie-metadata",
    world: "movie:metadata/metadata",
});

struct Metadata;

impl commands::Guest for Metadata {
    async fn submit(movie: commands::NewMovie) -> Result<types::Movie, types::Error> {
        let new = NewMovie::parse(&movie.title, &movie.description, &movie.director)?;
        match store::insert(&new, uuid::Uuid::now_v7()).await? {
            store::Kept::New(movie) => Ok(movie.into()),
            store::Kept::TitleTaken(id) => Err(types::Error::TitleTaken(id.to_string())),
        }
    }
}

impl queries::Guest for Metadata {
    async fn movie_by_id(id: String) -> Result<Option<types::Movie>, types::Error> {
        let id = domain::parse_id(&id)?;
        Ok(store::by_id(id).await?.map(Into::into))
    }

    async fn movies(
        prefix: Option<String>,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let query = PageQuery::parse(prefix.as_deref(), after.as_deref(), limit)?;
        let (movies, next) = query.cut(store::page(&query).await?, |movie| &movie.title);
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

impl From<sql::Error> for types::Error {
    fn from(error: sql::Error) -> Self {
        if error.is_passing() {
            Self::Unavailable(error.to_string())
        } else {
            Self::Other(error.to_string())
        }
    }
}
