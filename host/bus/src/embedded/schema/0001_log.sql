-- The embedded bus: topics, an append-only log by day, consumer groups with leases.
-- Offsets come from a counter row a partition that is held until the commit: whoever reads sees rows exactly in the
-- order of their offsets, and none can appear behind a reader.
create schema marquee_bus;

create table marquee_bus.topics (
    id integer generated always as identity,
    name text not null,
    partitions integer not null,
    created_at timestamptz not null default now(),
    constraint topics_pkey primary key (id),
    constraint topics_name_key unique (name),
    constraint topics_name_check check (length(name) between 1 and 249),
    constraint topics_partitions_check check (partitions between 1 and 64)
);
comment on table marquee_bus.topics is 'What can be published to. The number of partitions never changes.';

-- Only next_offset changes: with room on the page each change stays there (HOT) and leaves no dead index entries.
create table marquee_bus.partitions (
    topic_id integer not null,
    number integer not null,
    next_offset bigint not null default 0,
    constraint partitions_pkey primary key (topic_id, number),
    constraint partitions_topic_id_fkey foreign key (topic_id) references marquee_bus.topics (id)
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table marquee_bus.partitions is 'The next offset of each partition; locked from the append to its commit.';

create table marquee_bus.records (
    topic_id integer not null,
    partition integer not null,
    "offset" bigint not null,
    day date not null,
    published_at timestamptz not null,
    key text not null,
    headers bytea not null,
    value bytea not null,
    constraint records_pkey primary key (topic_id, partition, "offset", day)
) partition by range (day);
comment on table marquee_bus.records is 'The log. Rows are never changed; whole days are dropped.';
comment on column marquee_bus.records.headers is
    'Name and value in turn, each with its length before it (4 bytes, most significant first).';

create table marquee_bus.leases (
    group_name text not null,
    topic_id integer not null,
    partition integer not null,
    committed bigint not null default 0,
    owner uuid,
    epoch bigint not null default 0,
    lease_until timestamptz,
    constraint leases_pkey primary key (group_name, topic_id, partition),
    constraint leases_partition_fkey foreign key (topic_id, partition)
        references marquee_bus.partitions (topic_id, number),
    constraint leases_owner_check check ((owner is null) = (lease_until is null))
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table marquee_bus.leases is
    'Which member of a group holds a partition, until when, and how far the group is.';
comment on column marquee_bus.leases.committed is 'Everything before this offset is dealt with.';
comment on column marquee_bus.leases.epoch is 'One more with each holder; what comes from an older one is refused.';

create table marquee_bus.members (
    group_name text not null,
    topic_id integer not null,
    member uuid not null,
    alive_until timestamptz not null,
    constraint members_pkey primary key (group_name, topic_id, member),
    constraint members_topic_id_fkey foreign key (topic_id) references marquee_bus.topics (id)
) with (fillfactor = 10);
comment on table marquee_bus.members is 'Who takes part in a group and was heard of lately.';

create table marquee_bus.groups (
    group_name text not null,
    topic_id integer not null,
    seen_at timestamptz not null default now(),
    constraint groups_pkey primary key (group_name, topic_id),
    constraint groups_topic_id_fkey foreign key (topic_id) references marquee_bus.topics (id)
);
comment on table marquee_bus.groups is 'When a group was last heard of; one that is gone does not pin the log.';

-- Make the days that are coming. Two hosts may do this at once.
create function marquee_bus.prepare_days() returns void
language plpgsql as $$
declare
    wanted date;
    name text;
begin
    perform pg_advisory_xact_lock(7305803100243);
    for wanted in
        select ((now() at time zone 'UTC')::date + ahead)::date from generate_series(-1, 3) as ahead
    loop
        name := 'records_' || to_char(wanted, 'YYYYMMDD');
        if to_regclass('marquee_bus.' || name) is null then
            execute format(
                'create table marquee_bus.%I partition of marquee_bus.records for values from (%L) to (%L)',
                name, wanted, wanted + 1
            );
        end if;
    end loop;
end
$$;
comment on function marquee_bus.prepare_days is 'Create the tables of yesterday to three days ahead.';

select marquee_bus.prepare_days();

-- Append records in the order given. Counters are locked in one order everywhere, so appends cannot deadlock.
create function marquee_bus.append(
    topic_ids integer[], partition_numbers integer[], keys text[], header_blocks bytea[], contents bytea[]
) returns bigint
language plpgsql as $$
declare
    target record;
    first bigint;
    first_topics integer[] := '{}';
    first_partitions integer[] := '{}';
    firsts bigint[] := '{}';
    taken_at timestamptz;
    appended bigint;
begin
    for target in
        select t.topic_id, t.partition, count(*) as amount
        from unnest(topic_ids, partition_numbers) as t (topic_id, partition)
        group by t.topic_id, t.partition
        order by t.topic_id, t.partition
    loop
        update marquee_bus.partitions p
        set next_offset = p.next_offset + target.amount
        where p.topic_id = target.topic_id and p.number = target.partition
        returning p.next_offset - target.amount into strict first;
        first_topics := first_topics || target.topic_id;
        first_partitions := first_partitions || target.partition;
        firsts := firsts || first;
    end loop;
    -- After the locks, so that times follow offsets as long as the clock does not step back.
    taken_at := clock_timestamp();
    insert into marquee_bus.records
        (topic_id, partition, "offset", day, published_at, key, headers, value)
    select
        i.topic_id,
        i.partition,
        f.first + row_number() over (partition by i.topic_id, i.partition order by i.place) - 1,
        (taken_at at time zone 'UTC')::date,
        taken_at,
        i.key,
        i.headers,
        i.value
    from unnest(topic_ids, partition_numbers, keys, header_blocks, contents) with ordinality
        as i (topic_id, partition, key, headers, value, place)
    join unnest(first_topics, first_partitions, firsts) as f (topic_id, partition, first)
        on f.topic_id = i.topic_id and f.partition = i.partition;
    get diagnostics appended = row_count;
    return appended;
end
$$;
comment on function marquee_bus.append is 'Append records to the log in the order given; returns how many.';

-- One heartbeat of a member: it lives, its holdings are renewed, holdings it does not know of are let go, and free
-- partitions are taken up to its fair share. Returns what it holds now and what its share is.
create function marquee_bus.beat(
    in_group text, in_topic_id integer, in_member uuid, ttl interval, known_partitions integer[], known_epochs bigint[]
) returns table (partition integer, epoch bigint, committed bigint, share integer, remaining double precision)
language plpgsql as $$
declare
    all_partitions integer;
    living integer;
    earlier integer;
    fair integer;
    held integer;
begin
    insert into marquee_bus.members as m (group_name, topic_id, member, alive_until)
    values (in_group, in_topic_id, in_member, clock_timestamp() + ttl)
    on conflict (group_name, topic_id, member) do update set alive_until = excluded.alive_until
    where m.alive_until < excluded.alive_until - ttl / 4;

    update marquee_bus.leases l set owner = null, lease_until = null
    where l.group_name = in_group and l.topic_id = in_topic_id and l.owner = in_member
        and not exists (
            select from unnest(known_partitions, known_epochs) as k (partition, epoch)
            where k.partition = l.partition and k.epoch = l.epoch
        );
    -- Written only when a fifth is over: most beats change nothing.
    update marquee_bus.leases l set lease_until = clock_timestamp() + ttl
    where l.group_name = in_group and l.topic_id = in_topic_id and l.owner = in_member
        and l.lease_until < clock_timestamp() + ttl * 4 / 5;

    select t.partitions into strict all_partitions from marquee_bus.topics t where t.id = in_topic_id;
    select count(*), count(*) filter (where m.member < in_member) into living, earlier
    from marquee_bus.members m
    where m.group_name = in_group and m.topic_id = in_topic_id
        and (m.alive_until > clock_timestamp() or m.member = in_member);
    -- Each gets the whole part; the first few by name get one more.
    fair := all_partitions / living + case when earlier < all_partitions % living then 1 else 0 end;
    select count(*) into held from marquee_bus.leases l
    where l.group_name = in_group and l.topic_id = in_topic_id and l.owner = in_member;

    if held < fair then
        update marquee_bus.leases l
        set owner = in_member, epoch = l.epoch + 1, lease_until = clock_timestamp() + ttl
        from (
            select f.partition from marquee_bus.leases f
            where f.group_name = in_group and f.topic_id = in_topic_id
                and (f.owner is null or f.lease_until < clock_timestamp())
            order by f.partition
            limit fair - held
            for update skip locked
        ) as free
        where l.group_name = in_group and l.topic_id = in_topic_id and l.partition = free.partition;
    end if;

    return query
        select
            l.partition, l.epoch, l.committed, fair,
            extract(epoch from l.lease_until - clock_timestamp())::double precision
        from marquee_bus.leases l
        where l.group_name = in_group and l.topic_id = in_topic_id and l.owner = in_member
        order by l.partition;
end
$$;
comment on function marquee_bus.beat is 'One heartbeat of a member of a group; returns what it holds, and for how many seconds.';
