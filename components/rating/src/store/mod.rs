//! Ratings in PostgreSQL: every statement that the component sends.
//!
//! Promise: each statement leaves ratings and aggregates in agreement by itself, so it needs no transaction
//! around it. A record's aggregate is locked before any rating of it is touched, records in the order of their
//! key: batches that run at once wait for each other and not in a circle (but where one makes records known that it
//! also rates; PostgreSQL breaks that circle, and the host repeats the batch). Applying an act again, or one that is
//! older than what stands, changes nothing. Neither does one by a user who was erased: erasing keeps all writers of
//! ratings out while it runs, so none that began before it comes after it. Nor one of a record that is gone.
//!
//! Statements are `statements`, which change, and `questions`; what stands here sends them and reads their rows.

mod questions;
mod statements;

use std::collections::BTreeSet;

use marquee_guest::{
    params,
    sql::{Database, Error, Param, Row, array},
};
use uuid::Uuid;

use crate::domain::{Aggregate, Event, Histogram, OfRecord, OfUser, Ranked, Record, rivals};

pub use questions::{AGGREGATES, BY_USER, EVENTS, HISTOGRAM, OF_RECORD, RANKED, RATING};
pub use statements::{APPLY, ERASE, KNOW, REMOVE, SUBMIT};

const DB: Database = Database::at("rating_database_url");

/// Acts that were not applied.
#[derive(Default)]
pub(crate) struct Left {
    /// The records that are not known; their acts did nothing.
    pub(crate) unknown: BTreeSet<Record>,
    /// If some act was ahead of the clock and did nothing: the latest time that one may have, in microseconds.
    pub(crate) latest_us: Option<u64>,
}

/// What came of an act that a command brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stands, or nothing can come of it any more.
    Applied,
    /// Its id was counted before.
    Duplicate,
    /// Its time is too far ahead of the clock; it did nothing.
    Ahead,
}

/// A user's rating as it stands.
pub(crate) struct Standing {
    pub(crate) record: Record,
    pub(crate) user: String,
    pub(crate) value: u8,
    pub(crate) occurred_at_us: u64,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Unseen,
    Waiting,
    Applied,
    Rejected,
    /// Another act under its idempotency key came.
    Rival,
}

/// Make records known: each has an aggregate from now on.
pub(crate) async fn know(records: impl IntoIterator<Item = &Record>) -> Result<(), Error> {
    send(KNOW, records).await
}

/// Put records out of sight, for ever.
pub(crate) async fn remove(records: impl IntoIterator<Item = &Record>) -> Result<(), Error> {
    let records: Vec<&Record> = records.into_iter().collect();
    // One of which nobody heard may still be rated by a late event.
    know(records.iter().copied()).await?;
    send(REMOVE, records).await
}

async fn send(statement: &str, records: impl IntoIterator<Item = &Record>) -> Result<(), Error> {
    let (kinds, ids): (Vec<_>, Vec<_>) = records
        .into_iter()
        .map(|record| (record.kind(), record.id()))
        .unzip();
    if !ids.is_empty() {
        DB.execute(statement, params![array(kinds), array(ids)])
            .await?;
    }
    Ok(())
}

/// Apply acts, at most one of a user on a record.
pub(crate) async fn apply(events: &[&Event]) -> Result<Left, Error> {
    if events.is_empty() {
        return Ok(Left::default());
    }
    let mut rows = DB.query(APPLY, columns(events)).await?;
    rows.try_fold(Left::default(), |mut left, mut row| {
        match row.take("latest_us")? {
            Some(latest_us) => left.latest_us = Some(latest_us),
            None => {
                left.unknown.insert(record(&mut row)?);
            }
        }
        Ok(left)
    })
}

/// Take acts that did not come over the bus: count their ids and apply them. Their records are known from now on.
pub(crate) async fn submit(events: &[&Event]) -> Result<Vec<Taken>, Error> {
    let mut taken = take(events).await?;
    let rows = || taken.iter().zip(events);
    let unknown: Vec<&Event> = rows()
        .filter_map(|(taken, event)| taken.is_none().then_some(*event))
        .collect();
    if !unknown.is_empty() {
        let records: BTreeSet<&Record> = unknown.iter().map(|event| event.record()).collect();
        know(records).await?;
        let mut again = take(&unknown).await?.into_iter();
        for outcome in taken.iter_mut().filter(|outcome| outcome.is_none()) {
            *outcome = again.next().flatten();
        }
    }
    let taken: Option<Vec<Taken>> = taken.into_iter().collect();
    taken.ok_or_else(|| Error::Broken("a record is not known though it just was".to_owned()))
}

/// The same; none where the record is not known.
async fn take(events: &[&Event]) -> Result<Vec<Option<Taken>>, Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let rows = DB.query(SUBMIT, columns(events)).await?;
    rows.map(|mut row| {
        let outcome: String = row.take("outcome")?;
        Ok(match outcome.as_str() {
            "applied" => Some(Taken::Applied),
            "duplicate" => Some(Taken::Duplicate),
            "ahead" => Some(Taken::Ahead),
            _ => None,
        })
    })
    .collect()
}

