//! The SQL of consuming. Locks are taken in one order everywhere: position, event ids, keys, parked messages. It is the
//! order of a command too, which accepts an event before it parks it.

/// A count that the schema keeps from being negative.
pub(crate) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// $1 consumer, $2 topic, $3 partition.
pub(crate) const POSITION: &str = "
select position, incarnation, log, began, starts,
    exists (select from marquee.pauses where consumer = $1 and topic = $2) as paused
from marquee.positions
where consumer = $1 and topic = $2 and partition = $3";

/// As above; another host may have been quicker.
pub(crate) const NEW_POSITION: &str = "
insert into marquee.positions (consumer, topic, partition, began) values ($1, $2, $3, null)
on conflict do nothing";

/// $4 and $5: position and incarnation as they were seen. No row: it moved.
pub(crate) const START: &str = "
update marquee.positions set starts = starts + 1
where consumer = $1 and topic = $2 and partition = $3 and position = $4 and incarnation = $5
returning starts::bigint";

/// As above.
pub(crate) const SURVIVED: &str = "
update marquee.positions set starts = 0
where consumer = $1 and topic = $2 and partition = $3 and position = $4 and incarnation = $5
returning starts::bigint";

/// As above. $6 the new position, $7 its log, $8 where the consumer began; $9 whether counting begins anew, else $10 and $11
/// how many offsets between were lost, and held nothing.
pub(crate) const SET: &str = "
update marquee.positions
set position = $6, log = $7, began = $8, incarnation = incarnation + 1, starts = 0, updated_at = now(),
    counted_at = $6,
    counted_from = case when $9 then $6 else counted_from end,
    uncounted = case when $9 then 0 else uncounted + position - counted_at end,
    lost = case when $9 then 0 else lost + $10 end,
    holes = case when $9 then 0 else holes + $11 end,
    records = case when $9 then 0 else records end,
    duplicates = case when $9 then 0 else duplicates end,
    carried = case when $9 then carried + kept else carried end,
    kept = case when $9 then 0 else kept end
where consumer = $1 and topic = $2 and partition = $3 and position = $4 and incarnation = $5
returning incarnation";

/// The first statement of a batch's unit of work: the fence, the locks, what is known. $4 position seen, $5 position
/// after the batch, $6 and $7 sources and keys, $8 ids of events without number, both in their order; $9 incarnation seen, $10
/// records in the batch.
///
/// Kinds of rows: 0 the fence held; 1 a key's state; 2 an event not seen before. Every part looks at the fence
/// first, so that a fenced batch waits for nothing but the position and changes nothing; the keys look at the ids, so
/// that these are recorded before those are locked. Recording an event id waits for whoever records the same one now,
/// which is what makes it count once whichever way it comes; what was seen before a replay was not seen. The lateral join is one probe of the index a key, in the
/// order of the arrays, whatever the planner believes about the table.
pub(crate) const OPEN: &str = "
with fence as (
    update marquee.positions set
        position = $5, starts = 0, updated_at = now(),
        counted_at = $5, uncounted = uncounted + position - counted_at, records = records + $10,
        holes = holes + $5 - $4 - $10
    where consumer = $1 and topic = $2 and partition = $3 and position = $4 and incarnation = $9
        and not exists (select from marquee.pauses where consumer = $1 and topic = $2)
    returning replayed_at
), fresh as (
    insert into marquee.inbox as i (consumer, event_id)
    select $1, batch.event_id from unnest($8::uuid[]) as batch (event_id)
    where exists (select from fence)
    on conflict on constraint inbox_pkey do update set seen_at = clock_timestamp()
    where i.seen_at < (select replayed_at from fence)
    returning event_id
), states as (
    select k.source, k.key, k.last_seq, k.parked, k.last_event_id
    from unnest($6::text[], $7::text[]) as batch (source, key)
    cross join lateral (
        select source, key, last_seq, parked, case when last_event_seq = last_seq then last_event_id end as last_event_id
        from marquee.key_state
        where consumer = $1 and topic = $2 and key = batch.key and source = batch.source
        for update
    ) as k
    where exists (select from fence) and (select count(*) from fresh) >= 0
)
select 0::int4 as kind, null::text as source, null::text as key, null::bigint as last_seq, null::int4 as parked, null::uuid as event_id from fence
union all select 1, source, key, last_seq, parked, last_event_id from states
union all select 2, null, null, null, null, event_id from fresh";

