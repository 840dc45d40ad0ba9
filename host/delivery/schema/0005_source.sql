-- Who numbers a key, and what the bus refuses.
-- The old code sees: numbers that go on as they did, as long as the source has no id. Once it has one (a database that
-- begins with this version, or is restored under it), relays of the version before get no shard: they would say the
-- database's name for it. What they see of a refused row is as before.

-- 1. The source.

create function marquee.life() returns text
language sql stable
as $$
    -- Some services do not tell of the log; a standby writes none.
    select case
        when pg_is_in_recovery() or not has_function_privilege('pg_walfile_name(pg_lsn)', 'execute') then ''
        else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
    end || '/' || (select oid from pg_database where datname = current_database())
$$;
comment on function marquee.life() is
    'The timeline of the server and the number of this database. The first changes when a standby is promoted and when a backup is recovered; the second in a database made anew.';

create table marquee.source (
    one boolean not null default true,
    incarnation integer not null default 0,
    id uuid,
    life text not null,
    written_in xid,
    since timestamptz not null default clock_timestamp(),
    constraint source_pkey primary key (one),
    constraint source_one_check check (one),
    constraint source_id_check check (id is not null or incarnation = 0)
);
comment on table marquee.source is
    'Who numbers the keys of this database: one row. Numbers mean something only together with it, and begin at 1 with each new one.';
comment on column marquee.source.incarnation is 'Grows by one with every new id.';
comment on column marquee.source.id is
    'Random. Null: the name that the manifest has for the database, as in the versions before.';
comment on column marquee.source.life is 'What marquee.life() said when the id was drawn. Another answer means another life.';
comment on column marquee.source.written_in is
    'The transaction that wrote this row. Where it is not the row''s own xmin, the row is a copy: of a dump, of a replication.';

-- Where a host of the version before has numbered or relays, its numbers go on under the database's name.
insert into marquee.source (id, life)
select
    case when not exists (select from marquee.keys) and not exists (select from marquee.relays) then gen_random_uuid() end,
    marquee.life();
update marquee.source set written_in = xmin;

alter table marquee.keys
    add column incarnation integer not null default 0,
    add column held boolean not null default false;
comment on column marquee.keys.incarnation is 'Of marquee.source, when the number was given. In a later one the key begins at 1.';
comment on column marquee.keys.held is 'The bus refuses a message of this key: what is published of it waits behind that one.';

alter table marquee.outbox add column source uuid;
comment on column marquee.outbox.source is 'Whose number it is: marquee.source.id when it was published.';

alter table marquee.relays add column version integer not null default 1;
comment on column marquee.relays.version is '1: says the database''s name for the source of every row. 2: says the row''s.';

create function marquee.check_relay() returns trigger
language plpgsql
as $$
begin
    if exists (select from marquee.source as s where s.id is not null)
        and not exists (select from marquee.relays as r where r.owner = new.owner and r.version >= 2)
    then
        return null;
    end if;
    return new;
end
$$;
comment on function marquee.check_relay() is 'A relay that would name the wrong source is given no shard.';
create trigger shards_owner_check before update of owner on marquee.shards
    for each row when (new.owner is not null and new.owner is distinct from old.owner)
    execute function marquee.check_relay();

create function marquee.renew_source() returns uuid
language plpgsql volatile
as $$
declare
    new_id uuid;
begin
    update marquee.source
    set incarnation = incarnation + 1, id = gen_random_uuid(), life = marquee.life(), since = clock_timestamp()
    returning id into new_id;
    update marquee.source set written_in = xmin;
    perform set_config('marquee.source', '', true);
    update marquee.shards set owner = null, lease_until = '-infinity', epoch = epoch + 1
    where owner in (select r.owner from marquee.relays as r where r.version < 2);
    return new_id;
end
$$;
comment on function marquee.renew_source() is
    'Begin to number under a new random id. The host does it by itself where it can see that the database was restored; a person where nobody can: a server''s files that were put back as they had been.';

create function marquee.check_source() returns boolean
language plpgsql volatile
as $$
begin
    if exists (
        select from marquee.source as s where s.xmin = s.written_in and s.life = marquee.life()
    ) then
        return false;
    end if;
    -- One of those who have seen it at once.
    perform from marquee.source for update;
    if exists (
        select from marquee.source as s where s.xmin = s.written_in and s.life = marquee.life()
    ) then
        return false;
    end if;
    perform marquee.renew_source();
    return true;
end
$$;
comment on function marquee.check_source() is 'Renew the source if the database lives another life than when its id was drawn; whether it did.';

-- 2. What the bus refuses.

alter table marquee.outbox
    drop constraint outbox_shard_check,
    add constraint outbox_shard_check check (shard between -16 and 15),
    add column refused text,
    add column refused_at timestamptz,
    add column retry_at timestamptz;
comment on column marquee.outbox.shard is
    'A hash of topic and key; the unit that relays share out. Below zero: set aside, out of the way of shard -1 - shard; the bus refuses this message or one before it of its key.';
