//! What changes movies.
//!
//! Whether title and year are taken is asked before the change, of what is there then, and enforced by constraints for
//! what comes at the same time. Whoever keeps answers about a movie learns of its change by a touch: `movie:ID`. A new one has
//! an id that nobody has asked for. A row of version 0.1 is found like any other one, so it keeps its title as well.

use marquee_guest::{
    params,
    sql::{Error, Row, array},
};
use uuid::Uuid;

use super::Statement;
use crate::domain::{Key, Movie, NewMovie, deleted_event};

/// What came of a movie that was to be created.
#[derive(Debug)]
pub(crate) enum Created {
    /// It is, now or before by the same key.
    Movie(Movie),
    /// Another one has its title and year.
    Exists(Uuid),
    /// The key belongs to another creation.
    KeyReused,
}

/// What came of a change.
pub(crate) enum Changed {
    /// It is made.
    Done,
    /// Another movie has the title and the year.
    Exists(Uuid),
    /// The movie has another version: this one.
    Meanwhile(u64),
    /// There is no such movie.
    Unknown,
}

/// Create a movie and publish its event.
pub(crate) async fn create(new: NewMovie, id: Uuid, key: Option<&Key>) -> Result<Created, Error> {
    let attempt = async || created(insert(&new, id, key).one().await?, new.clone());
    let mut found = attempt().await;
    if key.is_some() && found.as_ref().map_or_else(is_claimed, Option::is_none) {
        found = attempt().await;
    }
    match found? {
        Some(created) => Ok(created),
        None => holder_of(&new).await,
    }
}

/// Create movies and publish their events, each under the id beside it. One result each, in their order. With keys there is
/// one for each; where one belongs to another creation nothing is created, and every result says so.
pub(crate) async fn create_many(
    movies: Vec<(Uuid, NewMovie)>,
    keys: Option<&[Key]>,
) -> Result<Vec<Created>, Error> {
    let attempt = async || {
        let rows = insert_many(&movies, keys).query().await?;
        let results = rows.zip(&movies);
        let results = results.map(|(row, (_, new))| created(row, new.clone()));
        results.collect::<Result<Vec<_>, _>>()
    };
    let mut found = attempt().await;
    let is_raced = |found: &Vec<Option<_>>| found.iter().any(Option::is_none);
    if keys.is_some() && found.as_ref().map_or_else(is_claimed, is_raced) {
        found = attempt().await;
    }
    let mut results = Vec::with_capacity(movies.len());
    for (found, (_, new)) in found?.into_iter().zip(&movies) {
        results.push(match found {
            Some(created) => created,
            None => holder_of(new).await?,
        });
    }
    Ok(results)
}

/// Put a movie in the place of the version before it, and publish the event.
pub(crate) async fn replace(movie: &Movie, renamed: bool) -> Result<Changed, Error> {
    let mut row = match update(movie, renamed).one().await {
        Ok(row) => row,
        Err(error) if TAKEN.map(Some).contains(&error.constraint()) => return Err(meanwhile()),
        Err(error) => return Err(error),
    };
    if row.take("is_done")? {
        return Ok(Changed::Done);
    }
    if let Some(id) = row.take("holder")? {
        return Ok(Changed::Exists(id));
    }
    left(row, movie.version.checked_sub(1))
}

/// Delete a movie and publish the event.
pub(crate) async fn delete(id: Uuid, expected: Option<u64>) -> Result<Changed, Error> {
    let mut row = remove(id, expected).one().await?;
    if row.take("is_done")? {
        return Ok(Changed::Done);
    }
    left(row, expected)
}

/// The statement of `create`.
pub fn insert(new: &NewMovie, id: Uuid, key: Option<&Key>) -> Statement {
    Statement {
        sql: INSERT,
        params: params![
            id,
            new.title(),
            new.year(),
            new.description(),
            new.director(),
            new.created_event(id),
            key.map(Key::as_str),
            key.map(|_| new.digest().to_vec()),
        ],
    }
}

/// The statement of `create_many`.
pub fn insert_many(movies: &[(Uuid, NewMovie)], keys: Option<&[Key]>) -> Statement {
    let news = || movies.iter().map(|(_, new)| new);
    Statement {
        sql: INSERT_MANY,
        params: vec![
            array(movies.iter().map(|(id, _)| *id)),
            array(news().map(NewMovie::title)),
            array(news().map(|new| new.year().map(i32::from))),
            array(news().map(NewMovie::description)),
            array(news().map(NewMovie::director)),
            array(movies.iter().map(|(id, new)| new.created_event(*id))),
            array(keys.unwrap_or_default().iter().map(Key::as_str)),
            array(news().map(|new| keys.map(|_| hex::encode(new.digest())))),
        ],
    }
}

