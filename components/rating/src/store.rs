//! Ratings in PostgreSQL: every statement that the component sends.
//!
//! Promises: each statement leaves ratings and aggregates in agreement by itself, so it needs no transaction
//! around it. A record's aggregate is locked before any rating of it is touched, records in the order of their
//! key: batches that run at once wait for each other and not in a circle (but where one makes records known that it
//! also rates; PostgreSQL breaks that circle, and the host repeats the batch). Applying an act again, or one that is
//! older than what stands, changes nothing. Neither does one by a user who was erased: erasing keeps all writers of
//! ratings out while it runs, so none that began before it comes after it.

use std::collections::BTreeSet;

use marquee_guest::{
    params,
    sql::{Database, Error, Row, array},
};

use crate::domain::{Aggregate, Event, PageQuery, Position, Record};

const DB: Database = Database::at("rating_database_url");

/// What came of an act that a command brought.
pub(crate) enum Taken {
    /// It stands, or it was older than what stands.
    Applied,
    /// Its id was counted before.
    Duplicate,
}

/// A user's rating as it stands.
pub(crate) struct Standing {
    pub(crate) position: Position,
    pub(crate) value: u8,
}

/// Make records known: each has an aggregate from now on.
pub(crate) async fn know(records: impl IntoIterator<Item = &Record>) -> Result<(), Error> {
    let (kinds, ids): (Vec<_>, Vec<_>) = records
        .into_iter()
        .map(|record| (record.kind(), record.id()))
        .unzip();
    if !ids.is_empty() {
        DB.execute(KNOW, params![array(kinds), array(ids)]).await?;
    }
    Ok(())
}

/// Apply acts, at most one of a user on a record. Returns the records that are not known; their acts did nothing.
pub(crate) async fn apply(events: &[&Event]) -> Result<BTreeSet<Record>, Error> {
    if events.is_empty() {
        return Ok(BTreeSet::new());
    }
    let events = || events.iter();
    let params = params![
        array(events().map(|event| event.record().kind())),
        array(events().map(|event| event.record().id())),
        array(events().map(|event| event.user())),
        array(events().map(|event| event.value())),
        array(events().map(|event| event.occurred_at_us().cast_signed())),
        array(events().map(|event| event.id())),
    ];
    let mut rows = DB.query(APPLY, params).await?;
    rows.try_fold(BTreeSet::new(), |mut unknown, mut row| {
        unknown.insert(record(&mut row)?);
        Ok(unknown)
    })
}

/// Take one act that did not come over the bus: count its id and apply it. Its record is known from now on.
pub(crate) async fn submit(event: &Event) -> Result<Taken, Error> {
    if let Some(taken) = take(event).await? {
        return Ok(taken);
    }
    know([event.record()]).await?;
    let taken = take(event).await?;
    taken.ok_or_else(|| {
        Error::Broken(format!(
            "{} is not known though it just was",
            event.record()
        ))
    })
}

/// The same, or nothing where its record is not known.
async fn take(event: &Event) -> Result<Option<Taken>, Error> {
    let params = params![
        event.id(),
        event.record().kind(),
        event.record().id(),
        event.user(),
        event.value().map(i32::from),
        event.occurred_at_us().cast_signed(),
    ];
    let Some(mut row) = DB.optional(SUBMIT, params).await? else {
        return Ok(None);
    };
    Ok(Some(match row.take("fresh")? {
        true => Taken::Applied,
        false => Taken::Duplicate,
    }))
}

/// Delete all ratings of these users, by their ids, for ever.
pub(crate) async fn erase<'a>(users: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    DB.execute(ERASE, params![array(users)]).await?;
    Ok(())
}

/// What a record's ratings come to; none where it is not known.
pub(crate) async fn aggregate(record: &Record) -> Result<Option<Aggregate>, Error> {
    let Some(mut row) = DB
        .optional(AGGREGATE, params![record.kind(), record.id()])
        .await?
    else {
        return Ok(None);
    };
    Ok(Some(Aggregate {
        sum: row.take("rating_sum")?,
        count: row.take("rating_count")?,
    }))
}

/// The ratings of a page, and one more where there is one.
pub(crate) async fn by_user(page: &PageQuery) -> Result<Vec<Standing>, Error> {
    // Before the first page stands a time that no act can have.
    let (at, kind, id) = page.after().map_or((i64::MAX, "", ""), |after| {
        let record = &after.record;
        (
            after.occurred_at_us.cast_signed(),
            record.kind(),
            record.id(),
        )
    });
    let limit = i64::from(page.limit()) + 1;
    let rows = DB
        .query(BY_USER, params![page.user(), at, kind, id, limit])
        .await?;
    rows.map(|mut row| {
        Ok(Standing {
            position: Position {
                record: record(&mut row)?,
                occurred_at_us: row.take("occurred_at_us")?,
            },
            value: row.take("value")?,
        })
    })
    .collect()
}

fn record(row: &mut Row) -> Result<Record, Error> {
    let (kind, id): (String, String) = (row.take("record_type")?, row.take("record_id")?);
    Record::parse(&kind, &id).map_err(|error| Error::Broken(error.to_string()))
}

