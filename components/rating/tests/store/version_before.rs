//! The version before, whose statements run beside those of this one while versions are swapped: what it writes keeps
//! every promise, and what it reads is right.

use super::support::*;

/// Its statements, as they were.
mod statements {
    pub(super) const APPLY: &str = "
with events as (
    select *
    from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::text[])
        as e (record_type, record_id, user_id, value, occurred_at_us, event_id)
    where not exists (select from erased_users as x where x.user_id = e.user_id)
),
known as materialized (
    select a.record_type, a.record_id, a.rating_sum, a.rating_count
    from aggregated_ratings as a
    where (a.record_type, a.record_id) in (select e.record_type, e.record_id from events as e)
    order by a.record_type, a.record_id
    for no key update of a
),
written as (
    insert into ratings as r (record_type, record_id, user_id, value, occurred_at_us, event_id)
    select e.record_type, e.record_id, e.user_id, e.value, e.occurred_at_us, e.event_id::uuid
    from events as e
    join known as k on k.record_type = e.record_type and k.record_id = e.record_id
    on conflict on constraint ratings_pkey do update
    set value = excluded.value,
        replaced_value = r.value,
        occurred_at_us = excluded.occurred_at_us,
        event_id = excluded.event_id
    where (r.occurred_at_us, r.event_id) < (excluded.occurred_at_us, excluded.event_id)
    returning r.record_type, r.record_id, r.value, r.replaced_value
),
moved as (
    select w.record_type, w.record_id,
        sum(coalesce(w.value, 0) - coalesce(w.replaced_value, 0)) as rating_sum,
        count(w.value) - count(w.replaced_value) as rating_count
    from written as w
    group by w.record_type, w.record_id
),
aggregated as (
    update aggregated_ratings as a
    set rating_sum = k.rating_sum + m.rating_sum,
        rating_count = k.rating_count + m.rating_count
    from moved as m
    join known as k on k.record_type = m.record_type and k.record_id = m.record_id
    where a.record_type = m.record_type and a.record_id = m.record_id
)
select distinct e.record_type, e.record_id
from events as e
where not exists (
    select from known as k where k.record_type = e.record_type and k.record_id = e.record_id
)";

    pub(super) const SUBMIT: &str = "
with known as materialized (
    select a.record_type, a.record_id, a.rating_sum, a.rating_count
    from aggregated_ratings as a
    where a.record_type = $2 and a.record_id = $3
    for no key update of a
),
accepted as materialized (
    select marquee.accept('rating', $1::uuid) as fresh from known
),
written as (
    insert into ratings as r (record_type, record_id, user_id, value, occurred_at_us, event_id)
    select k.record_type, k.record_id, $4, $5::integer, $6, $1::uuid
    from known as k
    where (select c.fresh from accepted as c)
        and not exists (select from erased_users as x where x.user_id = $4)
    on conflict on constraint ratings_pkey do update
    set value = excluded.value,
        replaced_value = r.value,
        occurred_at_us = excluded.occurred_at_us,
        event_id = excluded.event_id
    where (r.occurred_at_us, r.event_id) < (excluded.occurred_at_us, excluded.event_id)
    returning r.record_type, r.record_id, r.value, r.replaced_value
),
aggregated as (
    update aggregated_ratings as a
    set rating_sum = k.rating_sum + coalesce(w.value, 0) - coalesce(w.replaced_value, 0),
        rating_count = k.rating_count + (w.value is not null)::integer - (w.replaced_value is not null)::integer
    from written as w
    join known as k on k.record_type = w.record_type and k.record_id = w.record_id
    where a.record_type = w.record_type and a.record_id = w.record_id
)
select c.fresh from accepted as c";

    pub(super) const AGGREGATE: &str = "
select rating_sum, rating_count
from aggregated_ratings
where record_type = $1 and record_id = $2";

    pub(super) const BY_USER: &str = "
select record_type, record_id, value, occurred_at_us
from ratings
where user_id = $1
    and value is not null
    and (occurred_at_us, record_type, record_id) < ($2, $3, $4)
order by occurred_at_us desc, record_type desc, record_id desc
limit $5";
}

async fn apply_as_before(connection: &mut Connection, events: &[Event]) {
    let events = newest(events);
    Columns::of(&events)
        .query(connection, statements::APPLY)
        .await;
}

