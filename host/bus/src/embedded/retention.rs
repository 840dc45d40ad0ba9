//! Drops days that every group is past, and days that are too old.
//!
//! Promise: what is dropped before a group has read it is an error with the number of messages. Bound: a sweep looks at two
//! rows a partition of each day, however many there are; a drop waits for its lock half a second at the most, so it never
//! holds appends for longer; then the next round tries again.

use std::time::Duration;

use marquee_database::{Backoff, Database};

use super::{Config, store};
use crate::Error;

/// Keep the log in shape, for ever. `failures`: rounds that failed before this one.
pub(super) async fn run(database: Database, config: Config, mut failures: u32) {
    loop {
        let pause = match failures {
            0 => EVERY.mul_f64(rand::random_range(0.5..1.5)),
            _ => BACKOFF.delay(failures),
        };
        tokio::time::sleep(pause).await;
        match sweep(&database, &config).await {
            Ok(_) => failures = 0,
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(%error, "the embedded bus was not swept; it is tried again");
            }
        }
    }
}

/// One round. Returns the tables that were dropped.
pub(super) async fn sweep(database: &Database, config: &Config) -> Result<Vec<String>, Error> {
    store::prepare_days(database).await?;
    store::query(database, HEARD_OF, &[]).await?;
    let retention = config.retention.as_secs_f64();
    let mut dropped = Vec::new();
    for row in store::query(database, PAST_DAYS, &[&retention]).await? {
        let table: String = row.get(0);
        let is_too_old: bool = row.get(1);
        let unread = unread(database, config, &table).await;
        if !is_too_old && !unread.clone()?.is_empty() {
            continue;
        }
        drop_table(database, &table).await?;
        match unread {
            Ok(unread) => unread.iter().for_each(|unread| unread.is_lost(&table)),
            Err(error) => tracing::error!(
                %error, table,
                "a day was too old and is dropped; whether every group had read it could not be asked"
            ),
        }
        dropped.push(table);
    }
    Ok(dropped)
}

/// What somebody has not read of a day.
#[derive(Debug, Clone)]
struct Unread {
    topic: String,
    /// None: no group has ever asked for it.
    group: Option<String>,
    messages: i64,
}

impl Unread {
    /// It is dropped all the same.
    fn is_lost(&self, table: &str) {
        let Self {
            topic,
            group,
            messages,
        } = self;
        match group {
            Some(group) => tracing::error!(
                table,
                topic,
                group,
                lost = messages,
                "{messages} messages of {topic} that group {group} has not read are dropped: they are too old"
            ),
            None => tracing::info!(
                table,
                topic,
                "{messages} messages of {topic} that no group reads are dropped: they are too old"
            ),
        }
    }
}

async fn unread(database: &Database, config: &Config, table: &str) -> Result<Vec<Unread>, Error> {
    // The name is the catalogue's and of one shape, so it needs no quoting.
    let sql = UNREAD.replace("{table}", table);
    let expiry = config.group_expiry.as_secs_f64();
    let rows = store::query_planned(database, &sql, &[&expiry]).await?;
    let unread = rows.iter().map(|row| Unread {
        topic: row.get(0),
        group: row.get(1),
        messages: row.get(2),
    });
    Ok(unread.collect())
}

async fn drop_table(database: &Database, table: &str) -> Result<(), Error> {
    let sql = DROP.replace("{table}", table);
    let result = async { database.connection().await?.alter_now(&sql).await }.await;
    match result {
        Ok(()) => {
            tracing::info!(table, "dropped a day of the embedded bus");
            Ok(())
        }
        Err(error) => Err(store::unavailable(&error)),
    }
}

const EVERY: Duration = Duration::from_secs(600);
/// After a round that failed.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), EVERY);

const HEARD_OF: &str = "
update marquee_bus.groups g set seen_at = now()
where exists (
    select from marquee_bus.members m
    where m.group_name = g.group_name and m.topic_id = g.topic_id and m.alive_until > now()
)";
/// Yesterday stays, for a clock that steps back over midnight.
const PAST_DAYS: &str = "
select child.name, child.day < (now() - make_interval(secs => $1)) at time zone 'UTC' - interval '1 day'
from (
    select c.relname::text as name, to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'marquee_bus.records'::regclass and c.relname ~ '^records_[0-9]{8}$'
) as child
where child.day < (now() at time zone 'UTC')::date - 1
order by child.day";
/// By topic and group. Offsets have no holes, so the first and the last of a partition say how many there are. Records that
/// no group asked for wait until they are too old.
const UNREAD: &str = "
select t.name, l.group_name, sum(held.last - greatest(l.committed, held.first) + 1)::bigint
from marquee_bus.topics t
join marquee_bus.partitions p on p.topic_id = t.id
cross join lateral (
    select
        (
            select r.\"offset\" from marquee_bus.{table} r where r.topic_id = t.id and r.partition = p.number
            order by r.\"offset\" limit 1
        ) as first,
        (
            select r.\"offset\" from marquee_bus.{table} r where r.topic_id = t.id and r.partition = p.number
            order by r.\"offset\" desc limit 1
        ) as last
    offset 0
) as held
left join (
    marquee_bus.leases l
    join marquee_bus.groups g
        on g.group_name = l.group_name and g.topic_id = l.topic_id
            and g.seen_at > now() - make_interval(secs => $1)
) on l.topic_id = t.id and l.partition = p.number
where held.last is not null and (l.group_name is null or l.committed <= held.last)
group by t.name, l.group_name
order by t.name, l.group_name";
const DROP: &str = "
alter table marquee_bus.records detach partition marquee_bus.{table};
drop table marquee_bus.{table};";
