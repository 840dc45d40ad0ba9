//! Statements that change ratings. What they promise, and in which order they lock, stands in `store`.
//!
//! Those that apply acts differ in which acts they let through (`events`) and in what they say of them. Between the two
//! stands the same text.

/// `$1` kinds, `$2` ids: make each record known. In the order of the key, as everything that locks records.
pub const KNOW: &str = r#"
insert into aggregated_ratings (record_type, record_id)
select r.record_type, r.record_id
from unnest($1::text[], $2::text[]) as r (record_type, record_id)
order by r.record_type collate "C", r.record_id collate "C"
on conflict on constraint aggregated_ratings_pkey do nothing"#;

/// `$1` kinds, `$2` ids: put these records out of sight. Nobody sees what they come to from now on, so the old version
/// may go on counting.
pub const REMOVE: &str = "
with known as materialized (
    select a.record_type, a.record_id
    from aggregated_ratings as a
    where (a.record_type, a.record_id) in (select r.* from unnest($1::text[], $2::text[]) as r)
        and a.deleted_at is null
    order by a.record_type, a.record_id
    for no key update of a
)
update aggregated_ratings as a
set deleted_at = now()
from known as k
where a.record_type = k.record_type and a.record_id = k.record_id";

/// What every statement that applies acts begins with. `clock`: the latest time that an act may have, by the database's
/// clock; and the word to the triggers that this statement moves the counts of values itself. `given`: the acts, numbered.
///
/// The numbers are as many as a batch has acts, and those without an act are left out: the planner then takes `given` for
/// a batch. Of arrays as parameters it believes that they are short, and would compare each act with each record.
macro_rules! given {
    () => {
        "
with clock as materialized (
    select
        (extract(epoch from clock_timestamp()) * 1000000)::bigint + 300000000 as latest_us,
        set_config('rating.counts', 'moved', true) as counts
),
given as materialized (
    select g.*
    from rows from (
        unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::integer[]), unnest($5::bigint[]),
        unnest($6::text[]), generate_series(1, 500)
    ) as g (record_type, record_id, user_id, value, occurred_at_us, event_id, number)
    where g.event_id is not null and (select c.counts from clock as c) is not null
)"
    };
}

/// From acts to aggregates: `events` has at most one act of a user on a record, none by a user who was erased and none
/// that is ahead of the clock. The lateral join is one probe of the index a record, whatever the planner believes.
///
/// `written` is asked for the rows as they are after whoever changed them last, not as they were when the statement
/// began, and reports what it replaced; so the differences are right whatever runs beside it. An act that the version
/// before took although it is ahead of the clock gives way to any. `known` has sum and counts as they are under the lock
/// that it takes, after waiting where it had to; the update adds to those, since its own view of the row is of the time
/// when the statement began.
macro_rules! applied {
    () => {
        "
known as materialized (
    select a.*
    from (
        select distinct e.record_type collate \"C\" as record_type, e.record_id collate \"C\" as record_id
        from events as e
        order by 1, 2
    ) as e
    cross join lateral (
        select
            a.record_type, a.record_id, a.deleted_at, a.rating_sum, a.rating_count, a.rated_1, a.rated_2, a.rated_3,
            a.rated_4, a.rated_5, a.rated_6, a.rated_7, a.rated_8, a.rated_9, a.rated_10
        from aggregated_ratings as a
        where a.record_type = e.record_type and a.record_id = e.record_id
        for no key update
    ) as a
),
written as (
    insert into ratings as r (record_type, record_id, user_id, value, occurred_at_us, event_id)
    select e.record_type, e.record_id, e.user_id, e.value, e.occurred_at_us, e.event_id::uuid
    from events as e
    join known as k on k.record_type = e.record_type and k.record_id = e.record_id
    where k.deleted_at is null
    order by e.record_type, e.record_id, e.user_id
    on conflict on constraint ratings_pkey do update
    set value = excluded.value,
        replaced_value = r.value,
        occurred_at_us = excluded.occurred_at_us,
        event_id = excluded.event_id
    where (r.occurred_at_us, r.event_id) < (excluded.occurred_at_us, excluded.event_id)
        or r.occurred_at_us > (select c.latest_us from clock as c)
    returning r.record_type, r.record_id, r.value, r.replaced_value
),
moved as (
    select
        w.record_type, w.record_id,
        sum(coalesce(w.value, 0) - coalesce(w.replaced_value, 0)) as rating_sum,
        count(w.value) - count(w.replaced_value) as rating_count,
        count(*) filter (where w.value = 1) - count(*) filter (where w.replaced_value = 1) as rated_1,
        count(*) filter (where w.value = 2) - count(*) filter (where w.replaced_value = 2) as rated_2,
        count(*) filter (where w.value = 3) - count(*) filter (where w.replaced_value = 3) as rated_3,
        count(*) filter (where w.value = 4) - count(*) filter (where w.replaced_value = 4) as rated_4,
        count(*) filter (where w.value = 5) - count(*) filter (where w.replaced_value = 5) as rated_5,
        count(*) filter (where w.value = 6) - count(*) filter (where w.replaced_value = 6) as rated_6,
        count(*) filter (where w.value = 7) - count(*) filter (where w.replaced_value = 7) as rated_7,
        count(*) filter (where w.value = 8) - count(*) filter (where w.replaced_value = 8) as rated_8,
        count(*) filter (where w.value = 9) - count(*) filter (where w.replaced_value = 9) as rated_9,
        count(*) filter (where w.value = 10) - count(*) filter (where w.replaced_value = 10) as rated_10
    from written as w
    group by w.record_type, w.record_id
),
aggregated as (
    update aggregated_ratings as a
    set rating_sum = k.rating_sum + m.rating_sum,
        rating_count = k.rating_count + m.rating_count,
        rated_1 = k.rated_1 + m.rated_1, rated_2 = k.rated_2 + m.rated_2, rated_3 = k.rated_3 + m.rated_3,
        rated_4 = k.rated_4 + m.rated_4, rated_5 = k.rated_5 + m.rated_5, rated_6 = k.rated_6 + m.rated_6,
        rated_7 = k.rated_7 + m.rated_7, rated_8 = k.rated_8 + m.rated_8, rated_9 = k.rated_9 + m.rated_9,
        rated_10 = k.rated_10 + m.rated_10
    from moved as m
    join known as k on k.record_type = m.record_type and k.record_id = m.record_id
    where a.record_type = m.record_type and a.record_id = m.record_id
)"
    };
}