/// `$1` kinds, `$2` ids: make each record known. In the order of the key, as everything that locks records.
pub const KNOW: &str = r#"
insert into aggregated_ratings (record_type, record_id)
select r.record_type, r.record_id
from unnest($1::text[], $2::text[]) as r (record_type, record_id)
order by r.record_type collate "C", r.record_id collate "C"
on conflict on constraint aggregated_ratings_pkey do nothing"#;

/// `$1` kinds, `$2` ids, `$3` users, `$4` values (null: taken away), `$5` times, `$6` event ids: at most one act
/// of a user on a record. Rows: the records that are not known. Acts of users who were erased are passed over.
///
/// `written` is asked for the rows as they are after whoever changed them last, not as they were when the statement
/// began, and reports what it replaced; so the differences are right whatever runs beside it. `known` has sum and
/// count as they are under the lock that it takes, after waiting where it had to; the update adds to those, since
/// its own view of the row is of the time when the statement began.
pub const APPLY: &str = "
with events as (
    select *
    from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::text[])
        as e (record_type, record_id, user_id, value, occurred_at_us, event_id)
    where not exists (select from erased_users as x where x.user_id = e.user_id)
),
known as materialized (
    select a.record_type, a.record_id, a.rating_sum, a.rating_count
    from aggregated_ratings as a
    where (a.record_type, a.record_id) in (select e.record_type, e.record_id from events as e)
    order by a.record_type, a.record_id
    for no key update of a
),
written as (
    insert into ratings as r (record_type, record_id, user_id, value, occurred_at_us, event_id)
    select e.record_type, e.record_id, e.user_id, e.value, e.occurred_at_us, e.event_id::uuid
    from events as e
    join known as k on k.record_type = e.record_type and k.record_id = e.record_id
    on conflict on constraint ratings_pkey do update
    set value = excluded.value,
        replaced_value = r.value,
        occurred_at_us = excluded.occurred_at_us,
        event_id = excluded.event_id
    where (r.occurred_at_us, r.event_id) < (excluded.occurred_at_us, excluded.event_id)
    returning r.record_type, r.record_id, r.value, r.replaced_value
),
moved as (
    select w.record_type, w.record_id,
        sum(coalesce(w.value, 0) - coalesce(w.replaced_value, 0)) as rating_sum,
        count(w.value) - count(w.replaced_value) as rating_count
    from written as w
    group by w.record_type, w.record_id
),
aggregated as (
    update aggregated_ratings as a
    set rating_sum = k.rating_sum + m.rating_sum,
        rating_count = k.rating_count + m.rating_count
    from moved as m
    join known as k on k.record_type = m.record_type and k.record_id = m.record_id
    where a.record_type = m.record_type and a.record_id = m.record_id
)
select distinct e.record_type, e.record_id
from events as e
where not exists (
    select from known as k where k.record_type = e.record_type and k.record_id = e.record_id
)";

/// `$1` event id, `$2` kind, `$3` id, `$4` user, `$5` value (null: taken away), `$6` time. One row: whether the id was
/// new; no row where the record is not known. The id is counted under the record's lock and only where the record is
/// known, and everything hangs on it being new; the rest is as in [`APPLY`].
pub const SUBMIT: &str = "
with known as materialized (
    select a.record_type, a.record_id, a.rating_sum, a.rating_count
    from aggregated_ratings as a
    where a.record_type = $2 and a.record_id = $3
    for no key update of a
),
accepted as materialized (
    select marquee.accept('rating', $1::uuid) as fresh from known
),
written as (
    insert into ratings as r (record_type, record_id, user_id, value, occurred_at_us, event_id)
    select k.record_type, k.record_id, $4, $5::integer, $6, $1::uuid
    from known as k
    where (select c.fresh from accepted as c)
        and not exists (select from erased_users as x where x.user_id = $4)
    on conflict on constraint ratings_pkey do update
    set value = excluded.value,
        replaced_value = r.value,
        occurred_at_us = excluded.occurred_at_us,
        event_id = excluded.event_id
    where (r.occurred_at_us, r.event_id) < (excluded.occurred_at_us, excluded.event_id)
    returning r.record_type, r.record_id, r.value, r.replaced_value
),
aggregated as (
    update aggregated_ratings as a
    set rating_sum = k.rating_sum + coalesce(w.value, 0) - coalesce(w.replaced_value, 0),
        rating_count = k.rating_count + (w.value is not null)::integer - (w.replaced_value is not null)::integer
    from written as w
    join known as k on k.record_type = w.record_type and k.record_id = w.record_id
    where a.record_type = w.record_type and a.record_id = w.record_id
)
select c.fresh from accepted as c";

/// `$1` ids of users.
pub const ERASE: &str = "select erase_users($1::text[])";

/// `$1` kind, `$2` id. Sum and count.
pub const AGGREGATE: &str = "
select rating_sum, rating_count
from aggregated_ratings
where record_type = $1 and record_id = $2";

/// `$1` user, `$2` time, `$3` kind and `$4` id of the rating before, `$5` how many. Newest first.
pub const BY_USER: &str = "
select record_type, record_id, value, occurred_at_us
from ratings
where user_id = $1
    and value is not null
    and (occurred_at_us, record_type, record_id) < ($2, $3, $4)
order by occurred_at_us desc, record_type desc, record_id desc
limit $5";
