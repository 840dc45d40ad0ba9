//! What operators see of an outbox, and what they do about rows that the bus refuses.
//!
//! Every act is recorded in `marquee.actions` with who did it. Bound: [`LISTED`] rows. Not here: asking the bus again,
//! which is the relay's.

use chrono::{DateTime, Utc};
use marquee_database::Database;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    aside,
    totals::{Totals, totals},
};
use crate::{Error, lag};

/// An outbox, and the rows of it that do not move.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// Rows, counted up to [`lag::COUNTED`]; those set aside are among them.
    pub rows: i64,
    /// How long the oldest of those that are not set aside waits, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Rows set aside: refused, or behind one of their key that is. Counted up to [`lag::COUNTED`].
    pub aside: i64,
    /// The last error of a shard that the bus does not take, else of a refused row.
    pub error: Option<String>,
    /// What has become of all that was published.
    pub totals: Totals,
    /// Whose the numbers of its keys are. None: the database's name in the manifest.
    pub source: Option<Uuid>,
    /// How often the source was renewed.
    pub incarnation: i32,
    /// When it was, or when the database was made.
    pub since: DateTime<Utc>,
    /// What the bus refuses, longest first.
    pub refused: Vec<Refused>,
}

/// A row that the bus refuses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refused {
    /// Its number in this database.
    pub id: i64,
    /// Where it goes to.
    pub topic: String,
    /// What orders it; empty: nothing.
    pub key: String,
    /// Its number in its key.
    pub seq: Option<i64>,
    /// The event.
    pub event_id: Uuid,
    /// What the bus says.
    pub reason: String,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    /// When the bus said it last.
    pub refused_at: DateTime<Utc>,
    /// When the bus is asked again.
    pub retry_at: DateTime<Utc>,
    /// Bytes of its payload.
    pub size_bytes: i32,
    /// Later rows of its key, which wait behind it; counted up to [`lag::COUNTED`].
    pub behind: i64,
}

/// Why an act was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    /// The bus refuses no such row, or no longer.
    #[error("the bus refuses no row {0}")]
    Unknown(i64),
    /// The database refused, was busy, or could not be reached.
    #[error(transparent)]
    Delivery(#[from] Error),
}

impl From<marquee_database::Error> for ActError {
    fn from(error: marquee_database::Error) -> Self {
        Self::Delivery(Error::of_own_statement(error))
    }
}

/// How an outbox stands.
pub async fn overview(database: &Database) -> Result<Overview, Error> {
    let figures = lag::outbox(database).await?;
    let mut connection = database.connection().await?;
    let (totals, _) = totals(&mut connection).await?;
    let source = connection.query(SOURCE, &[]).await?;
    let source = source.first();
    let refused = connection.query(REFUSED, &[&LISTED, &lag::COUNTED]).await?;
    Ok(Overview {
        rows: figures.rows,
        oldest_ms: figures
            .oldest
            .map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
        aside: figures.aside,
        error: figures.error,
        totals,
        source: source.and_then(|row| row.get(0)),
        incarnation: source.map_or(0, |row| row.get(1)),
        since: source.map_or_else(Utc::now, |row| row.get(2)),
        refused: refused.iter().map(row).collect(),
    })
}

/// Ask the bus again now.
pub async fn retry(database: &Database, id: i64, actor: &str) -> Result<Refused, ActError> {
    let mut unit = database.unit();
    let found = unit.query(RETRY, &[&id, &lag::COUNTED]).await?;
    let Some(refused) = found.first().map(row) else {
        unit.rollback().await;
        return Err(ActError::Unknown(id));
    };
    unit.execute(RECORD, &record(&refused, &actor, &"outbox-retry"))
        .await?;
    unit.commit().await.map_err(Error::from)?;
    Ok(refused)
}