/// What came of a batch that was applied as it came, with nothing to keep and nothing left out: the keys with their
/// watermarks, and the events that had those numbers. $1 consumer, $2 topic, $3 to $6 the columns. No plan of it is better
/// than another.
pub(crate) const RAISE: &str = "
insert into marquee.key_state as k (consumer, topic, source, key, last_seq, last_event_seq, last_event_id)
select $1, $2, b.source, b.key, b.last_seq, b.last_seq, b.last_event_id
from unnest($3::text[], $4::text[], $5::bigint[], $6::uuid[]) as b (source, key, last_seq, last_event_id)
on conflict on constraint key_state_pkey do update
set last_seq = greatest(k.last_seq, excluded.last_seq),
    last_event_seq = excluded.last_event_seq, last_event_id = excluded.last_event_id";

/// What came of any other batch. $1 consumer, $2 topic, $3 partition, then a column each of the messages to keep, then the
/// keys with their watermarks, and the events that had those numbers ($23).
///
/// A kept message is due only if it is the first of its key in the table too; the key's lock, held since OPEN, keeps
/// that true. A number that is parked already (a redelivery beyond a gap) is left as it is and not counted twice.
///
/// What is already counted of the batch as records is counted as duplicates ($22, and what was parked already) and kept.
///
/// The row: how many the consumer holds with these, counted up to one more than $21 and only if any was kept.
pub(crate) const SETTLE: &str = "
with batch as (
    select * from unnest(
        $4::text[], $5::text[], $6::bigint[], $7::uuid[], $8::jsonb[], $9::bytea[], $10::bigint[], $11::bigint[],
        $12::text[], $13::text[], $14::text[], $15::int4[], $16::bool[], $17::float8[]
    ) with ordinality as b (
        source, key, seq, event_id, headers, value, published_at_ms, place,
        state, reason, error, attempts, ordered, due_in, ordinal
    )
), kept as (
    insert into marquee.parked (
        consumer, topic, partition, source, key, seq, event_id, headers, value, published_at, \"offset\",
        state, reason, error, attempts, ordered, next_attempt_at, first_failed_at, last_failed_at
    )
    select
        $1, $2, $3, b.source, b.key, b.seq, b.event_id, b.headers, b.value,
        to_timestamp(b.published_at_ms / 1000.0), b.place,
        b.state, b.reason, b.error, b.attempts, b.ordered,
        case when not b.ordered or not exists (
            select from marquee.parked p
            where p.consumer = $1 and p.topic = $2 and p.key = b.key and p.source = b.source and p.ordered
                and coalesce(p.seq, 0) <= coalesce(b.seq, 0)
        ) then now() + make_interval(secs => b.due_in) end,
        case when b.error is not null then now() end,
        case when b.error is not null then now() end
    from batch b order by b.ordinal
    on conflict do nothing
    returning source, key, ordered
), added as (
    select source, key, count(*)::int4 as messages from kept where ordered group by source, key
), states as (
    insert into marquee.key_state as k (consumer, source, topic, key, last_seq, last_event_seq, last_event_id, parked)
    select $1, b.source, $2, b.key, b.last_seq, b.last_seq, b.last_event_id, coalesce(a.messages, 0)
    from unnest($18::text[], $19::text[], $20::bigint[], $23::uuid[]) as b (source, key, last_seq, last_event_id)
    left join added a on a.source = b.source and a.key = b.key
    on conflict on constraint key_state_pkey do update
    set last_seq = greatest(k.last_seq, excluded.last_seq), parked = k.parked + excluded.parked,
        last_event_seq = excluded.last_event_seq, last_event_id = excluded.last_event_id
), counted as (
    update marquee.positions p
    set kept = p.kept + kept.count, duplicates = p.duplicates + $22 + given.count - kept.count
    from (select count(*) from kept) as kept, (select count(*) from batch) as given
    where p.consumer = $1 and p.topic = $2 and p.partition = $3 and $22 + given.count > 0
)
select case when kept.count > 0 then kept.count + (
    select count(*) from (select from marquee.parked where consumer = $1 limit $21) as held
) else 0 end
from (select count(*) from kept) as kept";
