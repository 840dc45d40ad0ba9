-- marquee: expand
-- How often each value was given, the order of records by their average, records that are gone, and a place among a
-- user's ratings that does not move.
-- The old code sees: sums and counts as before, of records that are gone too, where it may still take a rating; nobody
-- sees it. The counts of values follow its statements by the triggers below. A page of a user's ratings costs it a look
-- at all of the user's ratings, since the index that it had is replaced.
-- Nobody writes ratings while this runs, about half a minute a million of them.

-- In the order in which most statements take them.
lock table aggregated_ratings, ratings in access exclusive mode;

alter table aggregated_ratings
    add column deleted_at timestamptz,
    add column rated_1 integer not null default 0, add column rated_2 integer not null default 0,
    add column rated_3 integer not null default 0, add column rated_4 integer not null default 0,
    add column rated_5 integer not null default 0, add column rated_6 integer not null default 0,
    add column rated_7 integer not null default 0, add column rated_8 integer not null default 0,
    add column rated_9 integer not null default 0, add column rated_10 integer not null default 0,
    add column score smallint generated always as (
        case when rating_count > 0 and deleted_at is null
            then ((rating_sum + 60) * 100 + (rating_count + 10) / 2) / (rating_count + 10)
        end
    ) stored,
    add constraint aggregated_ratings_rated_check check (
        least(rated_1, rated_2, rated_3, rated_4, rated_5, rated_6, rated_7, rated_8, rated_9, rated_10) >= 0
    );
comment on column aggregated_ratings.deleted_at is
    'When the record''s owner said that it is gone, which is for ever. Its ratings are out of sight from then on, and a late one changes nothing. Null: it is there.';
comment on column aggregated_ratings.rated_1 is
    'How many users'' ratings have the value 1 now, and so on to rated_10. Together they are rating_count.';
comment on column aggregated_ratings.score is
    'The Bayesian mean (m * C + sum) / (m + count), C = 6 and m = 10, in hundredths: a record is ranked as if ten users had rated it 6 before anybody did. Null: not ranked, since it has no rating or is gone. Rounded, so that a rating of a record that has many seldom changes it: an update that leaves it alone touches no index.';
create index aggregated_ratings_score_idx on aggregated_ratings (record_type, score, record_id) where score is not null;

-- Those there are stand in the order of their times.
alter table ratings add column place bigint;
update ratings as r
set place = o.place
from (
    select s.ctid as at, row_number() over (order by s.occurred_at_us, s.event_id) as place from ratings as s
) as o
where r.ctid = o.at;
alter table ratings alter column place set not null;
alter table ratings alter column place add generated always as identity;
select setval(pg_get_serial_sequence('ratings', 'place'), coalesce(max(r.place), 0) + 1, false) from ratings as r;
comment on column ratings.place is
    'Its place among its user''s ratings, in the order in which the user first acted on the records. It never changes, so that a reader who goes from page to page misses none and sees none twice.';

-- One index of users in place of two, on nothing that an act changes, not even by a condition: an act that replaces
-- another one touches no index.
drop index ratings_user_id_idx;
drop index ratings_user_id_taken_away_idx;
create unique index ratings_user_id_place_idx on ratings (user_id, place);

update aggregated_ratings as a
set
    rated_1 = m.rated_1, rated_2 = m.rated_2, rated_3 = m.rated_3, rated_4 = m.rated_4, rated_5 = m.rated_5,
    rated_6 = m.rated_6, rated_7 = m.rated_7, rated_8 = m.rated_8, rated_9 = m.rated_9, rated_10 = m.rated_10
from (
    select
        r.record_type, r.record_id,
        count(*) filter (where r.value = 1) as rated_1, count(*) filter (where r.value = 2) as rated_2,
        count(*) filter (where r.value = 3) as rated_3, count(*) filter (where r.value = 4) as rated_4,
        count(*) filter (where r.value = 5) as rated_5, count(*) filter (where r.value = 6) as rated_6,
        count(*) filter (where r.value = 7) as rated_7, count(*) filter (where r.value = 8) as rated_8,
        count(*) filter (where r.value = 9) as rated_9, count(*) filter (where r.value = 10) as rated_10
    from ratings as r
    where r.value is not null
    group by r.record_type, r.record_id
) as m
where a.record_type = m.record_type and a.record_id = m.record_id;

