//! What reads movies.
//!
//! A page is read in the order of an index, or found by its words, its prefix or its year and sorted; which is better
//! depends on how many movies have them. So each of these statements is planned with its values whenever it is sent, and
//! never once for all values: see `page`. Where a page by relevance is not full, the lexicon has the words that are like
//! the query's.

use marquee_guest::{
    params,
    sql::{Error, Param, array},
};
use uuid::Uuid;

use super::{Statement, movie};
use crate::domain::{Ids, Movie, Part, Position, Selection, Sort};

/// The movie with this id.
pub(crate) async fn by_id(id: Uuid) -> Result<Option<Movie>, Error> {
    let row = one(id).optional().await?;
    row.map(movie).transpose()
}

/// The movies with these ids, in their order.
pub(crate) async fn by_ids(ids: &Ids) -> Result<Vec<Movie>, Error> {
    many(ids).query().await?.map(movie).collect()
}

/// Which of these movies there are, and the time in microseconds.
pub(crate) async fn existing(ids: &Ids) -> Result<(Vec<String>, u64), Error> {
    let mut row = some(ids).one().await?;
    let ids: Vec<Option<String>> = row.take("ids")?;
    Ok((ids.into_iter().flatten().collect(), row.take("now_us")?))
}

/// The movies of a page, and one more where there is a next page.
pub(crate) async fn page(selection: &Selection) -> Result<Vec<(Part, Movie)>, Error> {
    // One more tells whether there is a next page.
    let enough = usize::try_from(selection.limit())
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut found = Vec::new();
    for part in parts(selection) {
        let rows = stretch(selection, *part, enough - found.len())
            .query()
            .await?;
        for row in rows {
            found.push((*part, movie(row)?));
        }
        if found.len() >= enough {
            return Ok(found);
        }
    }
    if selection.sort() == Sort::Relevance && selection.after().is_none() {
        // No more than the page holds: these have no next one.
        let room = enough - 1 - found.len();
        if room > 0
            && let Some(words) = like(selection)
                .one()
                .await?
                .take::<Option<String>>("words")?
        {
            for row in near(selection, &words, room).query().await? {
                found.push((Part::Others, movie(row)?));
            }
        }
    }
    Ok(found)
}

/// The parts that a page may have movies of, in order.
pub fn parts(selection: &Selection) -> &'static [Part] {
    let after = selection.after().map(|after| after.part);
    match (selection.sort(), after) {
        (Sort::Relevance, Some(Part::Others)) | (Sort::Title | Sort::Year | Sort::Newest, _) => {
            &[Part::Others]
        }
        (Sort::Relevance, _) => &[Part::Beginnings, Part::Others],
    }
}

/// The statement of `by_id`.
pub fn one(id: Uuid) -> Statement {
    Statement {
        sql: BY_ID,
        params: params![id],
    }
}

/// The statement of `by_ids`.
pub fn many(ids: &Ids) -> Statement {
    Statement {
        sql: BY_IDS,
        params: vec![array(ids.iter())],
    }
}

/// The statement of `existing`.
pub fn some(ids: &Ids) -> Statement {
    Statement {
        sql: EXISTING,
        params: vec![array(ids.iter())],
    }
}

/// At most `limit` movies of a part of the list.
pub fn stretch(selection: &Selection, part: Part, limit: usize) -> Statement {
    let sql = match (selection.sort(), part) {
        (Sort::Title, _) if selection.prefix().is_some() => BY_FOLDED_TITLE,
        (Sort::Title, _) => BY_TITLE,
        (Sort::Year, _) => BY_YEAR,
        (Sort::Newest, _) => NEWEST,
        (Sort::Relevance, Part::Beginnings) => BEGINNINGS,
        (Sort::Relevance, Part::Others) => OTHERS,
    };
    // Behind a movie of the part before stands the whole part.
    let after = selection.after().filter(|after| after.part == part);
    let mut params = filter(selection, limit);
    params.push(Param::from(after.map(|after| after.id)));
    if selection.sort() != Sort::Newest {
        params.push(Param::from(after.map(|after| after.title.as_str())));
    }
    if selection.sort() == Sort::Year {
        params.push(Param::from(after.map(year)));
    }
    Statement { sql, params }
}

/// The statement that looks up words like the query's.
pub fn like(selection: &Selection) -> Statement {
    Statement {
        sql: LIKE,
        params: params![selection.query()],
    }
}

/// The statement that finds movies by words like the query's.
pub fn near(selection: &Selection, words: &str, limit: usize) -> Statement {
    let mut params = filter(selection, limit);
    params.push(Param::from(words));
    Statement { sql: NEAR, params }
}

fn filter(selection: &Selection, limit: usize) -> Vec<Param> {
    params![
        i64::try_from(limit).unwrap_or(i64::MAX),
        selection.query(),
        selection.prefix(),
        selection.year(),
    ]
}

fn year(after: &Position) -> i32 {
    after.year.map_or(WITHOUT_YEAR, i32::from)
}

/// As the index by year has it.
const WITHOUT_YEAR: i32 = 9999;

macro_rules! columns {
    () => {
        "id, title, year, description, director, version, (extract(epoch from created_at) * 1000)::bigint as created_at_ms"
    };
}