#[tokio::test]
async fn the_counts_of_values_follow_its_statements_too() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b"]).await;
    let mut before = fixture.connection().await;
    apply_as_before(
        &mut before,
        &[
            put(1, "a", "u", 7, 1),
            put(2, "a", "v", 7, 1),
            put(3, "b", "u", 1, 1),
        ],
    )
    .await;
    fixture.check_books().await;
    // One new, one replaced, one stale; by both.
    fixture
        .apply(&[
            put(4, "a", "w", 2, 1),
            put(5, "a", "u", 3, 2),
            put(6, "a", "v", 1, 0),
        ])
        .await;
    fixture.check_books().await;
    apply_as_before(
        &mut before,
        &[
            put(7, "b", "w", 2, 1),
            put(8, "a", "u", 4, 3),
            delete(9, "a", "v", 9),
        ],
    )
    .await;
    fixture.check_books().await;
    let submitted: (Uuid, Option<i32>) = (Uuid::from_u128(10), Some(10));
    fixture
        .query(
            statements::SUBMIT,
            &[&submitted.0, &"movie", &"a", &"u", &submitted.1, &4_i64],
        )
        .await;
    fixture.check_books().await;
    assert_eq!(
        fixture.histogram("a").await.unwrap(),
        [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    );
    let rows = fixture
        .query(statements::AGGREGATE, &[&"movie", &"a"])
        .await;
    assert_eq!(
        (rows[0].get::<_, i64>(0), rows[0].get::<_, i64>(1)),
        (12, 2)
    );
    fixture.query(store::ERASE, &[&["u"].as_slice()]).await;
    fixture.check_books().await;
}

#[tokio::test]
async fn both_at_once_on_the_same_records_lose_nothing() {
    let fixture = Fixture::new().await;
    let ids = ["a", "b", "c", "d"];
    fixture.know(&ids).await;
    let workers = (0..6_u128).map(|worker| {
        let fixture = &fixture;
        async move {
            let mut connection = fixture.connection().await;
            for round in 0..25_u128 {
                let events: Vec<Event> = (0..12_usize)
                    .map(|n| {
                        let id = worker * 1_000 + round * 12 + n as u128;
                        let at = u64::try_from(round).unwrap();
                        let user = format!("u{}", (worker + n as u128) % 5);
                        match (round + worker) % 11 {
                            0 => delete(id, ids[n % 4], &user, at),
                            value => put(id, ids[n % 4], &user, u8::try_from(value).unwrap(), at),
                        }
                    })
                    .collect();
                if worker % 2 == 0 {
                    apply_as_before(&mut connection, &events).await;
                } else {
                    apply(&mut connection, &events).await;
                }
            }
        }
    });
    futures::future::join_all(workers).await;
    fixture.check_books().await;
}

#[tokio::test]
async fn its_page_of_a_users_ratings_is_as_it_was() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b", "c"]).await;
    fixture
        .apply(&[
            put(1, "a", "u", 7, 3),
            put(2, "b", "u", 7, 9),
            put(3, "c", "u", 7, 5),
        ])
        .await;
    let count = 2_i64;
    let rows = fixture
        .query(statements::BY_USER, &[&"u", &i64::MAX, &"", &"", &count])
        .await;
    let page: Vec<&str> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(page, ["b", "c"]);
}

#[tokio::test]
async fn what_it_left_is_counted_ranked_and_in_the_order_of_time_after_the_migration() {
    let fixture = Fixture::before(3).await;
    fixture.know(&["a", "b", "c"]).await;
    let mut before = fixture.connection().await;
    let events = [
        put(1, "a", "u", 7, 30),
        put(2, "b", "u", 7, 90),
        put(3, "c", "u", 9, 50),
        put(4, "a", "v", 7, 4_102_444_800_000_000),
        delete(5, "b", "v", 1),
    ];
    for event in &events {
        apply_as_before(&mut before, std::slice::from_ref(event)).await;
    }
    fixture.migrate().await;
    fixture.check_books().await;
    let count = 10_i64;
    let rows = fixture
        .query(store::BY_USER, &[&"u", &i64::MAX, &count])
        .await;
    let page: Vec<&str> = rows.iter().map(|row| row.get("record_id")).collect();
    assert_eq!(page, ["b", "c", "a"]);
    let rows = fixture
        .query(store::RANKED, &[&"movie", &i16::MAX, &"", &count])
        .await;
    let ranking: Vec<(&str, i16)> = rows
        .iter()
        .map(|row| (row.get("record_id"), row.get("score")))
        .collect();
    assert_eq!(ranking, [("c", 627), ("a", 617), ("b", 609)]);
    // An act of the year 2100, which the version before took, freezes nobody.
    fixture.apply(&[put(6, "a", "v", 2, 100)]).await;
    assert_eq!(fixture.aggregate("a").await, Some((9, 2)));
    // New ones come after those that were there.
    fixture.know(&["d"]).await;
    fixture.apply(&[put(7, "d", "u", 1, 10)]).await;
    let rows = fixture
        .query(store::BY_USER, &[&"u", &i64::MAX, &count])
        .await;
    assert_eq!(rows[0].get::<_, &str>("record_id"), "d");
}
