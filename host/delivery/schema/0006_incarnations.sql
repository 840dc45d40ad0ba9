-- Positions know which log they are positions in, which life of it, and what became of all that is behind them; messages
-- that take their hosts along go alone; a component says that what a message waits for has come.
-- The old code sees: columns with defaults. It fences by the position alone, as before, and counts nothing: what it deals
-- with appears as uncounted.

alter table marquee.positions
    add column incarnation bigint not null default 0,
    add column log text,
    add column began bigint default 0,
    add column replayed_at timestamptz;
comment on column marquee.positions.incarnation is
    'One more each time that the position was set and not advanced: a new log, a log whose beginning is gone. A host that knew it before is fenced, though the number be the same.';
comment on column marquee.positions.log is 'Of which log it is, as the bus names it; null: not known yet.';
comment on column marquee.positions.began is
    'Where the consumer began: beyond 0, the numbers of keys before that are not missed. Null: it has not begun.';
comment on column marquee.positions.replayed_at is
    'When a person set it back: what was seen before then is not seen yet.';

create table marquee.pauses (
    consumer text not null,
    topic text not null,
    since timestamptz not null default now(),
    actor text not null,
    constraint pauses_pkey primary key (consumer, topic)
);
comment on table marquee.pauses is
    'Subscriptions that a person has paused: nothing of them is delivered, fresh or parked, by any host.';

alter table marquee.actions
    drop constraint actions_action_check,
    alter column message_id drop not null,
    alter column event_id drop not null;
comment on table marquee.actions is
    'What persons did with messages, outbox rows and subscriptions. Never deleted by the host.';
comment on column marquee.actions.detail is 'What it was done to as the person found it; of a subscription, what was asked.';

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
    where k.parked > 0
$$;
comment on function marquee.recount() is
    'Take what stands there as right and count from here: after the last host of a version that did not count is gone, or when a loss was dealt with.';

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
