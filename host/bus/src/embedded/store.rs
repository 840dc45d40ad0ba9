//! All SQL of the embedded bus.
//!
//! Bound: each statement has [`STATEMENT_TIMEOUT`] here, beside the server's own: a network that swallows answers
//! is an error and not a hang.

use std::time::Duration;

use bytes::Bytes;
use marquee_database::{
    Database, Error as DatabaseError,
    lease::{Member, Table},
    seeded::{Bug, slip},
};
use tokio_postgres::{Row, error::SqlState, types::ToSql};
use uuid::Uuid;

use super::headers;
use crate::{Error, Incoming, Log, Partition, Record};

/// A topic by its number in the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Topic {
    pub(super) id: i32,
    pub(super) partitions: i32,
}

/// Records to be appended, column by column.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) topic_ids: Vec<i32>,
    pub(super) partitions: Vec<i32>,
    pub(super) keys: Vec<String>,
    pub(super) headers: Vec<Vec<u8>>,
    pub(super) values: Vec<Bytes>,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) group: String,
    pub(super) topic: Topic,
    pub(super) member: Uuid,
}

/// Why records were not appended.
pub(super) enum AppendError {
    /// There is no table for today, which only the clock of the database knows. Nothing was appended.
    NoDay,
    /// Anything else.
    Bus(Error),
}

/// Where to read: partition, epoch, offset.
pub(super) type Place = (i32, i64, i64);

pub(super) async fn create_topic(
    database: &Database,
    name: &str,
    partitions: i32,
) -> Result<(), Error> {
    query(database, CREATE_TOPIC, &[&name, &partitions])
        .await
        .map(drop)
}

pub(super) async fn topic(database: &Database, name: &str) -> Result<Option<Topic>, Error> {
    let rows = query(database, TOPIC, &[&name]).await?;
    Ok(rows.first().map(|row| Topic {
        id: row.get(0),
        partitions: row.get(1),
    }))
}

pub(super) async fn append(database: &Database, columns: &Columns) -> Result<(), AppendError> {
    let values: Vec<&[u8]> = columns.values.iter().map(AsRef::as_ref).collect();
    let params: [&(dyn ToSql + Sync); 5] = [
        &columns.topic_ids,
        &columns.partitions,
        &columns.keys,
        &columns.headers,
        &values,
    ];
    let work = async { database.connection().await?.query(APPEND, &params).await };
    match in_time(work).await {
        Ok(_) => Ok(()),
        Err(Some(error)) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {
            Err(AppendError::NoDay)
        }
        Err(error) => Err(AppendError::Bus(answered(database, error))),
    }
}

pub(super) async fn prepare_days(database: &Database) -> Result<(), Error> {
    query(database, "select marquee_bus.prepare_days()", &[])
        .await
        .map(drop)
}

pub(super) async fn notify(database: &Database, payloads: &[String]) -> Result<(), Error> {
    query(database, NOTIFY, &[&CHANNEL, &payloads])
        .await
        .map(drop)
}

pub(super) async fn join(database: &Database, who: &Identity) -> Result<(), Error> {
    query(database, JOIN, &[&who.group, &who.topic.id])
        .await
        .map(drop)
}

/// A member's side of its leases.
pub(super) fn member(who: &Identity, ttl: Duration) -> Member {
    let scope: Vec<Box<dyn ToSql + Send + Sync>> =
        vec![Box::new(who.group.clone()), Box::new(who.topic.id)];
    Member::new(&PARTITIONS, scope, who.member, ttl)
}

/// False: the partition is held by another by now.
pub(super) async fn commit(
    database: &Database,
    who: &Identity,
    partition: i32,
    epoch: i64,
    offset: i64,
) -> Result<bool, Error> {
    let commit = slip(
        Bug::BusEpochIgnored,
        COMMIT,
        "owner = $4 and epoch = $5",
        "($4::uuid, $5::bigint) is not null",
    );
    let rows = query(
        database,
        &commit,
        &[
            &who.group,
            &who.topic.id,
            &partition,
            &who.member,
            &epoch,
            &offset,
        ],
    )
    .await?;
    Ok(!rows.is_empty())
}

pub(super) async fn log(database: &Database, partition: &Partition) -> Result<Log, Error> {
    let rows = query(database, LOG, &[&partition.topic, &partition.number]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::Refused(format!("there is no partition {partition}")))?;
    Ok(Log {
        id: row.get(0),
        begin: row.get(1),
        end: row.get(2),
    })
}

