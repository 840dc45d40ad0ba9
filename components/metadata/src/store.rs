//! Movies in PostgreSQL: every statement that the component sends.
//!
//! Promise: a movie and its event stand or fall together, by one statement, with a transaction around it or
//! without. Bounds are the domain's; the table's constraints repeat them.

use spin_sdk::pg::{DbValue, ParameterValue};
use uuid::Uuid;

use crate::{
    domain::{Movie, NewMovie, PageQuery},
    postgres::{query, text},
};

/// Why the database gave no answer. The texts are for operators.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be reached or did not answer in time.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What came of a movie that was to be kept.
pub(crate) enum Kept {
    /// It is kept, and its event published.
    New(Movie),
    /// Another one has its title.
    TitleTaken(String),
}

/// Keep a movie and publish its event, unless its title is taken.
pub(crate) async fn insert(new: &NewMovie, id: Uuid) -> Result<Kept, Error> {
    let movie = new.with_id(id);
    let key = new.title_key().as_str();
    let params = vec![
        ParameterValue::Uuid(movie.id.to_string()),
        movie.title.clone().into(),
        key.to_owned().into(),
        movie.description.clone().into(),
        movie.director.clone().into(),
        ParameterValue::Binary(movie.created_event()),
    ];
    if let Some(row) = query(INSERT, params).await?.first() {
        return match row.first() {
            Some(DbValue::Boolean(true)) => Ok(Kept::New(movie)),
            _ => Ok(Kept::TitleTaken(text(row, 1)?.to_owned())),
        };
    }
    // The title was taken after the statement had begun: it waited for that insert but does not see its row.
    match query(HOLDER, vec![key.to_owned().into()]).await?.first() {
        Some(row) => Ok(Kept::TitleTaken(text(row, 0)?.to_owned())),
        None => Err(Error::Unavailable(
            "the title was taken and given back meanwhile".to_owned(),
        )),
    }
}

/// The movie with this id.
pub(crate) async fn by_id(id: Uuid) -> Result<Option<Movie>, Error> {
    let rows = query(BY_ID, vec![ParameterValue::Uuid(id.to_string())]).await?;
    rows.first().map(|row| movie(row)).transpose()
}

/// The movies of a page, and one more where there is one.
pub(crate) async fn page(page: &PageQuery) -> Result<Vec<Movie>, Error> {
    let start = page.start().as_str().to_owned();
    // One more tells whether there is a next page.
    let limit = i64::from(page.limit()) + 1;
    let rows = match page.prefix().upper_bound() {
        Some(bound) => query(PAGE_BELOW, vec![start.into(), limit.into(), bound.into()]).await?,
        None => query(PAGE, vec![start.into(), limit.into()]).await?,
    };
    rows.iter().map(|row| movie(row)).collect()
}

fn movie(row: &[DbValue]) -> Result<Movie, Error> {
    let id = text(row, 0)?;
    Ok(Movie {
        id: Uuid::try_parse(id).map_err(|error| Error::Other(format!("id {id}: {error}")))?,
        title: text(row, 1)?.to_owned(),
        description: text(row, 2)?.to_owned(),
        director: text(row, 3)?.to_owned(),
    })
}

/// `$1` id, `$2` title, `$3` its key, `$4` description, `$5` director, `$6` the event. One row: whether it was
/// kept, and the id that has the title; no row where the title was taken while the statement ran. The event hangs
/// on the inserted row, so there is none without it. The second branch sees the table as it was before.
pub const INSERT: &str = "
with inserted as (
    insert into movies (id, title, title_key, description, director)
    values ($1::uuid, $2, $3, $4, $5)
    on conflict on constraint movies_title_key_key do nothing
    returning id
)
select true, i.id, marquee.publish('metadata', i.id::text, '{}', $6)
from inserted as i
union all
select false, m.id, null
from movies as m
where m.title_key = $3";

/// `$1` a title's key. The id that has it.
pub const HOLDER: &str = "select id from movies where title_key = $1";

/// `$1` id.
pub const BY_ID: &str = "select id, title, description, director from movies where id = $1::uuid";

/// `$1` the least key, `$2` how many.
pub const PAGE: &str = "
select id, title, description, director
from movies
where title_key >= $1
order by title_key
limit $2";

/// As [`PAGE`], with `$3` above the last key. A prefix is a range and not a pattern: it has no metacharacters,
/// and the index serves it whatever the plan.
pub const PAGE_BELOW: &str = "
select id, title, description, director
from movies
where title_key >= $1 and title_key < $3
order by title_key
limit $2";
