-- The way in: what a consumer has dealt with, what it could not apply yet, and what a person did about it.
-- The old code sees: nothing; this is the first version.

create table marquee.positions (
    consumer text not null,
    topic text not null,
    partition integer not null,
    position bigint not null default 0,
    starts integer not null default 0,
    updated_at timestamptz not null default now(),
    constraint positions_pkey primary key (consumer, topic, partition),
    constraint positions_position_check check (position >= 0),
    constraint positions_starts_check check (starts >= 0)
) with (fillfactor = 50);
comment on table marquee.positions is
    'How far each consumer has come in each partition: everything below position is dealt with. Advanced only from the value that the advancing host last saw, in the transaction of the batch: the fence against a host that lost the partition.';
comment on column marquee.positions.starts is
    'How often a host began to deliver from this position and was not heard of again. Zero as soon as the position moves or a host survives the try.';

create table marquee.key_state (
    consumer text not null,
    source text not null,
    topic text not null,
    key text not null,
    last_seq bigint not null default 0,
    parked integer not null default 0,
    constraint key_state_pkey primary key (consumer, topic, key, source),
    constraint key_state_parked_check check (parked >= 0)
) with (fillfactor = 70);
comment on table marquee.key_state is
    'A consumer''s view of each key. Locked by whoever delivers, parks or retries a message of the key, so these follow each other.';
comment on column marquee.key_state.source is 'The outbox that numbered the messages; empty for messages without numbers, and only for those.';
comment on column marquee.key_state.last_seq is
    'Every number up to this one was applied or is parked. It never expires. 0: none, or messages without numbers.';
comment on column marquee.key_state.parked is 'Messages in marquee.parked that hold this key, dead ones included. More than 0: later messages wait behind them.';

create index key_state_blocked_idx on marquee.key_state (consumer, topic) where parked > 0;
create index key_state_idle_idx on marquee.key_state (consumer) where source = '' and parked = 0;

