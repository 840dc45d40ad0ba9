//! The SQL of relaying. Times are this server's.

/// The next rows: $1 shards, $2 rows, $3 bytes, $4 rows of one shard, $5 shards as those that are set aside have them, $6
/// rows of those; $7 how many rows of each shard are on their way already, and $8 these rows.
///
/// Shards take turns, row by row; within one the order is that of id. Of what is set aside, those that the bus refused
/// are asked for again when it is their time, before the others. The bytes are counted without reading long values, which
/// are elsewhere until they are sent, and the first row always fits. What is read is a set, not a cursor: a row that
/// commits late is found by the next run.
pub(crate) const READ: &str = "
with candidates as (
    select r.*
    from unnest($1::int2[], $7::int8[]) as s (mine, flying)
    cross join lateral (
        select o.*, row_number() over (order by o.id) as turn
        from marquee.outbox o
        where o.shard = s.mine
        order by o.id limit $4 + s.flying
    ) as r
    union all (
        select o.*, 0 as turn
        from marquee.outbox o
        where o.refused is not null and o.retry_at <= now() and o.shard = any ($5::int2[])
        order by o.retry_at limit $6
    )
), picked as (
    select c.*, sum(c.size) over (order by c.turn, c.shard, c.id) - c.size as before
    from (
        select *, octet_length(value) + octet_length(key) + pg_column_size(headers) + 512 as size from candidates
    ) as c
    where not exists (select from unnest($8::int8[]) as flying (id) where flying.id = c.id)
    order by c.turn, c.shard, c.id limit $2
)
select shard, id, topic, key, seq, event_id, headers, value, source
from picked where before < $3::bigint
order by shard, id";

/// The bus has them: $1 relay, $2 shards, $3 ids, $4 epochs. A shard that is another relay's by now is left to it. By
/// place, so that it is one probe a row whatever the planner believes about a table that grows and shrinks; rows of the
/// outbox never move. They are counted where they go; nobody else writes that row of the ledger but a person's discard. The
/// commit is not waited for on the disk: what a crash brings back is published again, as after a crash of the relay.
pub(crate) const ACKNOWLEDGED: &str = "
with gone as (
    delete from marquee.outbox where ctid = any (array(
        select o.place
        from unnest($2::int2[], $3::bigint[], $4::bigint[]) as done (shard, id, epoch)
        join marquee.shards s on s.shard = done.shard and s.owner = $1 and s.epoch = done.epoch
        cross join lateral (
            select ctid as place from marquee.outbox where shard = done.shard and id = done.id offset 0
        ) as o
    )) and (select set_config('synchronous_commit', 'off', true)) is not null
    returning shard, source, seq
)
insert into marquee.outbox_ledger as l (source, shard, relayed, numbered)
select coalesce(g.source::text, ''), g.shard, count(*), count(g.seq) from gone as g group by 1, 2 order by 1, 2
on conflict on constraint outbox_ledger_pkey do update
set relayed = l.relayed + excluded.relayed, numbered = l.numbered + excluded.numbered";

/// For operators: $1 relay, $2 shard, $3 epoch, $4 failed runs, $5 error, $6 seconds until the next.
pub(crate) const NOTE: &str = "
update marquee.shards
set attempts = $4, last_error = $5, next_attempt_at = now() + make_interval(secs => $6)
where owner = $1 and shard = $2 and epoch = $3";

/// Whether this is another database than the one whose source it has; then it has a new one.
pub(crate) const CHECK_SOURCE: &str = "select marquee.check_source()";

/// The bus refuses rows; first the locks of their keys, so that what others publish to them now is seen by what
/// follows. $1 and $2 topics and keys.
pub(crate) const HOLD_KEYS: &str = "
with locked as (
    select k.topic, k.key
    from unnest($1::text[], $2::text[]) as refused (topic, key)
    join marquee.keys k on k.topic = refused.topic and k.key = refused.key
    order by k.topic, k.key
    for update of k
)
update marquee.keys k set held = true
from locked where k.topic = locked.topic and k.key = locked.key";

/// Then they and what stands behind them of their keys is set aside. $1 relay, $2 shards, $3 ids, $4 topics, $5 keys,
/// $6 reasons, $7 epochs, $8 seconds until the bus is asked again.
pub(crate) const HOLD_ROWS: &str = "
update marquee.outbox o
set shard = -1 - o.shard,
    refused = case when o.id = r.id then r.reason end,
    refused_at = case when o.id = r.id then now() end,
    retry_at = case when o.id = r.id then now() + make_interval(secs => $8) end
from unnest($2::int2[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::int8[])
    as r (shard, id, topic, key, reason, epoch)
join marquee.shards s on s.shard = r.shard and s.owner = $1 and s.epoch = r.epoch
where o.shard = r.shard and o.topic = r.topic and o.key = r.key and (o.id = r.id or r.key <> '')";

/// Refused once more: $1 relay, $2 shard (below zero), $3 id, $4 reason, $5 epoch, $6 seconds.
pub(crate) const REFUSED_AGAIN: &str = "
update marquee.outbox o
set refused = $4, refused_at = now(), retry_at = now() + make_interval(secs => $6)
from marquee.shards s
where o.shard = $2 and o.id = $3 and s.shard = -1 - $2 and s.owner = $1 and s.epoch = $5";

/// A key goes on: first its lock, $1 topic, $2 key.
pub(crate) const LOCK_KEY: &str =
    "select 1 from marquee.keys where topic = $1 and key = $2 for update";

/// Then the bus has the row that held it, and it is counted: $1 relay, $2 shard (below zero), $3 id, $4 epoch.
pub(crate) const ACKNOWLEDGED_HELD: &str = "
with gone as (
    delete from marquee.outbox o using marquee.shards s
    where o.shard = $2 and o.id = $3 and s.shard = -1 - $2 and s.owner = $1 and s.epoch = $4
    returning s.shard, o.source, o.seq
)
insert into marquee.outbox_ledger as l (source, shard, relayed, numbered)
select coalesce(g.source::text, ''), g.shard, 1, count(g.seq) from gone as g group by 1, 2
on conflict on constraint outbox_ledger_pkey do update
set relayed = l.relayed + excluded.relayed, numbered = l.numbered + excluded.numbered";

/// Then what stood behind it takes its place again: $1 topic, $2 key.
pub(crate) const RELEASE_ROWS: &str = "
update marquee.outbox set shard = -1 - shard, refused = null, refused_at = null, retry_at = null
where topic = $1 and key = $2 and shard < 0";

/// And what is published from now on too: $1 topic, $2 key.
pub(crate) const RELEASE_KEY: &str = "
update marquee.keys set held = false where topic = $1 and key = $2 and held";
