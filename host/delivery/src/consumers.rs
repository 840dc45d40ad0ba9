//! How consumers stand, and what a person does with one: pause it, let it go on, set it back.
//!
//! Promise: a pause holds for every host and outlives them; a replay sets positions, watermarks and what was seen back
//! together, or not at all, and each is in `marquee.actions`. Bound: a question costs one statement a database, and one
//! a partition of the bus, [`ASKED_AT_ONCE`] of them side by side. Not here: what the hosts make of it, which is [`crate::partition`]'s and [`crate::retry`]'s.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use marquee_bus::{Bus, Log, Partition};
use marquee_database::{Database, Unit};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A consumer of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whose.
    pub consumer: String,
    /// Of which topic.
    pub topic: String,
    /// Messages that it has not read yet, where the bus says how far its log goes.
    pub lag: Option<i64>,
    /// Keys that wait for a retry or a person; counted up to [`crate::lag::COUNTED`].
    pub blocked_keys: i64,
    /// Messages to be retried, or waiting behind one that is.
    pub parked: i64,
    /// Messages that a person decides about.
    pub dead: i64,
    /// Since when and by whom it is paused.
    pub paused: Option<Pause>,
    /// In order.
    pub partitions: Vec<PartitionStanding>,
}

/// A person's pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// By whom.
    pub by: String,
}

/// How far a consumer is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionStanding {
    /// Its number.
    pub partition: i32,
    /// Everything before this offset is dealt with.
    pub position: i64,
    /// The bus's next offset, where it says.
    pub end: Option<i64>,
    /// Between the two.
    pub lag: Option<i64>,
    /// How often the position was set and not advanced.
    pub incarnation: i64,
    /// When the position moved last.
    pub moved_at: DateTime<Utc>,
}

/// Where a replay begins. In text `earliest`, an offset, or a time such as `2026-11-26T08:00:00Z` (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReplayFrom {
    /// With the oldest message that the bus still has.
    Earliest,
    /// At this offset of each partition.
    Offset(i64),
    /// With the first message that the bus took then or later.
    Time(DateTime<Utc>),
}

/// The text is not one of the three.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not earliest, an offset, or a time such as 2026-11-26T08:00:00Z")]
pub struct InvalidFrom(String);

impl FromStr for ReplayFrom {
    type Err = InvalidFrom;

    fn from_str(text: &str) -> Result<Self, InvalidFrom> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        if let Ok(offset) = text.parse::<u64>() {
            return Ok(Self::Offset(i64::try_from(offset).unwrap_or(i64::MAX)));
        }
        let time = DateTime::parse_from_rfc3339(text);
        let time = time.map_err(|_| InvalidFrom(text.to_owned()))?;
        Ok(Self::Time(time.to_utc()))
    }
}

impl TryFrom<String> for ReplayFrom {
    type Error = InvalidFrom;

    fn try_from(text: String) -> Result<Self, InvalidFrom> {
        text.parse()
    }
}

impl From<ReplayFrom> for String {
    fn from(from: ReplayFrom) -> Self {
        match from {
            ReplayFrom::Earliest => "earliest".to_owned(),
            ReplayFrom::Offset(offset) => offset.to_string(),
            ReplayFrom::Time(time) => time.to_rfc3339(),
        }
    }
}

/// What a replay does to a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Its number.
    pub partition: i32,
    /// Where it was.
    pub position: i64,
    /// Where it goes on.
    pub from: i64,
    /// Parked and dead messages from there on, which are deleted: they come again.
    pub deleted: i64,
}

/// Why it was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// No position of it is known.
    #[error("no consumer {consumer} has read topic {topic}")]
    Unknown {
        /// Whose.
        consumer: String,
        /// Of which topic.
        topic: String,
    },
    /// Messages from before are in the way: what comes again of their keys would wait behind them.
    #[error(
        "{0} parked or dead messages are older than where the replay begins; retry, skip or discard them first, or begin earlier"
    )]
    Held(i64),
    /// Some host delivers to it at this moment.
    #[error("{0} messages of it are being delivered now: a host still has it; stop that one first")]
    UnderWay(i64),
    /// The database or the bus did not do it.
    #[error(transparent)]
    Delivery(#[from] Error),
}

