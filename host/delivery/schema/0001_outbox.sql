-- The way out: numbers of keys, the outbox, and who relays it. Nothing here depends on what a service stores.
-- The old code sees: nothing; this is the first version.

create table marquee.keys (
    topic text not null,
    key text not null,
    last_seq bigint not null,
    constraint keys_pkey primary key (topic, key),
    constraint keys_last_seq_check check (last_seq > 0)
) with (fillfactor = 70);
comment on table marquee.keys is
    'The last number given to each key of each topic. A row is locked from publish to commit, so the numbers of a key are dense and their order is the order of the commits.';

create table marquee.outbox (
    id bigint generated always as identity,
    shard smallint not null,
    topic text not null,
    key text not null,
    seq bigint,
    event_id uuid not null,
    headers jsonb not null,
    value bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint outbox_pkey primary key (shard, id),
    constraint outbox_shard_check check (shard between 0 and 15),
    constraint outbox_seq_check check ((seq is null) = (key = ''))
) with (
    -- Every row is deleted soon after it was written: vacuum by count, without pauses, so that the index a relay
    -- reads from its beginning does not fill with dead entries.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0
);
comment on table marquee.outbox is
    'Messages on their way to the bus. A row is deleted once the bus has acknowledged it. Within a key the order of id is the order of seq: the id is drawn while the key''s row in marquee.keys is locked (and the sequence has no cache). Across keys the order of id says nothing, and a lower id may appear after a higher one.';
comment on column marquee.outbox.shard is 'A hash of topic and key; the unit that relays share out.';
comment on column marquee.outbox.seq is 'The dense number of the key, from 1. Null where the key is empty: such messages have no order.';
comment on column marquee.outbox.event_id is 'A UUIDv7 that names the event for ever.';
comment on column marquee.outbox.headers is 'An object of names and texts: the publisher''s, and traceparent where it is known.';

create table marquee.shards (
    shard smallint not null,
    owner uuid,
    epoch bigint not null default 0,
    lease_until timestamptz not null default '-infinity',
    attempts integer not null default 0,
    last_error text,
    next_attempt_at timestamptz,
    constraint shards_pkey primary key (shard),
    constraint shards_shard_check check (shard between 0 and 15)
) with (fillfactor = 50);
comment on table marquee.shards is
    'Which relay publishes which shard of the outbox, by leases on this server''s clock. attempts, last_error and next_attempt_at speak of a run that the bus did not take; they are empty while all is well.';
comment on column marquee.shards.epoch is 'Grows by one with every new owner; what comes late from an old one is refused by it.';
insert into marquee.shards (shard) select generate_series(0, 15);

create table marquee.relays (
    owner uuid not null,
    alive_until timestamptz not null,
    constraint relays_pkey primary key (owner)
);
comment on table marquee.relays is 'The relays that are alive, so that each takes no more than its share of the shards.';

create function marquee.uuid_v7() returns uuid
language sql volatile parallel safe
as $$
    -- A random UUID (version 4) with the milliseconds since 1970 in its first six bytes; 4 becomes 7 by two bits.
    select encode(
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
comment on function marquee.uuid_v7() is 'A UUID of version 7 (RFC 9562): ordered by time to the millisecond, random otherwise.';

create function marquee.check_message(topic text, key text, value bytea) returns void
language plpgsql immutable
as $$
begin
    if topic is null or topic = '' or octet_length(topic) > 256 then
        raise exception 'a topic has 1 to 256 bytes' using errcode = 'invalid_parameter_value';
    end if;
    if key is null or octet_length(key) > 256 then
        raise exception 'a key has at most 256 bytes and is not null' using errcode = 'invalid_parameter_value';
    end if;
    if value is null or octet_length(value) > 1048576 then
        raise exception 'a value has at most 1 MiB and is not null' using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function marquee.check_message(text, text, bytea) is 'The bounds of every message; 22023 when one is broken.';

create function marquee.check_headers(headers jsonb) returns void
language plpgsql immutable
as $$
begin
    if jsonb_typeof(headers) <> 'object'
        or exists (select from jsonb_each(headers) as h (name, item) where jsonb_typeof(h.item) <> 'string')
    then
        raise exception 'headers are an object of texts' using errcode = 'invalid_parameter_value';
    end if;
    if octet_length(headers::text) > 16384
        or (select count(*) from jsonb_object_keys(headers)) > 64
    then
        raise exception 'headers have at most 64 names and 16 KiB' using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from jsonb_object_keys(headers) as h (name) where lower(h.name) like 'marquee-%') then
        raise exception 'names of headers that begin with marquee- are the host''s' using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function marquee.check_headers(jsonb) is 'The bounds of a publisher''s headers; 22023 when one is broken.';

create function marquee.publish(topic text, key text, headers jsonb, value bytea) returns bigint
language plpgsql volatile
as $$
declare
    number bigint;
    all_headers jsonb := coalesce(headers, '{}');
    traceparent text := current_setting('marquee.traceparent', true);
begin
    perform marquee.check_message(topic, key, value);
    if all_headers <> '{}' then
        perform marquee.check_headers(all_headers);
    end if;
    if traceparent <> '' and not all_headers ? 'traceparent' then
        all_headers := all_headers || jsonb_build_object('traceparent', traceparent);
    end if;
    if key <> '' then
        -- Locked until commit. It must come before the insert below, whose id is drawn under this lock.
        insert into marquee.keys as k (topic, key, last_seq)
        values (publish.topic, publish.key, 1)
        on conflict on constraint keys_pkey do update set last_seq = k.last_seq + 1
        returning k.last_seq into number;
    end if;
    insert into marquee.outbox (shard, topic, key, seq, event_id, headers, value)
    select
        case when publish.key = ''
            then get_byte(uuid_send(e.id), 15)
            else get_byte(sha256(convert_to(publish.topic || chr(1) || publish.key, 'UTF8')), 0)
        end & 15,
        publish.topic, publish.key, number, e.id, all_headers, publish.value
    from (select marquee.uuid_v7()) as e (id);
    return coalesce(number, 0);
end
$$;
comment on function marquee.publish(text, text, jsonb, bytea) is
    'Publish a message when this transaction commits. Returns the key''s number, dense from 1 in the order of the commits; 0 for an empty key, which has no order. topic and key at most 256 bytes, value 1 MiB, headers an object of texts (64, 16 KiB) or null. Publishing to several keys in one transaction: in the order of the keys, so that two transactions do not wait for each other in a circle.';
