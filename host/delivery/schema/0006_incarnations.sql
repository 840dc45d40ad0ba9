-- Positions know which log they are positions in, which life of it, and what became of all that is behind them; messages
-- that take their hosts along go alone; a component says that what a message waits for has come.
-- The old code sees: columns with defaults. It fences by the position alone, as before, and counts nothing: what it deals
-- with appears as uncounted.

alter table marquee.positions
    add column incarnation bigint not null default 0,
    add column log text,
    add column began bigint default 0;
comment on column marquee.positions.incarnation is
    'One more each time that the position was set and not advanced: a new log, a log whose beginning is gone. A host that knew it before is fenced, though the number be the same.';
comment on column marquee.positions.log is 'Of which log it is, as the bus names it; null: not known yet.';
comment on column marquee.positions.began is
    'Where the consumer began: beyond 0, the numbers of keys before that are not missed. Null: it has not begun.';

alter table marquee.positions
    add column counted_from bigint not null default 0,
    add column counted_at bigint not null default 0,
    add column records bigint not null default 0,
    add column holes bigint not null default 0,
    add column lost bigint not null default 0,
    add column uncounted bigint not null default 0,
    add column duplicates bigint not null default 0,
    add column kept bigint not null default 0,
    add column carried bigint not null default 0;
comment on column marquee.positions.counted_from is
    'Where counting began: the position is counted_from + records + holes + lost + uncounted. All of it is written by the commit that moves the position.';
comment on column marquee.positions.counted_at is 'The position that was counted last.';
comment on column marquee.positions.records is 'Messages that were dealt with. Those that are neither duplicates nor kept were applied.';
comment on column marquee.positions.holes is 'Offsets that held no message: the bus''s own marks, and what it had compacted.';
comment on column marquee.positions.lost is 'Offsets that the bus''s retention had dropped before they were read.';
comment on column marquee.positions.uncounted is 'Offsets that a host of an older version has moved past.';
comment on column marquee.positions.duplicates is 'Of records: dealt with before.';
comment on column marquee.positions.kept is
    'Of records: put into marquee.parked. kept + carried is what stands there of this partition, and what marquee.ledger says has left it.';
comment on column marquee.positions.carried is 'Messages of this partition that were kept before counting began.';

update marquee.positions as p
set counted_from = position, counted_at = position, carried = (
    select count(*) from marquee.parked as k
    where k.consumer = p.consumer and k.topic = p.topic and k.partition = p.partition
);

create table marquee.ledger (
    consumer text not null,
    topic text not null,
    partition integer not null,
    retried bigint not null default 0,
    discarded bigint not null default 0,
    constraint ledger_pkey primary key (consumer, topic, partition)
) with (fillfactor = 50);
comment on table marquee.ledger is
    'What has left marquee.parked, of each partition: applied after all, and thrown away by a person. Written by the commit that did it.';

create function marquee.recount() returns void
language sql volatile
as $$
    update marquee.positions as p
    set uncounted = p.position - p.counted_from - p.records - p.holes - p.lost, counted_at = p.position, carried = (
        select count(*) from marquee.parked as k
        where k.consumer = p.consumer and k.topic = p.topic and k.partition = p.partition
    ) + coalesce((
        select l.retried + l.discarded from marquee.ledger as l
        where l.consumer = p.consumer and l.topic = p.topic and l.partition = p.partition
    ), 0) - p.kept
$$;
comment on function marquee.recount() is
    'Take what stands there as right, so that the audit agrees from now on: once, after the last host of a version that did not count is gone.';

alter table marquee.parked add column unsettled integer not null default 0;
comment on column marquee.parked.unsettled is
    'Deliveries in a row of which nothing was heard again: its host died, or another message''s of the same delivery took it along. Two, and it goes alone.';

create function marquee.wake(consumer text, topic text, key text) returns bigint
language sql volatile
as $$
    with waiting as (
        -- One that is locked is under way, or being decided upon.
        select p.id from marquee.parked as p
        where p.consumer = wake.consumer and p.topic = wake.topic and p.key = wake.key
            and p.ordered and p.state = 'parked' and p.claim is null and p.next_attempt_at > now()
        for update skip locked
    ), woken as (
        update marquee.parked as p set next_attempt_at = now() from waiting as w where p.id = w.id
        returning 1
    )
    select count(*) from woken
$$;
comment on function marquee.wake(text, text, text) is
    'What a parked message of this key waited for has come: it is due when this transaction commits, and not only after its pause. Returns how many were woken. One whose delivery is under way at that moment keeps its pause.';