/// Throw it away, payload and all; its key goes on without it. Its number is given to nothing else: a consumer holds
/// what follows as behind a gap until a person says there that it will not come.
///
/// The relay may be asking the bus at this moment: then it may have gone out all the same.
pub async fn discard(database: &Database, id: i64, actor: &str) -> Result<Refused, ActError> {
    let mut unit = database.unit();
    let place = unit.query(PLACE, &[&id]).await?;
    let Some((topic, key)) = place
        .first()
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
    else {
        unit.rollback().await;
        return Err(ActError::Unknown(id));
    };
    // The key's lock comes first, as everywhere.
    aside::lock_key(&mut unit, &topic, &key).await?;
    let found = unit.query(DISCARD, &[&id, &lag::COUNTED]).await?;
    let Some(refused) = found.first().map(row) else {
        unit.rollback().await;
        return Err(ActError::Unknown(id));
    };
    aside::release_key(&mut unit, &topic, &key).await?;
    unit.execute(RECORD, &record(&refused, &actor, &"outbox-discard"))
        .await?;
    unit.commit().await.map_err(Error::from)?;
    Ok(refused)
}

type Parameter<'a> = &'a (dyn tokio_postgres::types::ToSql + Sync);

fn record<'a>(refused: &'a Refused, actor: &'a &str, action: &'a &str) -> [Parameter<'a>; 8] {
    [
        actor,
        action,
        &refused.id,
        &refused.topic,
        &refused.key,
        &refused.event_id,
        &refused.reason,
        &refused.seq,
    ]
}

fn row(row: &Row) -> Refused {
    Refused {
        id: row.get("id"),
        topic: row.get("topic"),
        key: row.get("key"),
        seq: row.get("seq"),
        event_id: row.get("event_id"),
        reason: row.get("refused"),
        published_at: row.get("created_at"),
        refused_at: row.get("refused_at"),
        retry_at: row.get("retry_at"),
        size_bytes: row.get("size_bytes"),
        behind: row.get("behind"),
    }
}

/// More than a person reads at once.
pub const LISTED: i64 = 100;

const SOURCE: &str = "select id, incarnation, since from marquee.source";

/// Of a refused row `o`, what [`row`] reads; $2 how far to count what is behind it.
macro_rules! columns {
    () => {
        "o.id, o.topic, o.key, o.seq, o.event_id, o.refused, o.created_at, o.refused_at, o.retry_at,
    octet_length(o.value) as size_bytes,
    (
        select count(*) from (
            select from marquee.outbox b
            where b.shard < 0 and b.topic = o.topic and b.key = o.key and b.id > o.id and o.key <> '' limit $2
        ) as counted
    ) as behind"
    };
}

/// The refused row `o` of number $1.
macro_rules! place {
    () => {
        "where o.shard = any (array(select generate_series(-16, -1))::int2[]) and o.id = $1 and o.refused is not null"
    };
}

/// $1 how many.
const REFUSED: &str = concat!(
    "select ",
    columns!(),
    "
from (select * from marquee.outbox where refused is not null order by created_at limit $1) as o
order by o.created_at, o.id"
);

const PLACE: &str = concat!("select o.topic, o.key from marquee.outbox o ", place!());

const RETRY: &str = concat!(
    "update marquee.outbox o set retry_at = now() ",
    place!(),
    " returning ",
    columns!()
);

/// Counted as it goes.
const DISCARD: &str = concat!(
    "with gone as (delete from marquee.outbox o ",
    place!(),
    " returning o.shard, o.source, ",
    columns!(),
    "), counted as (
    insert into marquee.outbox_ledger as l (source, shard, discarded, numbered)
    select coalesce(g.source::text, ''), -1 - g.shard, 1, count(g.seq) from gone as g group by 1, 2
    on conflict on constraint outbox_ledger_pkey do update
    set discarded = l.discarded + excluded.discarded, numbered = l.numbered + excluded.numbered
)
select * from gone"
);

/// $1 actor, $2 action, $3 row, $4 topic, $5 key, $6 event, $7 reason, $8 number.
const RECORD: &str = "
insert into marquee.actions (actor, action, message_id, consumer, topic, key, event_id, detail)
values ($1, $2, $3, '', $4, $5, $6, jsonb_build_object('reason', $7::text, 'seq', $8::int8))";
