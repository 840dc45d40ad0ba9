//! Who consumes: what a database has of consumers that no component is any more.
//!
//! Promise: nothing is read a second time because a component was renamed, unless somebody said so; nothing waits for nobody
//! in silence; what is deleted of a consumer goes together, and is in `marquee.actions`. Bound: one statement a question, and
//! 5,000 event ids at a time. Not here: which identities the components have, which is the manifest's to say.

use marquee_database::{Database, Unit};
use serde::Serialize;

use crate::{
    Error,
    consumers::{ConsumerError, LOCK_KEYS, LOCK_POSITIONS},
};

/// Messages of a consumer that no component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unattended {
    /// Whose.
    pub consumer: String,
    /// Of which topic.
    pub topic: String,
    /// To be retried, or waiting behind one that is.
    pub parked: i64,
    /// A person decides.
    pub dead: i64,
}

impl std::fmt::Display for Unattended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            consumer,
            topic,
            parked,
            dead,
        } = self;
        write!(
            f,
            "no component is consumer {consumer} of {topic}: {parked} parked and {dead} dead messages wait for nobody"
        )
    }
}

/// What was deleted of a consumer, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Positions: partitions in which it has begun.
    pub partitions: i64,
    /// Messages to be retried, or waiting behind one that is.
    pub parked: i64,
    /// Messages that a person was to decide about.
    pub dead: i64,
    /// Messages that a person had set aside.
    pub skipped: i64,
}

/// Who has read the topic here, where the consumer has not, and is none of `others`: most likely it itself, by the name that it
/// had. In order; of most consumers there are none.
pub async fn predecessors(
    database: &Database,
    consumer: &str,
    topic: &str,
    others: &[&str],
) -> Result<Vec<String>, Error> {
    let mut connection = database.connection().await?;
    let rows = connection
        .query(PREDECESSORS, &[&consumer, &topic, &others])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What waits here for consumers of topics that are none of these.
pub async fn unattended(
    database: &Database,
    subscribed: &[(&str, &str)],
) -> Result<Vec<Unattended>, Error> {
    let (consumers, topics): (Vec<&str>, Vec<&str>) = subscribed.iter().copied().unzip();
    let mut connection = database.connection().await?;
    let rows = connection.query(UNATTENDED, &[&consumers, &topics]).await?;
    let unattended = |row: &tokio_postgres::Row| Unattended {
        consumer: row.get(0),
        topic: row.get(1),
        parked: row.get(2),
        dead: row.get(3),
    };
    Ok(rows.iter().map(unattended).collect())
}

/// Forget a consumer of a topic that no component is any more: its positions, its keys, and what it could not apply. It stays
/// paused, so that a host which has it nevertheless does not begin anew. None: there is nothing of it. Where `dry` is set,
/// nothing is changed.
pub async fn delete(
    database: &Database,
    (consumer, topic): (&str, &str),
    actor: &str,
    dry: bool,
) -> Result<Option<Deleted>, ConsumerError> {
    let mut unit = database.unit();
    let done = forget(&mut unit, (consumer, topic), actor).await;
    if dry || !matches!(done, Ok(Some(_))) {
        unit.rollback().await;
        return done;
    }
    unit.commit().await.map_err(Error::from)?;
    // Whoever is consumer of another topic knows its events by them.
    while database
        .connection()
        .await?
        .execute(FORGET_EVENTS, &[&consumer, &SWEPT])
        .await?
        > 0
    {}
    done
}

async fn forget(
    unit: &mut Unit,
    (consumer, topic): (&str, &str),
    actor: &str,
) -> Result<Option<Deleted>, ConsumerError> {
    let partitions = unit.query(LOCK_POSITIONS, &[&consumer, &topic]).await?;
    unit.query(LOCK_KEYS, &[&consumer, &topic]).await?;
    let rows = unit.query(COUNTS, &[&consumer, &topic]).await?;
    let number = |index| rows.first().map_or(0, |row| row.get::<_, i64>(index));
    let under_way = number(3);
    if under_way > 0 {
        return Err(ConsumerError::UnderWay(under_way));
    }
    let deleted = Deleted {
        partitions: i64::try_from(partitions.len()).unwrap_or(i64::MAX),
        parked: number(0),
        dead: number(1),
        skipped: number(2),
    };
    if deleted.partitions + deleted.parked + deleted.dead + deleted.skipped == 0 {
        return Ok(None);
    }
    let detail = serde_json::json!(deleted);
    unit.execute(FORGET, &[&consumer, &topic, &actor, &detail])
        .await?;
    Ok(Some(deleted))
}

/// Event ids that go at once, as when they are swept.
const SWEPT: i64 = 5_000;

/// $1 consumer, $2 topic, $3 consumers that there are.
const PREDECESSORS: &str = "
select distinct consumer from marquee.positions
where topic = $2 and began is not null and consumer <> $1 and consumer <> all ($3)
    and not exists (select from marquee.positions where consumer = $1 and topic = $2 and began is not null)
order by 1";

/// $1 and $2 consumers and topics that there are.
const UNATTENDED: &str = "
select p.consumer, p.topic,
    count(*) filter (where p.state = 'parked'), count(*) filter (where p.state = 'dead')
from marquee.parked as p
where p.state in ('parked', 'dead') and not exists (
    select from unnest($1::text[], $2::text[]) as s (consumer, topic)
    where s.consumer = p.consumer and s.topic = p.topic
)
group by 1, 2 order by 1, 2";

/// $1 consumer, $2 topic.
const COUNTS: &str = "
select count(*) filter (where state = 'parked'), count(*) filter (where state = 'dead'),
    count(*) filter (where state = 'skipped'), count(*) filter (where claim is not null and next_attempt_at > now())
from marquee.parked where consumer = $1 and topic = $2";

/// $1 consumer, $2 topic, $3 actor, $4 detail.
const FORGET: &str = "
with parked as (
    delete from marquee.parked where consumer = $1 and topic = $2
), keys as (
    delete from marquee.key_state where consumer = $1 and topic = $2
), ledger as (
    delete from marquee.ledger where consumer = $1 and topic = $2
), positions as (
    delete from marquee.positions where consumer = $1 and topic = $2
), paused as (
    insert into marquee.pauses (consumer, topic, actor) values ($1, $2, $3) on conflict do nothing
)
insert into marquee.actions (actor, action, consumer, topic, key, detail)
values ($3, 'delete', $1, $2, '', $4)";

/// $1 consumer, $2 how many.
const FORGET_EVENTS: &str = "
delete from marquee.inbox where ctid = any (array(
    select ctid from marquee.inbox
    where consumer = $1 and not exists (select from marquee.positions where consumer = $1 and began is not null)
        and not exists (select from marquee.parked where consumer = $1)
    limit $2 for update skip locked
))";
