//! Batches as the bus brings them.

use std::collections::BTreeMap;

use super::support::*;

#[tokio::test]
async fn a_movie_that_becomes_known_again_keeps_its_ratings() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b", "a"]).await;
    fixture.apply(&[put(1, "a", "u", 7, 1)]).await;
    fixture.know(&["a", "c"]).await;
    assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
    assert_eq!(fixture.aggregate("c").await, Some((0, 0)));
    assert_eq!(fixture.aggregate("x").await, None);
}

#[tokio::test]
async fn a_second_rating_of_a_user_replaces_the_first() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    fixture
        .apply(&[put(1, "a", "u", 7, 1), put(2, "a", "v", 2, 1)])
        .await;
    assert_eq!(fixture.aggregate("a").await, Some((9, 2)));
    fixture.apply(&[put(3, "a", "u", 10, 2)]).await;
    assert_eq!(fixture.aggregate("a").await, Some((12, 2)));
    fixture.check_books().await;
}

#[tokio::test]
async fn what_is_stale_or_comes_again_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let standing = put(5, "a", "u", 7, 10);
    fixture.apply(std::slice::from_ref(&standing)).await;
    for event in [
        put(6, "a", "u", 1, 9),
        delete(7, "a", "u", 9),
        put(4, "a", "u", 1, 10),
        standing,
    ] {
        fixture.apply(std::slice::from_ref(&event)).await;
        assert_eq!(fixture.aggregate("a").await, Some((7, 1)), "{event:?}");
    }
    fixture.apply(&[put(6, "a", "u", 1, 10)]).await;
    assert_eq!(fixture.aggregate("a").await, Some((1, 1)));
}

#[tokio::test]
async fn a_delete_takes_the_rating_away_and_outlives_a_stale_put() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b"]).await;
    fixture.apply(&[put(1, "a", "u", 7, 1)]).await;
    fixture
        .apply(&[delete(2, "a", "u", 5), delete(3, "b", "u", 5)])
        .await;
    assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
    fixture
        .apply(&[put(4, "a", "u", 9, 4), put(5, "b", "u", 9, 4)])
        .await;
    assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
    assert_eq!(fixture.aggregate("b").await, Some((0, 0)));
    fixture.apply(&[delete(6, "a", "u", 6)]).await;
    fixture.apply(&[put(7, "a", "u", 9, 7)]).await;
    assert_eq!(fixture.aggregate("a").await, Some((9, 1)));
    fixture.check_books().await;
}

#[tokio::test]
async fn a_record_that_is_not_known_is_named_and_the_others_are_applied() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let unknown = fixture
        .apply(&[
            put(1, "a", "u", 7, 1),
            put(2, "x", "u", 7, 1),
            put(3, "x", "v", 7, 1),
        ])
        .await;
    assert_eq!(unknown, ["x"]);
    assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
    assert_eq!(fixture.aggregate("x").await, None);
    let rows = fixture.texts("select record_id from ratings").await;
    assert_eq!(rows, ["a"]);
}

#[tokio::test]
async fn any_order_and_any_split_come_to_the_same() {
    let fixture = Fixture::new().await;
    let records = ["a", "b", "c"];
    let users = ["u", "v", "w", "x"];
    let events: Vec<Event> = (0..120_u128)
        .map(|n| {
            let mixed = usize::try_from(n * 7919 % 1009).unwrap();
            let (record, user) = (records[mixed % 3], users[mixed / 3 % 4]);
            let at = u64::try_from(mixed % 17).unwrap();
            match mixed % 11 {
                value @ 1..=10 => put(n, record, user, u8::try_from(value).unwrap(), at),
                _ => delete(n, record, user, at),
            }
        })
        .collect();
    let mut expected = BTreeMap::from(records.map(|record| (record, (0, 0))));
    for event in newest(&events) {
        if let Some(value) = event.value() {
            let (sum, count) = expected.get_mut(event.record().id()).unwrap();
            *sum += i64::from(value);
            *count += 1;
        }
    }
    for size in [1, 7, 120] {
        let mut connection = fixture.connection().await;
        connection
            .batch("truncate ratings, aggregated_ratings")
            .await
            .unwrap();
        fixture.know(&records).await;
        for part in events.chunks(size).rev() {
            fixture.apply(part).await;
        }
        for (record, aggregate) in &expected {
            assert_eq!(
                fixture.aggregate(record).await,
                Some(*aggregate),
                "{size} {record}"
            );
        }
    }
}

#[tokio::test]
async fn batches_at_once_on_the_same_records_wait_for_each_other_and_lose_nothing() {
    let fixture = Fixture::new().await;
    let ids: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    fixture.know(&ids).await;
    // Eight at a time over the same records in other orders, each also touching rows that the others insert.
    let batches = (0..8_u128).map(|worker| {
        let fixture = &fixture;
        let ids = &ids;
        async move {
            let mut connection = fixture.connection().await;
            for round in 0..20_u128 {
                let mut events: Vec<Event> = (0..12_usize)
                    .map(|n| {
                        let id = worker * 1_000 + round * 12 + n as u128;
                        let user = format!("u{}", (worker + round) % 5);
                        let at = u64::try_from(round * 10 + worker).unwrap();
                        match (round + worker) % 4 {
                            0 => delete(id, ids[n], &user, at),
                            value => put(id, ids[n], &user, u8::try_from(value).unwrap(), at),
                        }
                    })
                    .collect();
                events.rotate_left(usize::try_from(worker).unwrap());
                apply(&mut connection, &events).await;
            }
        }
    });
    futures::future::join_all(batches).await;
    fixture.check_books().await;
    let users = fixture
        .texts("select distinct user_id from ratings order by 1")
        .await;
    assert_eq!(users, ["u0", "u1", "u2", "u3", "u4"]);
}

