//! Movies in PostgreSQL: every statement that the component sends.
//!
//! Promise: a movie and its event stand or fall together, by one statement, with a transaction around it or
//! without. Bounds are the domain's; the table's constraints repeat them.

use marquee_guest::{
    params,
    sql::{Database, Error, Row},
};
use uuid::Uuid;

use crate::domain::{Movie, NewMovie, PageQuery};

const DB: Database = Database::at("metadata_database_url");

/// What came of a movie that was to be kept.
pub(crate) enum Kept {
    /// It is kept, and its event published.
    New(Movie),
    /// Another one has its title.
    TitleTaken(Uuid),
}

/// Keep a movie and publish its event, unless its title is taken.
pub(crate) async fn insert(new: &NewMovie, id: Uuid) -> Result<Kept, Error> {
    let movie = new.with_id(id);
    let key = new.title_key().as_str();
    let params = params![
        movie.id,
        &movie.title,
        key,
        &movie.description,
        &movie.director,
        movie.created_event(),
    ];
    if let Some(mut row) = DB.optional(INSERT, params).await? {
        return Ok(match row.take("is_new")? {
            true => Kept::New(movie),
            false => Kept::TitleTaken(row.take("id")?),
        });
    }
    // The title was taken after the statement had begun: it waited for that insert but does not see its row.
    match DB.optional(HOLDER, params![key]).await? {
        Some(mut row) => Ok(Kept::TitleTaken(row.take("id")?)),
        None => Err(Error::conflict(
            "the title was taken and given back meanwhile",
        )),
    }
}

/// The movie with this id.
pub(crate) async fn by_id(id: Uuid) -> Result<Option<Movie>, Error> {
    DB.optional(BY_ID, params![id])
        .await?
        .map(movie)
        .transpose()
}

/// The movies of a page, and one more where there is one.
pub(crate) async fn page(page: &PageQuery) -> Result<Vec<Movie>, Error> {
    let start = page.start().as_str();
    // One more tells whether there is a next page.
    let limit = i64::from(page.limit()) + 1;
    let rows = match page.prefix().upper_bound() {
        Some(bound) => DB.query(PAGE_BELOW, params![start, limit, bound]).await?,
        None => DB.query(PAGE, params![start, limit]).await?,
    };
    rows.map(movie).collect()
}

fn movie(mut row: Row) -> Result<Movie, Error> {
    Ok(Movie {
        id: row.take("id")?,
        title: row.take("title")?,
        description: row.take("description")?,
        director: row.take("director")?,
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
select true as is_new, i.id, marquee.publish('metadata', i.id::text, '{}', $6)
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
