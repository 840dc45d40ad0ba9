//! Statements that read ratings. Those of a record that is gone are not there.

/// `$1` kind, `$2` ids. Those of them that are known: id, sum and count.
pub const AGGREGATES: &str = "
select a.record_id, a.rating_sum, a.rating_count
from aggregated_ratings as a
where a.record_type = $1 and a.record_id = any ($2::text[]) and a.deleted_at is null";

/// `$1` kind, `$2` id. How often each value was given.
pub const HISTOGRAM: &str = "
select rated_1, rated_2, rated_3, rated_4, rated_5, rated_6, rated_7, rated_8, rated_9, rated_10
from aggregated_ratings
where record_type = $1 and record_id = $2 and deleted_at is null";

/// `$1` kind, `$2` id, `$3` user.
pub const RATING: &str = "
select r.record_type, r.record_id, r.user_id, r.value, r.occurred_at_us
from ratings as r
join aggregated_ratings as a on a.record_type = r.record_type and a.record_id = r.record_id
where r.record_type = $1 and r.record_id = $2 and r.user_id = $3 and r.value is not null and a.deleted_at is null";

/// `$1` user, `$2` place of the rating before, `$3` how many.
pub const BY_USER: &str = "
select r.record_type, r.record_id, r.user_id, r.value, r.occurred_at_us, r.place
from ratings as r
cross join lateral (
    select from aggregated_ratings as a
    where a.record_type = r.record_type and a.record_id = r.record_id and a.deleted_at is null
) as seen
where r.user_id = $1 and r.place < $2 and r.value is not null
order by r.place desc
limit $3";

/// `$1` kind, `$2` id, `$3` user of the rating before, `$4` how many.
pub const OF_RECORD: &str = "
select r.record_type, r.record_id, r.user_id, r.value, r.occurred_at_us
from ratings as r
where r.record_type = $1
    and r.record_id = $2
    and r.user_id > $3
    and r.value is not null
    and exists (
        select from aggregated_ratings as a
        where a.record_type = $1 and a.record_id = $2 and a.deleted_at is null
    )
order by r.user_id
limit $4";

/// `$1` kind, `$2` score and `$3` id of the record before, `$4` how many. Best first.
pub const RANKED: &str = "
select a.record_id, a.rating_sum, a.rating_count, a.score
from aggregated_ratings as a
where a.record_type = $1 and a.score is not null and (a.score, a.record_id) < ($2::smallint, $3)
order by a.score desc, a.record_id desc
limit $4";

/// `$1` ids of events, `$2` and `$3` the first and the last id that another event made of the same idempotency key can
/// have (null: there is no key). A row for each, in their order: what became of it, and whether such another one came.
pub const EVENTS: &str = "
select
    marquee.event_state('rating', e.event_id) as state,
    exists (
        select from marquee.events_seen('rating', e.first, e.last) as s (event_id) where s.event_id <> e.event_id
    ) as has_rival
from unnest($1::text[]::uuid[], $2::text[]::uuid[], $3::text[]::uuid[])
    with ordinality as e (event_id, first, last, number)
order by e.number";