impl From<marquee_database::Error> for ConsumerError {
    fn from(error: marquee_database::Error) -> Self {
        Self::Delivery(Error::of_own_statement(error))
    }
}

impl Standing {
    /// Whether nothing is left of it but perhaps a pause: a person deleted it.
    pub fn is_gone(&self) -> bool {
        self.partitions.is_empty() && self.parked + self.dead == 0
    }

    /// One that has read nothing yet.
    pub fn unseen(consumer: String, topic: String) -> Self {
        Self {
            consumer,
            topic,
            lag: None,
            blocked_keys: 0,
            parked: 0,
            dead: 0,
            paused: None,
            partitions: Vec::new(),
        }
    }
}

/// How the consumers of a database stand, by name and topic.
pub async fn standing(database: &Database, bus: Option<&dyn Bus>) -> Result<Vec<Standing>, Error> {
    let mut connection = database.connection().await?;
    let rows = connection.query(STANDING, &[&crate::lag::COUNTED]).await?;
    drop(connection);
    let partition = |row: &tokio_postgres::Row| {
        let number: Option<i32> = row.get("partition");
        number.map(|number| Partition {
            topic: row.get("topic"),
            number,
        })
    };
    let mut logs = logs(bus, rows.iter().filter_map(partition).collect())
        .await
        .into_iter();
    let mut all: Vec<Standing> = Vec::new();
    for row in &rows {
        let (consumer, topic): (String, String) = (row.get("consumer"), row.get("topic"));
        let since: Option<DateTime<Utc>> = row.get("since");
        let known = all
            .last()
            .is_some_and(|it| it.consumer == consumer && it.topic == topic);
        if !known {
            let mut standing = Standing::unseen(consumer, topic);
            standing.blocked_keys = row.get("blocked_keys");
            standing.parked = row.get("parked");
            standing.dead = row.get("dead");
            standing.paused = since.map(|since| Pause {
                since,
                by: row.get("actor"),
            });
            all.push(standing);
        }
        let (Some(standing), Some(number)) = (all.last_mut(), row.get("partition")) else {
            continue;
        };
        let position: i64 = row.get("position");
        let end = logs.next().flatten().map(|log| log.end);
        let lag = end.map(|end| (end - position).max(0));
        standing.lag = match (standing.lag, lag) {
            (Some(sum), Some(lag)) => Some(sum + lag),
            (sum, lag) => sum.or(lag),
        };
        standing.partitions.push(PartitionStanding {
            partition: number,
            position,
            end,
            lag,
            incarnation: row.get("incarnation"),
            moved_at: row.get("updated_at"),
        });
    }
    Ok(all)
}

/// What a person changes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub partition: i32,
    /// How often its position was set.
    pub incarnation: i64,
    /// Whether it is paused.
    pub is_paused: bool,
}

/// The marks of a consumer's partitions. Where one changes, the partition's holder has to load its position again.
pub async fn marks(database: &Database, consumer: &str, topic: &str) -> Result<Vec<Mark>, Error> {
    let mut connection = database.connection().await?;
    let rows = connection.query(MARKS, &[&consumer, &topic]).await?;
    let mark = |row: &tokio_postgres::Row| Mark {
        partition: row.get(0),
        incarnation: row.get(1),
        is_paused: row.get(2),
    };
    Ok(rows.iter().map(mark).collect())
}

/// What the bus has of each partition, where it says. Several are asked for at once.
pub(crate) async fn logs(bus: Option<&dyn Bus>, partitions: Vec<Partition>) -> Vec<Option<Log>> {
    let log = async |partition: Partition| match bus?.log(&partition).await {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::debug!(%partition, %error, "what the bus has of a partition is not known");
            None
        }
    };
    let logs = stream::iter(partitions).map(log).buffered(ASKED_AT_ONCE);
    logs.collect().await
}

/// Each is a thread that waits for Kafka.
pub const ASKED_AT_ONCE: usize = 16;

/// Deliver nothing more of the topic to it, on any host, until [`resume`]. What is under way is finished. A second pause
/// changes nothing.
pub async fn pause(
    database: &Database,
    consumer: &str,
    topic: &str,
    actor: &str,
) -> Result<(), ConsumerError> {
    act(database, PAUSE, consumer, topic, actor).await
}