/// The statement that finds who has a title and a year.
pub fn holder(new: &NewMovie) -> Statement {
    Statement {
        sql: HOLDER,
        params: params![new.title(), new.year()],
    }
}

/// The statement of `replace`.
pub fn update(movie: &Movie, renamed: bool) -> Statement {
    let version = i64::try_from(movie.version).unwrap_or(i64::MAX);
    Statement {
        sql: UPDATE,
        params: params![
            movie.id,
            version,
            movie.title.as_str(),
            movie.year,
            movie.description.as_str(),
            movie.director.as_str(),
            movie.updated_event(),
            renamed,
        ],
    }
}

/// The statement of `delete`.
pub fn remove(id: Uuid, expected: Option<u64>) -> Statement {
    // No movie has a version beyond what the column holds.
    let expected = expected.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
    Statement {
        sql: DELETE,
        params: params![id, expected, deleted_event(id)],
    }
}

/// Two with one key at once: the other one has taken the key meanwhile. What it created is seen by the next attempt, as it
/// is where the other one took title and year first.
fn is_claimed(error: &Error) -> bool {
    error.constraint() == Some("creations_pkey")
}

/// None where title and year were taken while the statement ran.
fn created(mut row: Row, new: NewMovie) -> Result<Option<Created>, Error> {
    if row.take("is_reused")? {
        return Ok(Some(Created::KeyReused));
    }
    if let Some(id) = row.take("id")? {
        let created_at_ms = row.take("created_at_ms")?;
        return Ok(Some(Created::Movie(new.created(id, created_at_ms))));
    }
    Ok(row.take::<Option<Uuid>>("holder")?.map(Created::Exists))
}

/// A statement that waited for another one does not see its row; the next one does.
async fn holder_of(new: &NewMovie) -> Result<Created, Error> {
    let row = holder(new).optional().await?;
    let mut row = row.ok_or_else(meanwhile)?;
    Ok(Created::Exists(row.take("id")?))
}

/// Why a change to a movie of the expected version was not made.
fn left(mut row: Row, expected: Option<u64>) -> Result<Changed, Error> {
    match row.take::<Option<u64>>("version")? {
        None => Ok(Changed::Unknown),
        // It was changed after the statement had begun.
        Some(version) if expected.is_none_or(|expected| expected == version) => Err(meanwhile()),
        Some(version) => Ok(Changed::Meanwhile(version)),
    }
}

fn meanwhile() -> Error {
    Error::conflict("the movie, its title or its key changed hands meanwhile")
}

/// Of a title and a year, whatever version of the component wrote the row.
const TAKEN: [&str; 2] = ["movies_folded_title_year_key", "movies_title_key_key"];

/// `$1` id, `$2` title, `$3` year, `$4` description, `$5` director, `$6` the event, `$7` the idempotency key or null, `$8`
/// the digest of the rest. One row: whether the key belongs to another creation; id and time of the movie that is created,
/// now or before; who has title and year. Neither of the last two where these were taken while the statement ran. A key
/// that another statement takes meanwhile breaks creations_pkey, and all of it. The event hangs on the inserted row, so
/// there is none without it.
const INSERT: &str = "
with earlier as materialized (
    select c.movie_id, c.created_at, c.request_digest = $8 as is_same
    from creations as c
    where c.key = $7
),
holder as materialized (
    select m.id
    from movies as m
    where m.folded_title = movie_title_fold($2) and m.year is not distinct from $3::integer
    limit 1
),
inserted as (
    insert into movies (id, title, title_key, year, description, director, is_folded)
    select $1::uuid, $2, movie_title_key($2, $3::integer::smallint), $3::integer, $4, $5, true
    where not exists (select from earlier) and not exists (select from holder)
    on conflict do nothing
    returning id, created_at
),
claimed as (
    insert into creations (key, request_digest, movie_id, created_at)
    select $7::text, $8, i.id, i.created_at
    from inserted as i
    where $7::text is not null
),
swept as (
    delete from creations as c
    where c.key in (
        select o.key
        from creations as o
        where $7::text is not null and o.created_at < now() - interval '24 hours'
        order by o.created_at
        limit 10
        for update skip locked
    )
)
select coalesce(not e.is_same, false) as is_reused,
    coalesce(i.id, e.movie_id) as id,
    (extract(epoch from coalesce(i.created_at, e.created_at)) * 1000)::bigint as created_at_ms,
    (select h.id from holder as h) as holder,
    case when i.id is not null
        then marquee.publish('metadata', i.id::text, '{}', convert_to($6, 'UTF8'))
    end
from (values (1)) as one (row)
left join inserted as i on true
left join earlier as e on true";

