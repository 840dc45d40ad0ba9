//! The same by a program without a host: the component's SQL, and the least that makes each event count once, in the same
//! batches. One process; a task and a connection a partition, four of them at work at a time, as in a host.
//!
//! What it does not do: share the work with other hosts, park what fails, count for an audit, run code that it does not
//! trust.

use std::{collections::HashMap, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use tokio::sync::{Semaphore, mpsc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    feed::{HOT, Numbers, in_transactions},
    source::{self, Event},
    stage::{DRAINED, NATIVE, Stage, TOPIC},
};
use crate::servers::Connected;

/// Apply so many events of the component's topic, which begin at these offsets. How many a second.
pub(crate) async fn apply(
    stage: &Stage,
    numbers: Numbers,
    from: &[i64],
    events: i64,
) -> anyhow::Result<f64> {
    let database = stage.connect(NATIVE).await?;
    database.batch_execute(TABLES).await?;
    let (batches, mut reading) = source::open(stage, from, events).await?;
    let budget = Arc::new(Semaphore::new(AT_ONCE));
    let begun = Instant::now();
    let mut partitions = Vec::new();
    for (number, batches) in (0..).zip(batches) {
        let client = stage.connect(NATIVE).await?;
        partitions.push(partition(
            client,
            number,
            numbers,
            batches,
            Arc::clone(&budget),
        ));
    }
    let done: i64 = try_join_all(partitions).await?.into_iter().sum();
    let elapsed = begun.elapsed();
    while let Some(read) = reading.join_next().await {
        read??;
    }
    ensure!(done == events, "{done} of {events} were applied");
    Ok(per(events, elapsed))
}

/// All of one partition. How many were applied.
async fn partition(
    client: Connected,
    number: i32,
    numbers: Numbers,
    mut batches: mpsc::Receiver<Vec<Event>>,
    budget: Arc<Semaphore>,
) -> anyhow::Result<i64> {
    let open = client.prepare(OPEN).await?;
    let fresh = client.prepare(FRESH).await?;
    let count = client.prepare(COUNT).await?;
    let settle = client.prepare(SETTLE).await?;
    client.execute(POSITION, &[&number]).await?;
    let mut next = 0_i64;
    let mut done = 0;
    while let Some(batch) = batches.recv().await {
        let _place = budget.acquire().await?;
        let after = batch.last().map_or(next, |event| event.offset + 1);
        let mut last = HashMap::new();
        let mut seen = Vec::new();
        // The transaction begins with its first statement, and ends with its last: two round trips.
        if numbers == Numbers::Dense {
            let mut keys: Vec<&str> = batch.iter().map(|event| event.key.as_str()).collect();
            keys.sort_unstable();
            keys.dedup();
            let params: [&(dyn ToSql + Sync); 4] = [&number, &next, &after, &keys];
            let (begun, rows) =
                futures::join!(client.batch_execute("begin"), client.query(&open, &params));
            begun?;
            last = rows?
                .iter()
                .filter_map(|row| Some((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1))))
                .collect();
        } else {
            let ids: Vec<Uuid> = batch.iter().map(|event| event.id).collect();
            let params: [&(dyn ToSql + Sync); 4] = [&number, &next, &after, &ids];
            let (begun, rows) =
                futures::join!(client.batch_execute("begin"), client.query(&fresh, &params));
            begun?;
            seen = rows?.iter().map(|row| row.get::<_, Uuid>(0)).collect();
            seen.sort_unstable();
        }
        let (mut keys, mut tags, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for event in &batch {
            let is_new = match event.seq {
                Some(seq) => {
                    let last = last.entry(event.key.clone()).or_insert(0);
                    let is_next = seq == *last + 1;
                    *last = seq.max(*last);
                    is_next
                }
                None => seen.binary_search(&event.id).is_ok(),
            };
            if is_new {
                let (tag, value): (String, i64) = serde_json::from_slice(&event.value)?;
                keys.push(event.key.as_str());
                tags.push(tag);
                values.push(value);
            }
        }
        let (marked, watermarks): (Vec<&str>, Vec<i64>) =
            last.iter().map(|(key, last)| (key.as_str(), *last)).unzip();
        let counted: [&(dyn ToSql + Sync); 3] = [&keys, &tags, &values];
        let settled: [&(dyn ToSql + Sync); 2] = [&marked, &watermarks];
        let (counted, settled, committed) = futures::join!(
            client.execute(&count, &counted),
            client.execute(&settle, &settled),
            client.batch_execute("commit"),
        );
        counted?;
        settled?;
        committed?;
        done += i64::try_from(keys.len())?;
        next = after;
    }
    Ok(done)
}

/// Number events and append them to an outbox, in transactions of as many as [`feed::outbox`]. How many a second.
///
/// [`feed::outbox`]: super::feed::outbox
pub(crate) async fn publish(stage: &Stage, events: i64, keys: i64) -> anyhow::Result<f64> {
    let database = stage.connect("counter").await?;
    database.batch_execute(OUTBOX).await?;
    in_transactions(events, async |from, until| {
        let done = database
            .execute(PUBLISH, &[&DRAINED, &keys, &from, &until])
            .await?;
        ensure!(i64::try_from(done)? == until - from + 1);
        Ok(())
    })
    .await
}

/// Bring what [`publish`] has left to the bus. How many a second.
pub(crate) async fn drain(stage: &Stage, events: i64) -> anyhow::Result<f64> {
    let database = stage.connect("counter").await?;
    let read = database.prepare(READ).await?;
    let begun = Instant::now();
    let mut done = 0;
    let mut last = 0_i64;
    let mut rows = database.query(&read, &[&last]).await?;
    while !rows.is_empty() {
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        last = ids.last().copied().unwrap_or(last);
        let records = rows.iter().map(source::outgoing).collect();
        // The next ones are read while these are published.
        let params: [&(dyn ToSql + Sync); 1] = [&last];
        let (published, next) =
            futures::join!(stage.bus.publish(records), database.query(&read, &params));
        for result in published {
            result?;
        }
        done += i64::try_from(ids.len())?;
        database.execute(DELETE, &[&ids]).await?;
        rows = next?;
    }
    ensure!(done == events, "{done} of {events} were published");
    Ok(per(events, begun.elapsed()))
}

/// Apply the events of one key that wait in a table. How many a second.
pub(crate) async fn unblock(stage: &Stage, events: i64) -> anyhow::Result<f64> {
    let database = stage.connect("counter").await?;
    database.batch_execute(WAITING).await?;
    database
        .execute(WAIT, &[&TOPIC, &HOT, &events])
        .await
        .context("events cannot be made to wait")?;
    let (run, count, done) = (
        database.prepare(RUN).await?,
        database.prepare(COUNT).await?,
        database.prepare(DONE).await?,
    );
    let begun = Instant::now();
    let mut left = events;
    while left > 0 {
        let (opened, rows) =
            futures::join!(database.batch_execute("begin"), database.query(&run, &[]));
        opened?;
        let rows = rows?;
        let mut ids = Vec::new();
        let (mut keys, mut tags, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let (tag, value): (String, i64) = serde_json::from_slice(row.get(2))?;
            ids.push(row.get::<_, i64>(0));
            keys.push(row.get::<_, &str>(1));
            tags.push(tag);
            values.push(value);
        }
        let counted: [&(dyn ToSql + Sync); 3] = [&keys, &tags, &values];
        let gone: [&(dyn ToSql + Sync); 1] = [&ids];
        let (counted, gone, committed) = futures::join!(
            database.execute(&count, &counted),
            database.execute(&done, &gone),
            database.batch_execute("commit"),
        );
        counted?;
        committed?;
        left -= i64::try_from(gone?)?;
    }
    Ok(per(events, begun.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn per(events: i64, elapsed: std::time::Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64()
}

const AT_ONCE: usize = 4;
/// The component's tables, and what makes an event count once. Made anew for each measurement.
const TABLES: &str = "
drop table if exists seen, counters, positions, watermarks, inbox;
create table seen (id bigint generated always as identity, key text not null, tag text not null);
create table counters (
    key text not null, total bigint not null, sum bigint not null, constraint counters_pkey primary key (key)
);
create table positions (partition integer primary key, position bigint not null) with (fillfactor = 50);
create table watermarks (key text primary key, last_seq bigint not null) with (fillfactor = 70);
create table inbox (event_id uuid primary key, seen_at timestamptz not null default now())";
const POSITION: &str = "insert into positions values ($1, 0)";
const OPEN: &str = "
with fence as (
    update positions set position = $3 where partition = $1 and position = $2 returning 1
)
select w.key, w.last_seq
from unnest($4::text[]) as batch (key)
cross join lateral (select key, last_seq from watermarks where key = batch.key for update) as w
where exists (select from fence)";
const FRESH: &str = "
with fence as (
    update positions set position = $3 where partition = $1 and position = $2 returning 1
)
insert into inbox (event_id) select id from unnest($4::uuid[]) as batch (id) where exists (select from fence)
on conflict do nothing returning event_id";
/// As the component has it.
const COUNT: &str = "
with batch as (
    select * from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as b (key, tag, value, place)
), noted as (
    insert into seen (key, tag) select key, tag from batch order by place
)
insert into counters as c (key, total, sum)
select key, count(*), sum(value)::bigint from batch group by key
on conflict on constraint counters_pkey do update set total = c.total + excluded.total, sum = c.sum + excluded.sum";
const SETTLE: &str = "
insert into watermarks select * from unnest($1::text[], $2::bigint[])
on conflict (key) do update set last_seq = excluded.last_seq";
const OUTBOX: &str = "
drop table if exists bench_outbox, bench_keys;
create table bench_keys (topic text, key text, last_seq bigint not null, primary key (topic, key)) with (fillfactor = 70);
create table bench_outbox (
    id bigint generated always as identity primary key, topic text not null, key text not null, seq bigint,
    event_id uuid not null, headers jsonb not null, value bytea not null,
    created_at timestamptz not null default clock_timestamp()
)";
/// The numbers of a statement's events key by key, and not event by event.
const PUBLISH: &str = "
with batch as (
    select n, 'key-' || n % $2 as key, convert_to(jsonb_build_array('outbox-' || n, 1)::text, 'UTF8') as value
    from generate_series($3::bigint, $4::bigint) as n
), numbered as (
    insert into bench_keys as k (topic, key, last_seq) select $1, key, count(*) from batch group by key order by key
    on conflict (topic, key) do update set last_seq = k.last_seq + excluded.last_seq
    returning k.key, k.last_seq
)
insert into bench_outbox (topic, key, seq, event_id, headers, value)
select $1, b.key, k.last_seq - count(*) over (partition by b.key) + row_number() over (partition by b.key order by b.n),
    gen_random_uuid(), '{}', b.value
from batch as b join numbered as k on k.key = b.key
order by b.n";
const READ: &str = "
select id, topic, key, seq, event_id, value from bench_outbox where id > $1 order by id limit 500";
const DELETE: &str = "delete from bench_outbox where id = any ($1)";
const WAITING: &str = "
drop table if exists bench_waiting;
create table bench_waiting (
    id bigint generated always as identity primary key, topic text not null, key text not null, event_id uuid not null,
    headers jsonb not null, value bytea not null
)";
const WAIT: &str = "
insert into bench_waiting (topic, key, event_id, headers, value)
select $1, $2, gen_random_uuid(), '[]', convert_to(jsonb_build_array('hot-' || n, 1)::text, 'UTF8')
from generate_series(1, $3::bigint) as n";
const RUN: &str = "select id, key, value from bench_waiting order by id limit 500 for update";
const DONE: &str = "delete from bench_waiting where id = any ($1)";
