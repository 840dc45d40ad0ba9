-- Positions know which log they are positions in, and which life of it; messages that take their hosts along go alone;
-- a component says that what a message waits for has come.
-- The old code sees: columns with defaults. It fences by the position alone, as before.

alter table marquee.positions
    add column incarnation bigint not null default 0,
    add column log text,
    add column began bigint default 0;
comment on column marquee.positions.incarnation is
    'One more each time that the position was set and not advanced: a new log, a log whose beginning is gone. A host that knew it before is fenced, though the number be the same.';
comment on column marquee.positions.log is 'Of which log it is, as the bus names it; null: not known yet.';
comment on column marquee.positions.began is
    'Where the consumer began: beyond 0, the numbers of keys before that are not missed. Null: it has not begun.';

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
