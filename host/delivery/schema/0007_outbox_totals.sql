-- What leaves the outbox is counted, so that what leaves it otherwise is found.
-- The old code sees: what it saw. It deletes what the bus acknowledged and counts nothing; a shard that its relay has had
-- is marked for it, and while one is, nobody expects the numbers to add up. Once the last such host is gone,
-- marquee.recount() begins anew.

alter table marquee.shards add column uncounted boolean not null default false;
comment on column marquee.shards.uncounted is
    'A relay that does not count what it deletes has had the shard since counting began.';
-- Of those that are held, by relays of the version before.
update marquee.shards set uncounted = true where owner is not null;

create table marquee.outbox_ledger (
    source text not null,
    shard smallint not null,
    relayed bigint not null default 0,
    discarded bigint not null default 0,
    numbered bigint not null default 0,
    carried bigint not null default 0,
    constraint outbox_ledger_pkey primary key (source, shard)
) with (fillfactor = 50);
comment on table marquee.outbox_ledger is
    'What has left marquee.outbox, by the source of its numbers (empty: without an id) and the shard. Written by the statement that deletes the rows; publishers never touch it.';
comment on column marquee.outbox_ledger.relayed is 'Rows that the bus has acknowledged.';
comment on column marquee.outbox_ledger.discarded is 'Rows that the bus refused and a person threw away.';
comment on column marquee.outbox_ledger.numbered is 'Of both, those of a key, which have a number.';
comment on column marquee.outbox_ledger.carried is 'Numbers that had left before counting began.';

create function marquee.outbox_totals(
    out source text, out relayed bigint, out discarded bigint, out waiting bigint, out refused bigint,
    out given bigint, out accounted bigint, out uncounted boolean
)
language sql stable
as $$
    select
        coalesce(s.id::text, ''), l.relayed, l.discarded, o.waiting, o.refused,
        k.given, l.numbered + o.numbered, u.uncounted
    from marquee.source as s
    cross join lateral (
        -- Numbers are dense, so the last one of each key says how many there were.
        select coalesce(sum(k.last_seq), 0)::bigint as given
        from marquee.keys as k where k.incarnation = s.incarnation
    ) as k
    cross join lateral (
        select
            count(*) as waiting,
            count(*) filter (where o.refused is not null) as refused,
            count(*) filter (where o.seq is not null and o.source is not distinct from s.id) as numbered
        from marquee.outbox as o
    ) as o
    cross join lateral (
        select
            coalesce(sum(l.relayed), 0)::bigint as relayed,
            coalesce(sum(l.discarded), 0)::bigint as discarded,
            coalesce(sum(l.numbered + l.carried) filter (where l.source = coalesce(s.id::text, '')), 0)::bigint as numbered
        from marquee.outbox_ledger as l
    ) as l
    cross join (select coalesce(bool_or(uncounted), false) as uncounted from marquee.shards) as u
$$;
comment on function marquee.outbox_totals() is
    'All that was counted of the outbox, and what waits. Of the source that numbers now: how many numbers were given out, and how many of them wait or were counted when they left. It reads every row of marquee.keys.';

insert into marquee.outbox_ledger (source, shard, carried)
select t.source, 0, t.given - t.accounted from marquee.outbox_totals() as t;

create or replace function marquee.check_relay() returns trigger
language plpgsql
as $$
begin
    if exists (select from marquee.source as s where s.id is not null)
        and not exists (select from marquee.relays as r where r.owner = new.owner and r.version >= 2)
    then
        return null;
    end if;
    if not exists (select from marquee.relays as r where r.owner = new.owner and r.version >= 3) then
        new.uncounted := true;
    end if;
    return new;
end
$$;
comment on function marquee.check_relay() is
    'A relay that would name the wrong source is given no shard; one that does not count what it deletes marks those that it is given.';
comment on column marquee.relays.version is
    '1: says the database''s name for the source of every row. 2: says the row''s. 3: counts what it deletes.';

create or replace function marquee.recount() returns void
language sql volatile
as $$
    -- Whoever counts is waited for, each statement sees what they did, and the order of locks is that of a batch.
    select from marquee.positions order by consumer, topic, partition for update;
    select from marquee.key_state where parked > 0 order by consumer, topic, key, source for update;
    lock table marquee.ledger in share row exclusive mode;
    update marquee.ledger set retried = 0, discarded = 0;
    update marquee.positions as p
    set counted_from = p.position, counted_at = p.position,
        records = 0, holes = 0, lost = 0, uncounted = 0, duplicates = 0, kept = 0, carried = (
            select count(*) from marquee.parked as k
            where k.consumer = p.consumer and k.topic = p.topic and k.partition = p.partition
        );
    update marquee.key_state as k
    set parked = (
        select count(*) from marquee.parked as p
        where p.consumer = k.consumer and p.topic = k.topic and p.key = k.key and p.source = k.source and p.ordered
    )
    where k.parked > 0;
    -- What stands in an outbox or has left it, and what was given out, change together: their difference stays.
    insert into marquee.outbox_ledger as l (source, shard, carried)
    select t.source, 0, t.given - t.accounted from marquee.outbox_totals() as t
    on conflict on constraint outbox_ledger_pkey do update set carried = l.carried + excluded.carried;
    update marquee.shards as s
    set uncounted = false
    where s.uncounted and not exists (select from marquee.relays as r where r.owner = s.owner and r.version < 3)
$$;
