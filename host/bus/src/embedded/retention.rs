//! Drops days that every group is past, and days that are too old.
//!
//! Bound: a drop waits for its lock half a second at the most, so it never holds appends for longer; then the next
//! round tries again.

use std::time::Duration;

use marquee_database::Database;

use super::{Config, store};
use crate::Error;

/// Keep the log in shape, for ever.
pub(super) async fn run(database: Database, config: Config) {
    loop {
        tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.5..1.5))).await;
        match sweep(&database, &config).await {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the embedded bus was not swept; it is tried again")
            }
        }
    }
}

/// One round. Returns the tables that were dropped.
pub(super) async fn sweep(database: &Database, config: &Config) -> Result<Vec<String>, Error> {
    store::prepare_days(database).await?;
    store::query(database, FORGET_MEMBERS, &[]).await?;
    let retention = config.retention.as_secs_f64();
    let mut dropped = Vec::new();
    for row in store::query(database, PAST_DAYS, &[&retention]).await? {
        let table: String = row.get(0);
        let is_too_old: bool = row.get(1);
        // The name is the catalogue's and of one shape, so it needs no quoting.
        let is_read = {
            let sql = IS_READ.replace("{table}", &table);
            let expiry = config.group_expiry.as_secs_f64();
            let rows = store::query(database, &sql, &[&expiry]).await?;
            rows.first().is_some_and(|row| row.get(0))
        };
        if !is_read && !is_too_old {
            continue;
        }
        if !is_read {
            tracing::warn!(
                table,
                "a day that not every group has read is dropped: it is too old"
            );
        }
        drop_table(database, &table).await?;
        dropped.push(table);
    }
    Ok(dropped)
}

async fn drop_table(database: &Database, table: &str) -> Result<(), Error> {
    let sql = DROP.replace("{table}", table);
    let result = async { database.connection().await?.batch(&sql).await }.await;
    match result {
        Ok(()) => {
            tracing::info!(table, "dropped a day of the embedded bus");
            Ok(())
        }
        Err(error) => Err(store::unavailable(&error)),
    }
}

const EVERY: Duration = Duration::from_secs(600);

const FORGET_MEMBERS: &str = "
with living as (
    update marquee_bus.groups g set seen_at = now()
    where exists (
        select from marquee_bus.members m
        where m.group_name = g.group_name and m.topic_id = g.topic_id and m.alive_until > now()
    )
)
delete from marquee_bus.members where alive_until < now() - interval '1 hour'";
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
/// An empty day is read. Records that no group asked for wait until they are too old.
const IS_READ: &str = "
select not exists (
    select from (
        select topic_id, partition, max(\"offset\") as last
        from marquee_bus.{table} group by topic_id, partition
    ) as held
    where not coalesce((
        select bool_and(l.committed > held.last)
        from marquee_bus.leases l
        join marquee_bus.groups g using (group_name, topic_id)
        where l.topic_id = held.topic_id and l.partition = held.partition
            and g.seen_at > now() - make_interval(secs => $1)
    ), false)
)";
const DROP: &str = "
begin;
set local lock_timeout = '500ms';
alter table marquee_bus.records detach partition marquee_bus.{table};
drop table marquee_bus.{table};
commit;";
