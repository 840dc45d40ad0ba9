//! Acts that did not come over the bus.

use super::support::*;

#[tokio::test]
async fn an_event_counts_once() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let event = put(1, "a", "u", 7, 1);
    assert_eq!(fixture.submit(&event).await, "applied");
    assert_eq!(fixture.submit(&event).await, "duplicate");
    let other = put(1, "a", "v", 3, 2);
    assert_eq!(fixture.submit(&other).await, "duplicate");
    assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
}

#[tokio::test]
async fn an_event_that_is_sent_many_times_at_once_counts_once() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let event = put(1, "a", "u", 7, 1);
    let outcomes = futures::future::join_all((0..20).map(|_| fixture.submit(&event))).await;
    let applied = outcomes.iter().filter(|outcome| **outcome == "applied");
    assert_eq!(applied.count(), 1, "{outcomes:?}");
    assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
}

#[tokio::test]
async fn many_users_at_once_are_all_counted() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let events: Vec<_> = (0..50)
        .map(|n| put(n, "a", &format!("u{n}"), 3, 1))
        .collect();
    futures::future::join_all(events.iter().map(|event| fixture.submit(event))).await;
    assert_eq!(fixture.aggregate("a").await, Some((150, 50)));
    fixture.check_books().await;
}

#[tokio::test]
async fn replacing_a_stale_one_and_a_delete_move_the_aggregate_as_in_a_batch() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let check = async |event: Event, aggregate: (i64, i64)| {
        assert_eq!(fixture.submit(&event).await, "applied", "{event:?}");
        assert_eq!(fixture.aggregate("a").await, Some(aggregate), "{event:?}");
    };
    check(put(1, "a", "u", 7, 10), (7, 1)).await;
    check(put(2, "a", "u", 4, 11), (4, 1)).await;
    check(put(3, "a", "u", 9, 10), (4, 1)).await;
    check(delete(4, "a", "u", 12), (0, 0)).await;
    check(put(5, "a", "u", 9, 11), (0, 0)).await;
    check(put(6, "a", "u", 9, 13), (9, 1)).await;
    fixture.check_books().await;
}

#[tokio::test]
async fn a_rating_of_an_unknown_record_leaves_no_trace_until_the_record_is_known() {
    let fixture = Fixture::new().await;
    let event = put(1, "x", "u", 7, 1);
    for _ in 0..2 {
        assert_eq!(fixture.submit(&event).await, "unknown");
    }
    for table in ["marquee.inbox", "marquee.parked", "ratings"] {
        let sql = format!("select count(*)::text from {table}");
        assert_eq!(fixture.texts(&sql).await, ["0"], "{table}");
    }
    fixture.know(&["x"]).await;
    assert_eq!(fixture.submit(&event).await, "applied");
    assert_eq!(fixture.submit(&event).await, "duplicate");
    assert_eq!(fixture.aggregate("x").await, Some((7, 1)));
}

#[tokio::test]
async fn a_command_that_is_rolled_back_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let event = put(1, "a", "u", 7, 1);
    let mut unit = fixture.database.unit();
    let rows = unit
        .query(
            store::SUBMIT,
            &[
                &["movie"].as_slice(),
                &["a"].as_slice(),
                &["u"].as_slice(),
                &[Some(7)].as_slice(),
                &[1_i64].as_slice(),
                &[event.id().to_string()].as_slice(),
            ],
        )
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, String>(0), "applied");
    unit.rollback().await;
    assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
    assert_eq!(fixture.submit(&event).await, "applied");
}

#[tokio::test]
async fn many_at_once_have_an_outcome_each_in_their_order() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b"]).await;
    fixture.submit(&put(1, "a", "u", 7, 1)).await;
    let events = [
        put(9, "b", "v", 4, 5),
        put(1, "a", "u", 7, 1),
        put(8, "x", "u", 7, 1),
        put(7, "b", "v", 9, 3),
        put(6, "a", "w", 2, 4_102_444_800_000_000),
        put(9, "b", "v", 4, 5),
        delete(5, "a", "u", 2),
    ];
    let outcomes = fixture.submit_all(&events).await;
    let expected = [
        "applied",
        "duplicate",
        "unknown",
        "applied",
        "ahead",
        "duplicate",
        "applied",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
    assert_eq!(fixture.aggregate("b").await, Some((4, 1)));
    fixture.know(&["x"]).await;
    assert_eq!(fixture.submit(&events[2]).await, "applied");
    assert_eq!(
        fixture.submit(&put(6, "a", "w", 2, 1)).await,
        "applied",
        "its id was not counted"
    );
    fixture.check_books().await;
}

#[tokio::test]
async fn lists_of_the_same_events_in_other_orders_at_once_count_each_once() {
    let fixture = Fixture::new().await;
    let ids: Vec<String> = (0..20).map(|n| format!("r{n}")).collect();
    fixture
        .know(&ids.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let events: Vec<Event> = (0..100_u128)
        .zip(ids.iter().cycle())
        .map(|(n, id)| put(n + 1, id, &format!("u{n}"), 5, 1))
        .collect();
    let lists: Vec<Vec<Event>> = (0..8)
        .map(|turn| {
            let mut list = events.clone();
            list.rotate_left(turn * 11);
            list
        })
        .collect();
    let outcomes =
        futures::future::join_all(lists.iter().map(|list| fixture.submit_all(list))).await;
    let applied = outcomes
        .iter()
        .flatten()
        .filter(|outcome| *outcome == "applied")
        .count();
    assert_eq!(applied, 100);
    fixture.check_books().await;
}
