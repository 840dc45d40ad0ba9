//! Figures for health checks and alarms, and the housekeeping of what need not be kept.
//!
//! Bound: counts stop at [`COUNTED`], so that a question is cheap when the answer is bad.

use std::time::Duration;

use marquee_database::Database;

use crate::{Error, touches};

/// What waits to be relayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbox {
    /// Rows, counted up to [`COUNTED`].
    pub rows: i64,
    /// Of them, those set aside: the bus refuses them, or one before them of their key. Counted up to [`COUNTED`].
    pub aside: i64,
    /// How long the oldest of the others waits.
    pub oldest: Option<Duration>,
    /// The last error of a shard that the bus does not take, else of a row that it refuses.
    pub error: Option<String>,
}

/// What a database's consumers could not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// Messages to be retried or waiting, counted up to [`COUNTED`].
    pub parked: i64,
    /// Dead ones, counted up to [`COUNTED`].
    pub dead: i64,
    /// Keys that do not move, counted up to [`COUNTED`].
    pub blocked_keys: i64,
}

/// How far the relay is behind.
pub async fn outbox(database: &Database) -> Result<Outbox, Error> {
    let row = database
        .connection()
        .await?
        .query_planned(OUTBOX, &[&COUNTED])
        .await?;
    let row = row.first();
    Ok(Outbox {
        rows: row.map_or(0, |row| row.get(0)),
        aside: row.map_or(0, |row| row.get(1)),
        oldest: row
            .and_then(|row| row.get::<_, Option<f64>>(2))
            .map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
        error: row.and_then(|row| row.get(3)),
    })
}

/// What waits for a retry or a person.
pub async fn trouble(database: &Database) -> Result<Trouble, Error> {
    let row = database
        .connection()
        .await?
        .query(TROUBLE, &[&COUNTED])
        .await?;
    let number = |index| row.first().map_or(0, |row| row.get(index));
    Ok(Trouble {
        parked: number(0),
        dead: number(1),
        blocked_keys: number(2),
    })
}

/// Remove what need not be kept: event ids seen more than 7 days ago, keys of which nothing is known any more, and
/// old touches. A
/// bounded piece at a time, until there is no more. Returns how many rows went.
pub async fn sweep(database: &Database) -> Result<u64, Error> {
    let mut swept = 0;
    for sql in [SWEEP_INBOX, SWEEP_KEYS, touches::SWEEP] {
        loop {
            let rows = database.connection().await?.execute(sql, &[&SWEPT]).await?;
            swept += rows;
            if rows < u64::try_from(SWEPT).unwrap_or(u64::MAX) {
                break;
            }
        }
    }
    Ok(swept)
}

/// More is bad whatever the number.
pub const COUNTED: i64 = 10_000;
/// Rows that go at once: a few milliseconds of locks.
const SWEPT: i64 = 5_000;

/// The oldest row of a shard is its first, so this looks at sixteen rows of the index.
const OUTBOX: &str = "
select
    (select count(*) from (select from marquee.outbox limit $1) as counted),
    (select count(*) from (select from marquee.outbox where shard < 0 limit $1) as counted),
    (
        select extract(epoch from max(now() - first.created_at))::float8
        from generate_series(0, 15) as s (shard)
        cross join lateral (
            select o.created_at from marquee.outbox o where o.shard = s.shard order by o.id limit 1
        ) as first
    ),
    coalesce(
        (select last_error from marquee.shards where attempts > 0 order by shard limit 1),
        (select refused from marquee.outbox where refused is not null order by retry_at limit 1)
    )";

const TROUBLE: &str = "
select
    (select count(*) from (select from marquee.parked where state = 'parked' limit $1) as counted),
    (select count(*) from (select from marquee.parked where state = 'dead' limit $1) as counted),
    (select count(*) from (select from marquee.key_state where parked > 0 limit $1) as counted)";

const SWEEP_INBOX: &str = "
delete from marquee.inbox where ctid = any (array(
    select ctid from marquee.inbox where seen_at < now() - interval '7 days'
    order by seen_at limit $1 for update skip locked
))";

/// A key without numbers is known only while something of it is parked.
const SWEEP_KEYS: &str = "
delete from marquee.key_state where ctid = any (array(
    select ctid from marquee.key_state where source = '' and parked = 0 limit $1 for update skip locked
))";
