-- What became of an event, for whoever sent it.
-- The old code sees: two functions and an index that it does not use.

create index actions_event_id_idx on marquee.actions (consumer, event_id);

create function marquee.event_state(consumer text, event_id uuid) returns text
language sql stable
as $$
    -- Kept first: such an event stands in the inbox as well. One statement, so that it is not missed on its way from
    -- the one to the other.
    select coalesce(
        (
            select case p.state when 'parked' then 'waiting' else p.state end
            from marquee.parked as p
            where p.consumer = event_state.consumer and p.event_id = event_state.event_id and p.seq is null
        ),
        (
            select 'discarded'
            from marquee.actions as a
            where a.consumer = event_state.consumer and a.event_id = event_state.event_id and a.action = 'discard'
            limit 1
        ),
        (
            select 'applied'
            from marquee.inbox as i
            where i.consumer = event_state.consumer and i.event_id = event_state.event_id
        )
    )
$$;
comment on function marquee.event_state(text, uuid) is
    'What became of an event at this consumer: waiting (it could not be applied yet, and comes again), dead (a person decides), skipped or discarded (a person has decided), applied; null: it has not come, or it came more than 7 days ago. Of events without numbers: those of publishers without a database, and those of commands (marquee.accept).';

create function marquee.events_seen(consumer text, first uuid, last uuid) returns setof uuid
language sql stable
as $$
    select i.event_id
    from marquee.inbox as i
    where i.consumer = events_seen.consumer and i.event_id between events_seen.first and events_seen.last
    order by i.event_id
    limit 100
$$;
comment on function marquee.events_seen(text, uuid, uuid) is
    'The ids of events without numbers that this consumer has seen, from first to last, in their order and at most 100. For publishers who give events that belong together ids that begin alike.';