/// Go on; hosts notice within a second. Where it is not paused, nothing changes.
pub async fn resume(
    database: &Database,
    consumer: &str,
    topic: &str,
    actor: &str,
) -> Result<(), ConsumerError> {
    act(database, RESUME, consumer, topic, actor).await
}

async fn act(
    database: &Database,
    sql: &str,
    consumer: &str,
    topic: &str,
    actor: &str,
) -> Result<(), ConsumerError> {
    let mut unit = database.unit();
    unit.execute(sql, &[&consumer, &topic, &actor]).await?;
    unit.commit().await.map_err(Error::from)?;
    Ok(())
}

/// Set a consumer back: everything from there on is delivered again as though it had never been, in the same order. Its
/// positions, the watermarks of its keys and what it has seen are set together; a batch that is under way is rolled back.
/// No partition is set forward. What its effects were is the application's: empty its tables first, or be idempotent.
/// Where `dry` is set, nothing is changed.
pub async fn replay(
    database: &Database,
    bus: &dyn Bus,
    (consumer, topic): (&str, &str),
    from: ReplayFrom,
    actor: &str,
    dry: bool,
) -> Result<Vec<Replayed>, ConsumerError> {
    let mut unit = database.unit();
    let done = set_back(&mut unit, bus, (consumer, topic), from, actor).await;
    match done {
        Ok(replayed) if !dry => {
            unit.commit().await.map_err(Error::from)?;
            Ok(replayed)
        }
        done => {
            unit.rollback().await;
            done
        }
    }
}

async fn set_back(
    unit: &mut Unit,
    bus: &dyn Bus,
    (consumer, topic): (&str, &str),
    from: ReplayFrom,
    actor: &str,
) -> Result<Vec<Replayed>, ConsumerError> {
    let rows = unit.query(LOCK_POSITIONS, &[&consumer, &topic]).await?;
    if rows.is_empty() {
        return Err(ConsumerError::Unknown {
            consumer: consumer.to_owned(),
            topic: topic.to_owned(),
        });
    }
    let (mut numbers, mut offsets, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let (number, position): (i32, i64) = (row.get(0), row.get(1));
        let partition = Partition {
            topic: topic.to_owned(),
            number,
        };
        let log = bus.log(&partition).await.map_err(Error::from)?;
        let wanted = match from {
            ReplayFrom::Earliest => log.begin,
            ReplayFrom::Offset(offset) => offset.max(log.begin),
            ReplayFrom::Time(time) => bus
                .offset_at(&partition, time.timestamp_millis())
                .await
                .map_err(Error::from)?,
        };
        numbers.push(number);
        offsets.push(wanted.min(position));
        positions.push(position);
    }
    unit.execute(LOCK_KEYS, &[&consumer, &topic]).await?;
    let rows = unit
        .query(HELD, &[&consumer, &topic, &numbers, &offsets, &positions])
        .await?;
    let held = rows.first().map_or(0, |row| row.get(0));
    if held > 0 {
        return Err(ConsumerError::Held(held));
    }
    let rows = unit
        .query(DELETE_KEPT, &[&consumer, &topic, &numbers, &offsets])
        .await?;
    let deleted = |number: i32| {
        let row = rows.iter().find(|row| row.get::<_, i32>(0) == number);
        row.map_or(0, |row| row.get(1))
    };
    let replayed: Vec<Replayed> = std::iter::zip(&numbers, std::iter::zip(&positions, &offsets))
        .map(|(&partition, (&position, &from))| Replayed {
            partition,
            position,
            from,
            deleted: deleted(partition),
        })
        .collect();
    unit.execute(FORGET_KEYS, &[&consumer, &topic]).await?;
    unit.execute(SET_BACK, &[&consumer, &topic, &numbers, &offsets])
        .await?;
    let detail = serde_json::json!({ "from": offsets, "position": positions });
    unit.execute(RECORD, &[&consumer, &topic, &actor, &detail])
        .await?;
    Ok(replayed)
}

