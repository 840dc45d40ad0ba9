//! The SQL of relaying. Times are this server's.

/// Alive for so long: $1 relay, $2 seconds. Answers how many are.
pub(crate) const HEARTBEAT: &str = "
with me as (
    insert into marquee.relays (owner, alive_until) values ($1, now() + make_interval(secs => $2))
    on conflict on constraint relays_pkey do update set alive_until = excluded.alive_until
), gone as (
    delete from marquee.relays where alive_until < now() - interval '1 hour' and owner <> $1
)
select 1 + count(*) from marquee.relays where owner <> $1 and alive_until > now()";

/// Keep what is held and not run out: $1 relay, $2 seconds.
pub(crate) const RENEW: &str = "
update marquee.shards set lease_until = now() + make_interval(secs => $2)
where owner = $1 and lease_until > now()
returning shard, epoch, attempts";

/// Take what nobody holds: $1 relay, $2 seconds, $3 how many.
pub(crate) const CLAIM: &str = "
with free as (
    select shard from marquee.shards where lease_until <= now()
    order by random() limit $3
    for update skip locked
)
update marquee.shards s
set owner = $1, epoch = s.epoch + 1, lease_until = now() + make_interval(secs => $2)
from free where s.shard = free.shard
returning s.shard, s.epoch, s.attempts";

/// Give back: $1 relay, $2 shards.
pub(crate) const RELEASE: &str = "
update marquee.shards set owner = null, lease_until = '-infinity' where owner = $1 and shard = any ($2)";

/// The relay ends: $1 relay.
pub(crate) const LEAVE: &str = "delete from marquee.relays where owner = $1";

/// The next rows: $1 shards, $2 and $3 topics and keys to leave out, $4 ids to leave out, $5 rows, $6 bytes, $7 rows
/// of one shard.
///
/// Shards take turns, row by row; within one the order is that of id. The bytes are counted without reading the values,
/// and the first row always fits. What is read is a set, not a cursor: a row that commits late is found by the next run.
pub(crate) const READ: &str = "
with candidates as (
    select r.shard, r.id, r.turn, r.size
    from unnest($1::int2[]) as s (shard)
    cross join lateral (
        select o.shard, o.id, row_number() over (order by o.id) as turn,
            octet_length(o.value) + octet_length(o.key) + 512 as size
        from marquee.outbox o
        where o.shard = s.shard and o.id <> all ($4::bigint[])
            and not exists (
                select from unnest($2::text[], $3::text[]) as held (topic, key)
                where held.topic = o.topic and held.key = o.key
            )
        order by o.id limit $7
    ) as r
), picked as (
    select c.shard, c.id, c.turn, sum(c.size) over (order by c.turn, c.shard) - c.size as before
    from candidates c order by c.turn, c.shard limit $5
)
select o.shard, o.id, o.topic, o.key, o.seq, o.event_id, o.headers, o.value
from picked p
cross join lateral (select * from marquee.outbox where shard = p.shard and id = p.id offset 0) as o
where p.before < $6::bigint
order by o.shard, o.id";

/// The bus has them: $1 relay, $2 shards, $3 ids, $4 epochs. A shard that is another relay's by now is left to it. By
/// place, so that it is one probe a row whatever the planner believes about a table that grows and shrinks; rows of the
/// outbox never move.
pub(crate) const ACKNOWLEDGED: &str = "
delete from marquee.outbox where ctid = any (array(
    select o.place
    from unnest($2::int2[], $3::bigint[], $4::bigint[]) as done (shard, id, epoch)
    join marquee.shards s on s.shard = done.shard and s.owner = $1 and s.epoch = done.epoch
    cross join lateral (
        select ctid as place from marquee.outbox where shard = done.shard and id = done.id offset 0
    ) as o
))";

/// For operators: $1 relay, $2 shard, $3 epoch, $4 failed runs, $5 error, $6 seconds until the next.
pub(crate) const NOTE: &str = "
update marquee.shards
set attempts = $4, last_error = $5, next_attempt_at = now() + make_interval(secs => $6)
where owner = $1 and shard = $2 and epoch = $3";