/// `$1` limit, `$2` query, `$3` prefix, `$4` year: these three or null.
///
/// The first condition is true at once where the plan knows the limit. A plan for all values would have to count on
/// generating a long series, so PostgreSQL never takes one, though it weighs it after a statement has run five times.
macro_rules! filter {
    () => {
        "
where ($1::bigint is not null or (select count(*) from generate_series(1, 1000000000000)) = 0)
    and ($3::text is null or folded_title >= movie_title_fold($3) and folded_title < movie_title_fold($3) || chr(1114111))
    and ($4::integer is null or coalesce(year, 9999) = $4)
    and "
    };
}

/// Each word of the query is one of the title; the last one, which may not be all typed, begins one. A query without a
/// word finds nothing. A last word of one or two letters may begin so many words that their list is not worth reading: where
/// others stand before it, it is looked for among the beginnings that each title has.
macro_rules! found {
    () => {
        "title_lexemes @@ movie_query($2)
        and (movie_query_beginning($2) is null or movie_title_beginnings(title_words) @> movie_query_beginning($2))"
    };
}

macro_rules! begins {
    () => {
        "title_words >= nullif(movie_title_words($2), '') and title_words < nullif(movie_title_words($2), '') || chr(1114111)"
    };
}

/// Which movies a page has is read from the index that is in its order, or from that of the words; what they are, from
/// their rows.
///
/// PostgreSQL weighs one index against the other by what rows cost on a disk. They come from memory, mostly; so that it
/// does not walk far along an order to spare some rows, the inner limit speaks of four times as many as are taken.
macro_rules! sorted {
    ($condition:expr, $keys:literal, $order:literal, $after:literal) => {
        concat!(
            "select ",
            columns!(),
            " from (select id as page_id",
            $keys,
            " from movies",
            filter!(),
            $condition,
            " and ($5::uuid is null or ",
            $after,
            ") order by ",
            $order,
            " limit $1 * 4) as page join movies on id = page_id order by ",
            $order,
            " limit $1"
        )
    };
}

/// As [`filter!`]; `$5` id and `$6` title of the movie behind which it begins, or null.
const BY_TITLE: &str = sorted!(
    concat!("($2::text is null or ", found!(), ")"),
    ", title collate \"und-x-icu\" as key",
    "key, page_id",
    "(title collate \"und-x-icu\", id) > ($6::text, $5::uuid)"
);

/// The same, by the folded title.
const BY_FOLDED_TITLE: &str = sorted!(
    concat!("($2::text is null or ", found!(), ")"),
    ", folded_title as key",
    "key, page_id",
    "(folded_title, id) > (movie_title_fold($6::text), $5::uuid)"
);

/// The same, by year; `$7` the year behind which it begins, 9999 for none.
const BY_YEAR: &str = sorted!(
    concat!("($2::text is null or ", found!(), ")"),
    ", coalesce(year, 9999) as year_key, title collate \"und-x-icu\" as key",
    "year_key, key, page_id",
    "(coalesce(year, 9999), title collate \"und-x-icu\", id) > ($7::integer, $6::text, $5::uuid)"
);

/// The same without `$6`, the newest first: ids are made in the order of time.
const NEWEST: &str = sorted!(
    concat!("($2::text is null or ", found!(), ")"),
    "",
    "page_id desc",
    "id < $5::uuid"
);

/// The same, of what begins with the words of `$2`.
const BEGINNINGS: &str = sorted!(
    begins!(),
    ", title_words as key",
    "key, page_id",
    "(title_words, id) > (movie_title_words($6::text), $5::uuid)"
);

/// The same, of what has the words of `$2` elsewhere.
const OTHERS: &str = sorted!(
    concat!(found!(), " and not (", begins!(), ")"),
    ", title_words as key",
    "key, page_id",
    "(title_words, id) > (movie_title_words($6::text), $5::uuid)"
);

/// `$1` a query. One row: a `tsquery` of its words, where one that no title has may be one of the words that are like it;
/// null where there is nothing like any. The bounds: 8 words of the query, and 8 for each.
const LIKE: &str = "
select case when count(l.words) > 0 then string_agg(
    '(''' || w.word || '''' || case when w.n = w.last then ':*' else '' end || coalesce(l.words, '') || ')', ' & ' order by w.n
) end as words
from (
    select u.word, u.n, count(*) over () as last
    from unnest(string_to_array(movie_title_words($1), ' ')) with ordinality as u (word, n)
) as w
left join lateral (
    select string_agg(' | ''' || o.word || '''', '') as words
    from lexicon_like(w.word, 8) as o (word)
    where w.n <= 8 and not exists (
        select from lexicon as k
        where k.word >= w.word and k.word < w.word || case when w.n = w.last then chr(1114111) else chr(1) end
    )
) as l on true";

/// As [`filter!`]; `$5` what [`LIKE`] made. Of at most 100 movies the ones that are most like the query, without those that
/// have its words.
const NEAR: &str = concat!(
    "select ",
    columns!(),
    " from (select * from movies",
    filter!(),
    "title_lexemes @@ $5::text::tsquery and not (",
    found!(),
    ") limit 100) as m
order by similarity(title_words, movie_title_words($2)) desc, title_words, id
limit $1"
);

/// `$1` id.
const BY_ID: &str = concat!("select ", columns!(), " from movies where id = $1::uuid");

/// `$1` ids. In their order.
const BY_IDS: &str = concat!(
    "select ",
    columns!(),
    "
from unnest($1::text[]::uuid[]) with ordinality as g (id, n)
join movies using (id)
order by g.n"
);

/// `$1` ids. One row.
const EXISTING: &str = "
select array(select m.id::text from movies as m where m.id = any($1::text[]::uuid[])) as ids,
    (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us";