comment on column marquee.outbox.refused is 'Why the bus does not take it. The others of its key that are set aside wait behind it.';
comment on column marquee.outbox.retry_at is 'When the bus is asked again.';
create index outbox_refused_idx on marquee.outbox (retry_at) where refused is not null;
create index outbox_held_idx on marquee.outbox (topic, key, id) where shard < 0;

-- 3. What a consumer knows of the last number.

alter table marquee.key_state add column last_event_id uuid, add column last_event_seq bigint;
comment on column marquee.key_state.last_event_id is
    'The event that had the number last_event_seq. A later event under a number that is used up was numbered by a database that was put back.';
comment on column marquee.key_state.last_event_seq is
    'Where it is not last_seq, the event of that is not known: a host of the version before raised it, or a person.';
alter table marquee.parked
    drop constraint parked_reason_check,
    add constraint parked_reason_check
        check (reason in ('retry', 'failed', 'waiting', 'gap', 'rejected', 'undecodable', 'component', 'clash'));

-- 4. Publishing: bounds that the bus has too, and the source.

create or replace function marquee.check_message(topic text, key text, value bytea) returns void
language plpgsql immutable
as $$
begin
    if topic is null or octet_length(topic) not between 1 and 249 or topic ~ '[^A-Za-z0-9._-]' or topic in ('.', '..') then
        raise exception 'a topic has 1 to 249 of the characters A-Z, a-z, 0-9, ., _ and -' using errcode = 'invalid_parameter_value';
    end if;
    if key is null or octet_length(key) > 256 then
        raise exception 'a key has at most 256 bytes and is not null' using errcode = 'invalid_parameter_value';
    end if;
    if value is null or octet_length(value) > 1048576 then
        raise exception 'a value has at most 1 MiB and is not null' using errcode = 'invalid_parameter_value';
    end if;
end
$$;

create function marquee.own_source() returns text
language plpgsql volatile
as $$
declare
    own text;
begin
    loop
        select s.incarnation || ':' || coalesce(s.id::text, '') into own
        from marquee.source as s where s.xmin = s.written_in and s.life = marquee.life();
        exit when found;
        perform marquee.check_source();
    end loop;
    -- A transaction has one life.
    perform set_config('marquee.source', own, true);
    return own;
end
$$;
comment on function marquee.own_source() is
    'Incarnation and id of the source that numbers now, with a colon between; looked at once in a transaction.';

create or replace function marquee.publish(topic text, key text, headers jsonb, value bytea) returns bigint
language plpgsql volatile
as $$
declare
    number bigint;
    held boolean := false;
    event uuid;
    home integer;
    all_headers jsonb := coalesce(headers, '{}');
    traceparent text := current_setting('marquee.traceparent', true);
    own text := current_setting('marquee.source', true);
    own_incarnation integer;
begin
    perform marquee.check_message(topic, key, value);
    if all_headers <> '{}' then
        perform marquee.check_headers(all_headers);
    end if;
    if traceparent <> '' and not all_headers ? 'traceparent' then
        all_headers := all_headers || jsonb_build_object('traceparent', traceparent);
    end if;
    loop
        if own is null or own = '' then
            own := marquee.own_source();
        end if;
        exit when key = '';
        own_incarnation := split_part(own, ':', 1)::integer;
        -- Locked until commit. It must come before the insert below, whose id is drawn under this lock.
        insert into marquee.keys as k (topic, key, last_seq, incarnation)
        values (publish.topic, publish.key, 1, own_incarnation)
        on conflict on constraint keys_pkey do update
        set last_seq = case when k.incarnation = excluded.incarnation then k.last_seq + 1 else 1 end,
            incarnation = excluded.incarnation
        where k.incarnation <= excluded.incarnation
        returning k.last_seq, k.held into number, held;
        -- Nothing: the source was renewed, and the key published to, since it was looked at.
        exit when found;
        own := null;
    end loop;
    event := marquee.uuid_v7();
    home := case when key = ''
        then get_byte(uuid_send(event), 15)
        else get_byte(sha256(convert_to(topic || chr(1) || key, 'UTF8')), 0)
    end & 15;
    insert into marquee.outbox (shard, topic, key, seq, source, event_id, headers, value)
    values (
        case when held then -1 - home else home end,
        publish.topic, publish.key, number, nullif(split_part(own, ':', 2), '')::uuid, event, all_headers, publish.value
    );
    return coalesce(number, 0);
end
$$;
comment on function marquee.publish(text, text, jsonb, bytea) is
    'Publish a message when this transaction commits. Returns the key''s number, dense from 1 in the order of the commits under one marquee.source; 0 for an empty key, which has no order. topic 1 to 249 letters, digits, ., _ and -, key at most 256 bytes, value 1 MiB, headers an object of texts (64, 16 KiB) or null. Publishing to several keys in one transaction: in the order of the keys, so that two transactions do not wait for each other in a circle.';