/// Acts as the parameters of a statement.
fn columns(events: &[&Event]) -> Vec<Param> {
    let events = || events.iter();
    params![
        array(events().map(|event| event.record().kind())),
        array(events().map(|event| event.record().id())),
        array(events().map(|event| event.user())),
        array(events().map(|event| event.value())),
        array(events().map(|event| event.occurred_at_us().cast_signed())),
        array(events().map(|event| event.id())),
    ]
}

/// Delete all ratings of these users, by their ids, for ever.
pub(crate) async fn erase<'a>(users: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    DB.execute(ERASE, params![array(users)]).await?;
    Ok(())
}

/// What the ratings of those of the records that are known come to.
pub(crate) async fn aggregates(
    kind: &str,
    ids: &[String],
) -> Result<Vec<(String, Aggregate)>, Error> {
    let ids = array(ids.iter().map(String::as_str));
    let rows = DB.query(AGGREGATES, params![kind, ids]).await?;
    rows.map(|mut row| Ok((row.take("record_id")?, aggregate(&mut row)?)))
        .collect()
}

/// How a record's ratings are spread; none where it is not known.
pub(crate) async fn histogram(record: &Record) -> Result<Option<Histogram>, Error> {
    let params = params![record.kind(), record.id()];
    let Some(mut row) = DB.optional(HISTOGRAM, params).await? else {
        return Ok(None);
    };
    let mut histogram = Histogram::default();
    for (value, count) in (1..).zip(&mut histogram.0) {
        *count = row.take(&format!("rated_{value}"))?;
    }
    Ok(Some(histogram))
}

/// A user's rating of a record.
pub(crate) async fn rating(record: &Record, user: &str) -> Result<Option<Standing>, Error> {
    let params = params![record.kind(), record.id(), user];
    let row = DB.optional(RATING, params).await?;
    row.map(|mut row| standing(&mut row)).transpose()
}

/// The ratings of a page, each with its place, and one more where there is one.
pub(crate) async fn by_user(user: &str, page: &OfUser) -> Result<Vec<(i64, Standing)>, Error> {
    let after = page.after().copied().unwrap_or(i64::MAX);
    let rows = DB
        .query(BY_USER, params![user, after, page.reads()])
        .await?;
    rows.map(|mut row| Ok((row.take("place")?, standing(&mut row)?)))
        .collect()
}

/// The ratings of a page, each with its user, and one more where there is one.
pub(crate) async fn of_record(
    record: &Record,
    page: &OfRecord,
) -> Result<Vec<(String, Standing)>, Error> {
    let after = page.after().map_or("", String::as_str);
    let params = params![record.kind(), record.id(), after, page.reads()];
    let rows = DB.query(OF_RECORD, params).await?;
    rows.map(|mut row| {
        let standing = standing(&mut row)?;
        Ok((standing.user.clone(), standing))
    })
    .collect()
}

/// The records of a page, each with where it stands, and one more where there is one.
pub(crate) async fn ranked(
    kind: &str,
    page: &Ranked,
) -> Result<Vec<((i16, String), Aggregate)>, Error> {
    // Before the first page stands a score that no record can have.
    let (score, id) = page
        .after()
        .map_or((i16::MAX, ""), |(score, id)| (*score, id.as_str()));
    let params = params![kind, score, id, page.reads()];
    let rows = DB.query(RANKED, params).await?;
    rows.map(|mut row| {
        let position = (row.take("score")?, row.take("record_id")?);
        Ok((position, aggregate(&mut row)?))
    })
    .collect()
}

/// What became of each of these events.
pub(crate) async fn fates(events: &[Uuid]) -> Result<Vec<Fate>, Error> {
    let keys = || events.iter().map(|id| rivals(*id));
    let params = params![
        array(events.iter().copied()),
        array(keys().map(|range| range.map(|range| *range.start()))),
        array(keys().map(|range| range.map(|range| *range.end()))),
    ];
    let rows = DB.query(EVENTS, params).await?;
    rows.map(|mut row| {
        let (state, has_rival): (Option<String>, bool) =
            (row.take("state")?, row.take("has_rival")?);
        Ok(match state.as_deref() {
            Some("applied") => Fate::Applied,
            Some("waiting") => Fate::Waiting,
            Some(_) => Fate::Rejected,
            None if has_rival => Fate::Rival,
            None => Fate::Unseen,
        })
    })
    .collect()
}

fn standing(row: &mut Row) -> Result<Standing, Error> {
    Ok(Standing {
        record: record(row)?,
        user: row.take("user_id")?,
        value: row.take("value")?,
        occurred_at_us: row.take("occurred_at_us")?,
    })
}

fn aggregate(row: &mut Row) -> Result<Aggregate, Error> {
    Ok(Aggregate {
        sum: row.take("rating_sum")?,
        count: row.take("rating_count")?,
    })
}

fn record(row: &mut Row) -> Result<Record, Error> {
    let (kind, id): (String, String) = (row.take("record_type")?, row.take("record_id")?);
    Record::parse(&kind, &id).map_err(|error| Error::Broken(error.to_string()))
}