create table marquee.inbox (
    consumer text not null,
    event_id uuid not null,
    transaction xid8 not null default pg_current_xact_id(),
    seen_at timestamptz not null default now(),
    constraint inbox_pkey primary key (consumer, event_id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
comment on table marquee.inbox is
    'Event ids that a consumer has seen, of messages without numbers. Kept 7 days.';
comment on column marquee.inbox.transaction is 'Who recorded it: tells marquee.park an id accepted in the same transaction from one seen before.';
create index inbox_seen_at_idx on marquee.inbox (seen_at);

create table marquee.parked (
    id bigint generated always as identity,
    consumer text not null,
    source text not null default '',
    topic text not null,
    key text not null,
    seq bigint,
    event_id uuid not null,
    headers jsonb not null default '[]',
    value bytea not null,
    published_at timestamptz not null default now(),
    partition integer,
    "offset" bigint,
    state text not null default 'parked',
    reason text not null,
    error text,
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    claim uuid,
    ordered boolean not null,
    parked_at timestamptz not null default now(),
    first_failed_at timestamptz,
    last_failed_at timestamptz,
    constraint parked_pkey primary key (id),
    constraint parked_state_check check (state in ('parked', 'dead', 'skipped')),
    constraint parked_reason_check check (reason in ('retry', 'failed', 'waiting', 'gap', 'rejected', 'undecodable', 'component')),
    constraint parked_headers_check check (jsonb_typeof(headers) = 'array'),
    constraint parked_attempts_check check (attempts >= 0)
) with (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    toast.autovacuum_vacuum_scale_factor = 0.02
);
comment on table marquee.parked is
    'Messages that a consumer could not apply: parked (the host brings them again), dead (a person decides) and skipped (set aside by a person).';
comment on column marquee.parked.source is 'See marquee.key_state.source.';
comment on column marquee.parked.headers is 'The publisher''s headers in their order: [[name, text], ...].';
comment on column marquee.parked.reason is
    'How it came here: retry (the component said so), failed (its call failed), waiting (behind a message of its key), gap (a number before it is missing), rejected, undecodable, component (marquee.park).';
comment on column marquee.parked.attempts is 'Deliveries to the component, counted before the call.';
comment on column marquee.parked.next_attempt_at is
    'When it is delivered next. Set only on the first message of its key: one that waits behind another, or for a missing number, has none. While claim is set: when another host may claim it.';
comment on column marquee.parked.claim is 'The delivery under way, if any.';
comment on column marquee.parked.ordered is 'Whether it counts in marquee.key_state.parked: later messages of its key wait for it.';

-- A number is parked once, an event without number too; a redelivery changes nothing.
create unique index parked_seq_key on marquee.parked (consumer, topic, key, source, seq) where seq is not null;
create unique index parked_event_id_key on marquee.parked (consumer, event_id) where seq is null;
-- The order within a key: by number, without numbers by arrival.
create index parked_order_idx on marquee.parked (consumer, topic, key, source, (coalesce(seq, 0)), id) where ordered;
create index parked_due_idx on marquee.parked (consumer, topic, next_attempt_at) where state = 'parked' and next_attempt_at is not null;
create index parked_state_idx on marquee.parked (state, id);

create table marquee.actions (
    id bigint generated always as identity,
    at timestamptz not null default now(),
    actor text not null,
    action text not null,
    message_id bigint not null,
    consumer text not null,
    topic text not null,
    key text not null,
    event_id uuid not null,
    detail jsonb not null default '{}',
    constraint actions_pkey primary key (id),
    constraint actions_action_check check (action in ('retry', 'skip', 'discard'))
);
comment on table marquee.actions is 'What persons did with parked and dead messages. Never deleted by the host.';
comment on column marquee.actions.detail is 'State, error, attempts and number of the message as the person found it.';

create function marquee.accept(consumer text, event_id uuid) returns boolean
language plpgsql volatile
as $$
begin
    insert into marquee.inbox (consumer, event_id) values (accept.consumer, accept.event_id)
    on conflict on constraint inbox_pkey do nothing;
    return found;
end
$$;
comment on function marquee.accept(text, uuid) is
    'True the first time that this consumer sees the event, whichever way it came; then false. For ways in other than the bus (a command): the host has accepted what it hands to marquee:messaging/consumer before the call, so a consumer must not ask again. Of concurrent callers one gets true once it commits; the others wait for it.';

create function marquee.park(
    consumer text, topic text, key text, event_id uuid, headers jsonb, value bytea, reason text
) returns void
language plpgsql volatile
as $$
declare
    new_id bigint;
    holding integer;
begin
    perform marquee.check_message(topic, key, value);
    perform marquee.check_headers(coalesce(headers, '{}'));
    insert into marquee.inbox (consumer, event_id) values (park.consumer, park.event_id)
    on conflict on constraint inbox_pkey do nothing;
    -- Seen in an earlier transaction: it was applied, or is parked already. Seen in this one: marquee.accept.
    if not found and not exists (
        select from marquee.inbox as i
        where i.consumer = park.consumer and i.event_id = park.event_id and i.transaction = pg_current_xact_id()
    ) then
        return;
    end if;
    if park.key <> '' then
        -- The key's lock comes first, as everywhere.
        insert into marquee.key_state as k (consumer, source, topic, key)
        values (park.consumer, '', park.topic, park.key)
        on conflict on constraint key_state_pkey do update set parked = k.parked
        returning k.parked into holding;
    end if;
    insert into marquee.parked (
        consumer, topic, key, event_id, headers, value, reason, error, ordered, next_attempt_at, first_failed_at, last_failed_at
    )
    select
        park.consumer, park.topic, park.key, park.event_id,
        coalesce((select jsonb_agg(jsonb_build_array(h.name, h.item)) from jsonb_each(park.headers) as h (name, item)), '[]'),
        park.value, 'component', left(park.reason, 1000), park.key <> '',
        case when coalesce(holding, 0) = 0 then now() end, now(), now()
    on conflict do nothing
    returning id into new_id;
    if new_id is not null and park.key <> '' then
        update marquee.key_state as k set parked = k.parked + 1
        where k.consumer = park.consumer and k.source = '' and k.topic = park.topic and k.key = park.key;
    end if;
end
$$;
comment on function marquee.park(text, text, text, uuid, jsonb, bytea, text) is
    'Keep a message that a command took in and cannot apply yet; the host brings it to the consumer on its retry schedule. Once for each consumer and event id; nothing happens for an id that the consumer has seen in an earlier transaction. Bounds as of marquee.publish; the reason is kept to 1,000 characters.';
