-- Records whose sum, count or counts of values are not what their ratings come to: each row is one.
--
-- Of up to 200,000 records and ratings all are looked at; of more a slice, another one each minute, so that within an hour
-- it has been all of them. How many there are is the server's estimate.
with slices as (
    select greatest(1, least(60, ceil(sum(c.reltuples) / 200000)))::integer as number
    from pg_class as c
    where c.oid in ('aggregated_ratings'::regclass, 'ratings'::regclass)
)
select
    a.record_type, a.record_id,
    a.rating_sum, r.rating_sum as should_be_sum, a.rating_count, r.rating_count as should_be_count,
    array[
        a.rated_1, a.rated_2, a.rated_3, a.rated_4, a.rated_5, a.rated_6, a.rated_7, a.rated_8, a.rated_9, a.rated_10
    ] as rated,
    r.rated as should_be_rated
from slices as s
join aggregated_ratings as a
    on s.number = 1
    or abs(hashtext(a.record_id)::bigint) % s.number = extract(epoch from now())::bigint / 60 % s.number
cross join lateral (
    select
        coalesce(sum(r.value), 0) as rating_sum, count(r.value) as rating_count,
        array[
            count(*) filter (where r.value = 1), count(*) filter (where r.value = 2),
            count(*) filter (where r.value = 3), count(*) filter (where r.value = 4),
            count(*) filter (where r.value = 5), count(*) filter (where r.value = 6),
            count(*) filter (where r.value = 7), count(*) filter (where r.value = 8),
            count(*) filter (where r.value = 9), count(*) filter (where r.value = 10)
        ] as rated
    from ratings as r
    where r.record_type = a.record_type and r.record_id = a.record_id
) as r
where a.rating_sum <> r.rating_sum
    or a.rating_count <> r.rating_count
    or array[
        a.rated_1, a.rated_2, a.rated_3, a.rated_4, a.rated_5, a.rated_6, a.rated_7, a.rated_8, a.rated_9, a.rated_10
    ]::bigint[] <> r.rated;