/// Arrays: `$1` ids, `$2` titles, `$3` years, `$4` descriptions, `$5` directors, `$6` events, `$7` idempotency keys or none,
/// `$8` digests in hexadecimal, null without keys. One row each, in their order, as of [`INSERT`]; where one key belongs to
/// another creation, all of them say so, and nothing is created. Movies and keys are inserted in the order of what is unique,
/// so that two statements with the same ones do not wait for each other in a circle, and of one title and year the first one
/// first.
const INSERT_MANY: &str = "
with given as materialized (
    select g.n, g.id, g.title, g.year::smallint as year, g.description, g.director, g.event,
        movie_title_fold(g.title) as folded_title, g.key, decode(g.digest, 'hex') as digest
    from unnest($1::text[]::uuid[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
        with ordinality as g (id, title, year, description, director, event, key, digest, n)
),
earlier as materialized (
    select g.n, c.movie_id, c.created_at, c.request_digest = g.digest as is_same
    from given as g
    join creations as c on c.key = g.key
),
holders as materialized (
    select g.n, (
        select m.id
        from movies as m
        where m.folded_title = g.folded_title and m.year is not distinct from g.year
        limit 1
    ) as id
    from given as g
),
inserted as (
    insert into movies (id, title, title_key, year, description, director, is_folded)
    select g.id, g.title, movie_title_key(g.title, g.year), g.year, g.description, g.director, true
    from given as g
    join holders as h on h.n = g.n
    where h.id is null
        and not exists (select from earlier as e where e.n = g.n)
        and not exists (select from earlier as e where not e.is_same)
    order by g.folded_title collate \"C\", g.year, g.n
    on conflict do nothing
    returning id, folded_title, year, created_at
),
claimed as (
    insert into creations (key, request_digest, movie_id, created_at)
    select g.key, g.digest, i.id, i.created_at
    from inserted as i
    join given as g on g.id = i.id
    where g.key is not null
    order by g.key
),
swept as (
    delete from creations as c
    where c.key in (
        select o.key
        from creations as o
        where cardinality($7::text[]) > 0 and o.created_at < now() - interval '24 hours'
        order by o.created_at
        limit 10 * cardinality($7::text[])
        for update skip locked
    )
)
select exists (select from earlier as e where not e.is_same) as is_reused,
    coalesce(i.id, e.movie_id) as id,
    (extract(epoch from coalesce(i.created_at, e.created_at)) * 1000)::bigint as created_at_ms,
    coalesce(h.id, f.id) as holder,
    case when i.id is not null
        then marquee.publish('metadata', i.id::text, '{}', convert_to(g.event, 'UTF8'))
    end
from given as g
join holders as h on h.n = g.n
left join earlier as e on e.n = g.n
left join inserted as i on i.id = g.id
left join inserted as f on f.folded_title = g.folded_title and f.year is not distinct from g.year
order by g.n";

/// `$1` title, `$2` year. The id that has them.
const HOLDER: &str = "
select m.id
from movies as m
where m.folded_title = movie_title_fold($1) and m.year is not distinct from $2::integer
limit 1";

/// `$1` id, `$2` the new version, `$3` title, `$4` year, `$5` description, `$6` director, `$7` the event, `$8` whether title
/// or year are new. One row: whether it is done; who has title and year; the version that there was before, null where
/// there is no such movie.
const UPDATE: &str = "
with holder as materialized (
    select m.id
    from movies as m
    where $8::boolean and m.folded_title = movie_title_fold($3) and m.year is not distinct from $4::integer
        and m.id <> $1::uuid
    limit 1
),
updated as (
    update movies as m
    set title = $3,
        title_key = case when $8::boolean then movie_title_key($3, $4::integer::smallint) else m.title_key end,
        is_folded = m.is_folded or $8::boolean,
        year = $4::integer,
        description = $5,
        director = $6,
        version = $2::bigint
    where m.id = $1::uuid and m.version = $2::bigint - 1 and not exists (select from holder)
    returning m.id
)
select u.id is not null as is_done,
    (select h.id from holder as h) as holder,
    (select m.version from movies as m where m.id = $1::uuid) as version,
    case when u.id is not null
        then marquee.publish('metadata', u.id::text, '{}', convert_to($7, 'UTF8'))
    end,
    case when u.id is not null then marquee.touch('movie:' || u.id) end
from (values (1)) as one (row)
left join updated as u on true";

/// `$1` id, `$2` the expected version or null, `$3` the event. One row: whether it is done; the version that there was, null
/// where there is no such movie.
const DELETE: &str = "
with deleted as (
    delete from movies as m
    where m.id = $1::uuid and ($2::bigint is null or m.version = $2::bigint)
    returning m.id
)
select d.id is not null as is_done,
    (select m.version from movies as m where m.id = $1::uuid) as version,
    case when d.id is not null
        then marquee.publish('metadata', d.id::text, '{}', convert_to($3, 'UTF8'))
    end,
    case when d.id is not null then marquee.touch('movie:' || d.id) end
from (values (1)) as one (row)
left join deleted as d on true";