/// `$1` kinds, `$2` ids, `$3` users, `$4` values (null: taken away), `$5` times, `$6` event ids: at most one act
/// of a user on a record. Rows: each record that is not known; and one with the latest time that an act may have, if some
/// act was ahead of it. Such acts did nothing. Nor did those of users who were erased, and of records that are gone.
pub const APPLY: &str = concat!(
    given!(),
    ",
events as (
    select *
    from given as e
    where e.occurred_at_us <= (select c.latest_us from clock as c)
        and not exists (select from erased_users as x where x.user_id = e.user_id)
),",
    applied!(),
    "
select distinct e.record_type, e.record_id, null::bigint as latest_us
from events as e
where not exists (
    select from known as k where k.record_type = e.record_type and k.record_id = e.record_id
)
union all
(
    select null, null, c.latest_us
    from clock as c
    where exists (select from given as g where g.occurred_at_us > c.latest_us)
)"
);

/// Parameters as of [`APPLY`], with any number of acts of a user on a record. A row for each, in their order, `outcome`:
/// `applied`; `duplicate`, its id was counted before; `unknown`, its record is not known; `ahead` of the clock. Only in the
/// first case did it do anything, its id having been counted. The ids are locked first, in their order, as where the bus
/// brings events.
pub const SUBMIT: &str = concat!(
    given!(),
    ",
counted as materialized (
    select g.*, marquee.accept('rating', g.event_id::uuid) as is_new
    from (
        select g.*
        from given as g
        where g.occurred_at_us <= (select c.latest_us from clock as c)
            and exists (
                select from aggregated_ratings as a
                where a.record_type = g.record_type and a.record_id = g.record_id
            )
        order by g.event_id collate \"C\", g.number
    ) as g
),
events as (
    select distinct on (c.record_type, c.record_id, c.user_id) c.*
    from counted as c
    where c.is_new and not exists (select from erased_users as x where x.user_id = c.user_id)
    order by c.record_type, c.record_id, c.user_id, c.occurred_at_us desc, c.event_id::uuid desc
),",
    applied!(),
    "
select
    case
        when g.occurred_at_us > (select c.latest_us from clock as c) then 'ahead'
        when c.is_new then 'applied'
        when not c.is_new then 'duplicate'
        else 'unknown'
    end as outcome
from given as g
left join counted as c on c.number = g.number
order by g.number"
);

/// `$1` ids of users.
pub const ERASE: &str = "select erase_users($1::text[])";
