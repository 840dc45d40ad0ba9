-- marquee: expand
-- Users who were erased: their ratings go, and none of them comes back.
-- The old code sees: ratings that are gone. While it runs, it may take a late rating of an erased user, until the event
-- is brought again.

create table erased_users (
    user_id text collate "C" not null,
    erased_at timestamptz not null default now(),
    constraint erased_users_pkey primary key (user_id),
    constraint erased_users_user_id_check check (octet_length(user_id) between 1 and 128)
);
comment on table erased_users is
    'The ids of users who were erased, and nothing else of them. A rating by one of them changes nothing, however late it comes.';

comment on table ratings is
    'The newest act of each user on each record. A row goes only when its user is erased: one without value says that the user took the rating away, so that an older act which arrives late changes nothing.';

-- The rest of a user's ratings, beside ratings_user_id_idx: for erasing.
create index ratings_user_id_taken_away_idx on ratings (user_id) where value is null;

create function erase_users(users text[]) returns void
language plpgsql volatile
as $$
begin
    -- Nobody writes a rating from here to the commit: who has begun is waited for, and who comes waits, and sees the
    -- mark below. Taken before any row is locked, as everybody who writes ratings takes it before locking a record.
    lock table ratings in share row exclusive mode;
    insert into erased_users (user_id)
    select distinct u.user_id from unnest(users) as u (user_id)
    on conflict on constraint erased_users_pkey do nothing;
    delete from ratings as r where r.user_id = any (users) and r.value is null;
    with gone as (
        delete from ratings as r
        where r.user_id = any (users) and r.value is not null
        returning r.record_type, r.record_id, r.value
    ),
    moved as (
        select g.record_type, g.record_id, sum(g.value) as rating_sum, count(*) as rating_count
        from gone as g
        group by g.record_type, g.record_id
    )
    update aggregated_ratings as a
    set rating_sum = a.rating_sum - m.rating_sum,
        rating_count = a.rating_count - m.rating_count
    from moved as m
    where a.record_type = m.record_type and a.record_id = m.record_id;
end
$$;
comment on function erase_users(text[]) is
    'Delete all ratings of these users, move the aggregates by the difference, and remember the ids. A function, since it takes several statements, each with a view of its own, and must be one command where a statement stands alone.';