/// A pause of what has no position yet stands alone, and so does what a command parked of it. $1 the bound of the count.
const STANDING: &str = "
select c.*, (
    select count(*) from (
        select from marquee.key_state as k
        where k.consumer = c.consumer and k.topic = c.topic and k.parked > 0
        limit $1
    ) as counted
) as blocked_keys
from (
    select consumer, topic, p.partition, p.position, p.incarnation, p.updated_at, s.since, s.actor,
        coalesce(m.parked, 0) as parked, coalesce(m.dead, 0) as dead
    from marquee.positions as p
    full join marquee.pauses as s using (consumer, topic)
    full join (
        select consumer, topic,
            count(*) filter (where state = 'parked') as parked, count(*) filter (where state = 'dead') as dead
        from marquee.parked where state in ('parked', 'dead') group by 1, 2
    ) as m using (consumer, topic)
) as c
order by c.consumer, c.topic, c.partition";

/// $1 consumer, $2 topic.
const MARKS: &str = "
select partition, incarnation, exists (select from marquee.pauses where consumer = $1 and topic = $2)
from marquee.positions where consumer = $1 and topic = $2";

/// $1 consumer, $2 topic, $3 actor.
const PAUSE: &str = "
with paused as (
    insert into marquee.pauses (consumer, topic, actor) values ($1, $2, $3) on conflict do nothing returning 1
)
insert into marquee.actions (actor, action, consumer, topic, key)
select $3, 'pause', $1, $2, '' from paused";

/// As above.
const RESUME: &str = "
with resumed as (
    delete from marquee.pauses where consumer = $1 and topic = $2 returning 1
)
insert into marquee.actions (actor, action, consumer, topic, key)
select $3, 'resume', $1, $2, '' from resumed";

/// The positions come first, as everywhere.
pub(crate) const LOCK_POSITIONS: &str = "
select partition, position from marquee.positions where consumer = $1 and topic = $2
order by partition for update";

/// Then the keys.
pub(crate) const LOCK_KEYS: &str = "
select from marquee.key_state where consumer = $1 and topic = $2 order by key, source for update";

/// Messages that hold their keys, from before the replay's part of a partition. $3 partitions, $4 where they go on, $5 where
/// they were.
const HELD: &str = "
select count(*)
from unnest($3::int4[], $4::bigint[], $5::bigint[]) as r (partition, starts, was)
join marquee.parked as p on p.consumer = $1 and p.topic = $2 and p.partition = r.partition
where r.starts < r.was and p.ordered and p.\"offset\" < r.starts";

/// As above.
const DELETE_KEPT: &str = "
with gone as (
    delete from marquee.parked as p
    using unnest($3::int4[], $4::bigint[]) as r (partition, starts)
    where p.consumer = $1 and p.topic = $2 and p.partition = r.partition and p.\"offset\" >= r.starts
    returning p.partition
), counted as (
    select partition, count(*) as messages from gone group by 1
), written as (
    insert into marquee.ledger as l (consumer, topic, partition, discarded)
    select $1, $2, partition, messages from counted
    on conflict on constraint ledger_pkey do update set discarded = l.discarded + excluded.discarded
)
select partition, messages from counted";

/// Keys that something still holds keep their watermark: of partitions that are not set back, and of commands.
const FORGET_KEYS: &str = "
with held as (
    select key, source, count(*)::int4 as messages from marquee.parked
    where consumer = $1 and topic = $2 and ordered group by 1, 2
), kept as (
    update marquee.key_state as k set parked = h.messages
    from held as h
    where k.consumer = $1 and k.topic = $2 and k.key = h.key and k.source = h.source
)
delete from marquee.key_state as k
where k.consumer = $1 and k.topic = $2
    and not exists (select from held as h where h.key = k.key and h.source = k.source)";

/// Counting begins anew. A key may begin with any number wherever something is not there to be read any more.
const SET_BACK: &str = "
update marquee.positions as p
set position = r.starts, began = r.starts, incarnation = incarnation + 1, starts = 0, updated_at = now(),
    replayed_at = clock_timestamp(),
    counted_from = r.starts, counted_at = r.starts, records = 0, holes = 0, lost = 0, uncounted = 0, duplicates = 0,
    carried = p.carried + p.kept, kept = 0
from unnest($3::int4[], $4::bigint[]) as r (partition, starts)
where p.consumer = $1 and p.topic = $2 and p.partition = r.partition";

/// $1 consumer, $2 topic, $3 actor, $4 detail.
const RECORD: &str = "
insert into marquee.actions (actor, action, consumer, topic, key, detail)
values ($3, 'replay', $1, $2, '', $4)";