/// The first record since then, where there is one.
pub(super) async fn offset_at(
    database: &Database,
    partition: &Partition,
    published_at_ms: i64,
) -> Result<Option<i64>, Error> {
    // Beyond what a timestamp can say there is nothing before, or nothing after.
    let since = published_at_ms.clamp(0, MAX_TIME_MS);
    let params: [&(dyn ToSql + Sync); 3] = [&partition.topic, &partition.number, &since];
    let rows = query(database, OFFSET_AT, &params).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Records of several partitions, each from its place on, at most so many records and bytes a partition.
pub(super) async fn read(
    database: &Database,
    topic: Topic,
    places: &[Place],
    records: usize,
    bytes: usize,
) -> Result<Vec<(i32, Incoming)>, Error> {
    let partitions: Vec<i32> = places.iter().map(|(partition, ..)| *partition).collect();
    let offsets: Vec<i64> = places.iter().map(|(.., offset)| *offset).collect();
    let records = i64::try_from(records).unwrap_or(i64::MAX);
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let rows = query(
        database,
        READ,
        &[&topic.id, &partitions, &offsets, &records, &bytes],
    )
    .await?;
    Ok(rows.iter().map(incoming).collect())
}

fn incoming(row: &Row) -> (i32, Incoming) {
    (
        row.get(0),
        Incoming {
            offset: row.get(1),
            published_at_ms: row.get(2),
            record: Record {
                key: row.get(3),
                headers: headers::decode(row.get(4)),
                value: Bytes::copy_from_slice(row.get(5)),
            },
        },
    )
}

/// Run one statement within its bound.
pub(super) async fn query(
    database: &Database,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    within(database, async {
        database.connection().await?.query(sql, params).await
    })
    .await
}

/// As [`query`], with a plan for the tables as they are now.
pub(super) async fn query_planned(
    database: &Database,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    within(database, async {
        let mut connection = database.connection().await?;
        connection.query_planned(sql, params).await
    })
    .await
}

/// Ask for something within the bound.
pub(super) async fn within<T>(
    database: &Database,
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, Error> {
    let answer = in_time(work).await;
    answer.map_err(|error| answered(database, error))
}

/// No error where the time was over; dropped half-way, the statement's connection is closed.
async fn in_time<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, Option<DatabaseError>> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(result) => result.map_err(Some),
        Err(_) => Err(None),
    }
}

fn answered(database: &Database, error: Option<DatabaseError>) -> Error {
    match error {
        Some(error) => unavailable(&error),
        None => Error::Unavailable(format!(
            "database {} did not answer in time",
            database.name()
        )),
    }
}

/// Whatever the database says, a record that passed our checks may be taken later: a full disk is emptied, a right
/// is granted.
pub(super) fn unavailable(error: &DatabaseError) -> Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Error::Unavailable(text)
}

/// All hints of all topics; the payload says which.
pub(super) const CHANNEL: &str = "marquee_bus";
/// More than the server's own statement timeout, less than the trust in a lease.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(7);

const CREATE_TOPIC: &str = "
with made as (
    insert into marquee_bus.topics (name, partitions) values ($1, $2)
    on conflict (name) do nothing
    returning id, partitions
)
insert into marquee_bus.partitions (topic_id, number)
select id, number from made, generate_series(0, partitions - 1) as number";
const TOPIC: &str = "select id, partitions from marquee_bus.topics where name = $1";
/// A topic that is made again is made at another time.
const LOG: &str = "
select 'embedded ' || to_char(t.created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'),
    coalesce(
        (select min(r.\"offset\") from marquee_bus.records as r where r.topic_id = t.id and r.partition = p.number),
        p.next_offset
    ),
    p.next_offset
from marquee_bus.topics as t
join marquee_bus.partitions as p on p.topic_id = t.id
where t.name = $1 and p.number = $2";
/// Days that are before are not looked at; of the day itself, records up to the one that is wanted.
const OFFSET_AT: &str = "
select r.\"offset\"
from (select to_timestamp($3::bigint / 1000.0) as since) as at,
    marquee_bus.topics as t,
    marquee_bus.records as r
where t.name = $1 and r.topic_id = t.id and r.partition = $2
    and r.day >= (at.since at time zone 'UTC')::date and r.published_at >= at.since
order by r.\"offset\" limit 1";
/// The end of the year 9999.
const MAX_TIME_MS: i64 = 253_402_300_799_999;
const APPEND: &str = "select marquee_bus.append($1, $2, $3, $4, $5)";
const NOTIFY: &str = "select pg_notify($1, payload) from unnest($2::text[]) as payload";
const JOIN: &str = "
with known as (
    insert into marquee_bus.groups (group_name, topic_id) values ($1, $2)
    on conflict (group_name, topic_id) do update set seen_at = now()
)
insert into marquee_bus.leases (group_name, topic_id, partition)
select $1, $2, number from marquee_bus.partitions where topic_id = $2
on conflict do nothing";
/// Hosts of the version before ask by the function marquee_bus.beat, of the same rows.
const PARTITIONS: Table = Table {
    parts: "marquee_bus.leases",
    part: "partition",
    told: "committed",
    members: "marquee_bus.members",
    member: "member",
    row: "(group_name, topic_id, member, alive_until)
        values ($6, $7, $1, now() + make_interval(secs => $2))
        on conflict (group_name, topic_id, member)",
    scope: "group_name = $6 and topic_id = $7",
};
/// Not waited for on the disk: after a crash the group may read again what it has read, as after one between its work and
/// this.
const COMMIT: &str = "
update marquee_bus.leases set committed = greatest(committed, $6)
where group_name = $1 and topic_id = $2 and partition = $3 and owner = $4 and epoch = $5
    and (select set_config('synchronous_commit', 'off', true)) is not null
returning committed";
/// The sizes are read from the rows' heads; values that are not returned are not fetched.
const READ: &str = "
select place.partition, r.\"offset\",
    floor(extract(epoch from r.published_at) * 1000)::bigint, r.key, r.headers, r.value
from unnest($2::integer[], $3::bigint[]) as place (partition, first)
cross join lateral (
    select candidate.*,
        sum(octet_length(key) + octet_length(headers) + octet_length(value))
            over (order by \"offset\" rows between unbounded preceding and 1 preceding) as before
    from (
        select \"offset\", published_at, key, headers, value from marquee_bus.records
        where topic_id = $1 and partition = place.partition and \"offset\" >= place.first
        order by \"offset\"
        limit $4
    ) as candidate
) as r
where coalesce(r.before, 0) < $5
order by place.partition, r.\"offset\"";