-- For the statements of the version before. One that moves the counts by itself says so by the setting rating.counts, for
-- its transaction. To be dropped once that version is gone.
create function count_ratings() returns trigger
language plpgsql volatile
as $$
begin
    if tg_op <> 'INSERT' then
        update aggregated_ratings as a
        set
            rated_1 = a.rated_1 - m.rated_1, rated_2 = a.rated_2 - m.rated_2, rated_3 = a.rated_3 - m.rated_3,
            rated_4 = a.rated_4 - m.rated_4, rated_5 = a.rated_5 - m.rated_5, rated_6 = a.rated_6 - m.rated_6,
            rated_7 = a.rated_7 - m.rated_7, rated_8 = a.rated_8 - m.rated_8, rated_9 = a.rated_9 - m.rated_9,
            rated_10 = a.rated_10 - m.rated_10
        from (
            select
                r.record_type, r.record_id,
                count(*) filter (where r.value = 1) as rated_1, count(*) filter (where r.value = 2) as rated_2,
                count(*) filter (where r.value = 3) as rated_3, count(*) filter (where r.value = 4) as rated_4,
                count(*) filter (where r.value = 5) as rated_5, count(*) filter (where r.value = 6) as rated_6,
                count(*) filter (where r.value = 7) as rated_7, count(*) filter (where r.value = 8) as rated_8,
                count(*) filter (where r.value = 9) as rated_9, count(*) filter (where r.value = 10) as rated_10
            from removed as r
            where r.value is not null
            group by r.record_type, r.record_id
        ) as m
        where a.record_type = m.record_type and a.record_id = m.record_id;
    end if;
    if tg_op <> 'DELETE' then
        update aggregated_ratings as a
        set
            rated_1 = a.rated_1 + m.rated_1, rated_2 = a.rated_2 + m.rated_2, rated_3 = a.rated_3 + m.rated_3,
            rated_4 = a.rated_4 + m.rated_4, rated_5 = a.rated_5 + m.rated_5, rated_6 = a.rated_6 + m.rated_6,
            rated_7 = a.rated_7 + m.rated_7, rated_8 = a.rated_8 + m.rated_8, rated_9 = a.rated_9 + m.rated_9,
            rated_10 = a.rated_10 + m.rated_10
        from (
            select
                r.record_type, r.record_id,
                count(*) filter (where r.value = 1) as rated_1, count(*) filter (where r.value = 2) as rated_2,
                count(*) filter (where r.value = 3) as rated_3, count(*) filter (where r.value = 4) as rated_4,
                count(*) filter (where r.value = 5) as rated_5, count(*) filter (where r.value = 6) as rated_6,
                count(*) filter (where r.value = 7) as rated_7, count(*) filter (where r.value = 8) as rated_8,
                count(*) filter (where r.value = 9) as rated_9, count(*) filter (where r.value = 10) as rated_10
            from added as r
            where r.value is not null
            group by r.record_type, r.record_id
        ) as m
        where a.record_type = m.record_type and a.record_id = m.record_id;
    end if;
    return null;
end
$$;
comment on function count_ratings() is
    'Moves how often each value was given by what a statement changed. The statement holds the lock of each record''s aggregate already.';
create trigger ratings_inserted after insert on ratings
    referencing new table as added
    for each statement when (current_setting('rating.counts', true) is distinct from 'moved')
    execute function count_ratings();
create trigger ratings_updated after update on ratings
    referencing old table as removed new table as added
    for each statement when (current_setting('rating.counts', true) is distinct from 'moved')
    execute function count_ratings();
create trigger ratings_deleted after delete on ratings
    referencing old table as removed
    for each statement when (current_setting('rating.counts', true) is distinct from 'moved')
    execute function count_ratings();

create or replace function erase_users(users text[]) returns void
language plpgsql volatile
as $$
begin
    -- Nobody writes a rating from here to the commit: who has begun is waited for, and who comes waits, and sees the
    -- mark below. Taken before any row is locked, as everybody who writes ratings takes it before locking a record.
    lock table ratings in share row exclusive mode;
    perform set_config('rating.counts', 'moved', true);
    insert into erased_users (user_id)
    select distinct u.user_id from unnest(users) as u (user_id)
    on conflict on constraint erased_users_pkey do nothing;
    with gone as (
        delete from ratings as r
        where r.user_id = any (users)
        returning r.record_type, r.record_id, r.value
    ),
    moved as (
        select
            g.record_type, g.record_id, sum(g.value) as rating_sum, count(*) as rating_count,
            count(*) filter (where g.value = 1) as rated_1, count(*) filter (where g.value = 2) as rated_2,
            count(*) filter (where g.value = 3) as rated_3, count(*) filter (where g.value = 4) as rated_4,
            count(*) filter (where g.value = 5) as rated_5, count(*) filter (where g.value = 6) as rated_6,
            count(*) filter (where g.value = 7) as rated_7, count(*) filter (where g.value = 8) as rated_8,
            count(*) filter (where g.value = 9) as rated_9, count(*) filter (where g.value = 10) as rated_10
        from gone as g
        where g.value is not null
        group by g.record_type, g.record_id
    )
    update aggregated_ratings as a
    set rating_sum = a.rating_sum - m.rating_sum,
        rating_count = a.rating_count - m.rating_count,
        rated_1 = a.rated_1 - m.rated_1, rated_2 = a.rated_2 - m.rated_2, rated_3 = a.rated_3 - m.rated_3,
        rated_4 = a.rated_4 - m.rated_4, rated_5 = a.rated_5 - m.rated_5, rated_6 = a.rated_6 - m.rated_6,
        rated_7 = a.rated_7 - m.rated_7, rated_8 = a.rated_8 - m.rated_8, rated_9 = a.rated_9 - m.rated_9,
        rated_10 = a.rated_10 - m.rated_10
    from moved as m
    where a.record_type = m.record_type and a.record_id = m.record_id;
end
$$;
