-- marquee: expand
-- What rating keeps: each user's rating of each record (write side), and what they come to (read side).
-- The old code sees: nothing; this is the first version.

create table aggregated_ratings (
    record_type text collate "C" not null,
    record_id text collate "C" not null,
    rating_sum bigint not null default 0,
    rating_count bigint not null default 0,
    constraint aggregated_ratings_pkey primary key (record_type, record_id),
    constraint aggregated_ratings_record_type_check check (octet_length(record_type) between 1 and 32),
    constraint aggregated_ratings_record_id_check check (octet_length(record_id) between 1 and 128),
    constraint aggregated_ratings_rating_count_check check (rating_count >= 0),
    constraint aggregated_ratings_rating_sum_check check (rating_sum between rating_count and rating_count * 10)
) with (fillfactor = 50);
comment on table aggregated_ratings is
    'What the ratings of each record come to. A row is there from the moment the record is known; a rating of a record without one waits. It is locked before any rating of the record is touched, in the order of the primary key, and changed only by differences.';
comment on column aggregated_ratings.rating_sum is 'The sum of all values that count now. The average is computed from it and the count, never stored.';
comment on column aggregated_ratings.rating_count is 'How many users'' ratings count now.';

create table ratings (
    record_type text collate "C" not null,
    record_id text collate "C" not null,
    user_id text collate "C" not null,
    value smallint,
    replaced_value smallint,
    occurred_at_us bigint not null,
    event_id uuid not null,
    constraint ratings_pkey primary key (record_type, record_id, user_id),
    constraint ratings_record_fkey foreign key (record_type, record_id)
        references aggregated_ratings (record_type, record_id),
    constraint ratings_user_id_check check (octet_length(user_id) between 1 and 128),
    constraint ratings_value_check check (value between 1 and 10),
    constraint ratings_replaced_value_check check (replaced_value between 1 and 10),
    constraint ratings_occurred_at_us_check check (occurred_at_us between 0 and 253402300799999999)
) with (fillfactor = 80);
comment on table ratings is
    'The newest act of each user on each record. A row is never deleted: one without value says that the user took the rating away, so that an older act which arrives late changes nothing.';
comment on column ratings.value is '1 to 10; null when the rating was taken away.';
comment on column ratings.replaced_value is
    'The value before the newest act. It lets the upsert report by how much the aggregate moves: until PostgreSQL 18 nothing else tells the row that an on conflict clause found.';
comment on column ratings.occurred_at_us is
    'When the user acted, in microseconds since 1970-01-01T00:00:00Z, as the event says it. A bigint, so that it is compared and given back without rounding. Of two acts at the same time the one with the greater event id is newer.';
comment on column ratings.event_id is 'Which event made the row what it is.';

-- A user's ratings, newest first (read backward). Those that were taken away are not listed.
create index ratings_user_id_idx on ratings (user_id, occurred_at_us, record_type, record_id) where value is not null;