#[tokio::test]
async fn a_rating_that_was_inserted_while_the_batch_waited_is_replaced_by_the_difference() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let mut first = fixture.connection().await;
    first.batch("begin").await.unwrap();
    apply(&mut first, &[put(1, "a", "u", 3, 1)]).await;
    let second = [put(2, "a", "u", 10, 2)];
    let (_, ()) = futures::join!(fixture.apply(&second), async {
        fixture.someone_waits().await;
        first.batch("commit").await.unwrap();
    });
    assert_eq!(fixture.aggregate("a").await, Some((10, 1)));
    fixture.check_books().await;
}

#[tokio::test]
async fn the_counts_of_values_follow_every_change() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let check = async |event: Event, expected: [i32; 10]| {
        fixture.apply(std::slice::from_ref(&event)).await;
        let found = fixture.histogram("a").await.unwrap();
        assert_eq!(found, expected, "{event:?}");
    };
    check(put(1, "a", "u", 7, 1), [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]).await;
    check(put(2, "a", "v", 7, 1), [0, 0, 0, 0, 0, 0, 2, 0, 0, 0]).await;
    check(put(3, "a", "u", 1, 2), [1, 0, 0, 0, 0, 0, 1, 0, 0, 0]).await;
    check(put(4, "a", "u", 9, 1), [1, 0, 0, 0, 0, 0, 1, 0, 0, 0]).await;
    check(delete(5, "a", "v", 2), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await;
    check(put(6, "a", "v", 10, 3), [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]).await;
    assert_eq!(fixture.histogram("x").await, None);
}

#[tokio::test]
async fn an_act_that_is_ahead_of_the_clock_does_nothing_and_freezes_nobody() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let year_2100 = 4_102_444_800_000_000;
    let mut connection = fixture.connection().await;
    let both = [put(1, "a", "u", 7, year_2100), put(2, "a", "v", 3, 1)];
    let found = apply_on_time(&mut connection, &both).await;
    assert_eq!(found, (vec![], true));
    assert_eq!(fixture.aggregate("a").await, Some((3, 1)));
    let soon = i64::try_from(now_us()).unwrap() + 200_000_000;
    let soon = put(3, "a", "u", 7, soon.cast_unsigned());
    let found = apply_on_time(&mut connection, &[soon]).await;
    assert_eq!(found, (vec![], false), "clocks differ a little");
    assert_eq!(fixture.aggregate("a").await, Some((10, 2)));
    fixture.check_books().await;
}

#[tokio::test]
async fn a_large_batch_is_planned_as_one() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    let sql = format!(
        "set plan_cache_mode = force_generic_plan; prepare batch as {}",
        store::APPLY
    );
    connection.batch(&sql).await.unwrap();
    let explain = "explain execute batch ('{movie}', '{a}', '{u}', '{1}', '{1}', '{0192f0c1-2345-7abc-8def-0123456789ab}')";
    let rows = connection.query(explain, &[]).await.unwrap();
    let plan: String = rows
        .iter()
        .map(|row| row.get::<_, String>(0) + "\n")
        .collect();
    // Each of these would compare each act with each record.
    let bad = plan.split("Nested Loop").skip(1).any(|below| {
        let inner = below
            .lines()
            .take(3)
            .any(|line| line.contains("CTE Scan on known") || line.contains("CTE Scan on events"));
        inner
            && below
                .lines()
                .nth(1)
                .is_some_and(|line| line.contains("Join Filter"))
    });
    assert!(!bad, "{plan}");
    assert!(plan.contains("Hash Join"), "{plan}");
    connection.discard();
}

#[tokio::test]
async fn an_aggregate_that_is_changed_behind_its_ratings_is_found_by_the_audit() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b", "c"]).await;
    let acts = [
        put(1, "a", "u", 7, 1),
        put(2, "a", "v", 9, 1),
        put(3, "b", "u", 2, 1),
    ];
    fixture.apply(&acts).await;
    fixture.check_books().await;
    for (change, back) in [
        ("rating_sum = 17", "rating_sum = 16"),
        ("rating_count = 3", "rating_count = 2"),
        ("rated_7 = 0", "rated_7 = 1"),
    ] {
        let set = async |change: &str| {
            let sql = format!("update aggregated_ratings set {change} where record_id = 'a'");
            fixture.query(&sql, &[]).await;
        };
        set(change).await;
        let found = fixture.audit().await;
        assert_eq!(found.len(), 1, "{change}: {found:?}");
        assert!(
            found[0].starts_with("record_type: movie, record_id: a, "),
            "{found:?}"
        );
        set(back).await;
        fixture.check_books().await;
    }
}
