//! `marquee.publish`, `marquee.accept` and `marquee.park`, with sessions stepped by hand.

use tokio::task::JoinSet;

use crate::support::{World, event, publish_in};

#[tokio::test]
async fn what_is_published_commits_with_the_state_and_rolls_back_with_it() {
    let world = World::new().await;
    let mut unit = world.db.unit();
    unit.execute("insert into effects (what) values ('kept')", &[])
        .await
        .unwrap();
    assert_eq!(publish_in(&mut unit, "a", "one").await, 1);
    unit.commit().await.unwrap();

    let mut unit = world.db.unit();
    unit.execute("insert into effects (what) values ('undone')", &[])
        .await
        .unwrap();
    assert_eq!(publish_in(&mut unit, "a", "two").await, 2);
    unit.rollback().await;

    assert_eq!(world.effects().await, ["kept"]);
    assert_eq!(world.number("select count(*) from marquee.outbox").await, 1);
    // The number that was rolled back is given again: no hole.
    assert_eq!(world.publish("a", "three").await, 2);
}

#[tokio::test]
async fn state_and_message_are_one_statement_where_there_is_no_unit() {
    let world = World::new().await;
    let row = world
        .query(
            "with m as (insert into effects (what) values ('x') returning what)
             select marquee.publish('movies', m.what, '{\"a\": \"b\"}', 'v') from m",
            &[],
        )
        .await;
    assert_eq!(row[0].get::<_, i64>(0), 1);
    assert_eq!(world.effects().await, ["x"]);
}

#[tokio::test]
async fn a_second_publisher_of_a_key_waits_for_the_first_to_commit() {
    let world = World::new().await;
    let mut first = world.db.unit();
    assert_eq!(publish_in(&mut first, "a", "first").await, 1);

    let mut second = JoinSet::new();
    let db = world.another_host();
    second.spawn(async move {
        let mut unit = db.unit();
        let number = publish_in(&mut unit, "a", "second").await;
        unit.commit().await.unwrap();
        number
    });
    world.someone_waits().await;
    // A publisher of another key does not wait.
    assert_eq!(world.publish("b", "other").await, 1);
    assert_eq!(
        world.number("select count(*) from marquee.outbox").await,
        1,
        "nothing of key a can be read before its first number has committed"
    );
    first.commit().await.unwrap();
    assert_eq!(second.join_next().await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn numbers_are_dense_and_in_the_order_of_ids_and_commits_under_concurrency() {
    let world = World::new().await;
    let mut publishers = JoinSet::new();
    for publisher in 0..12_u32 {
        let db = world.db.clone();
        publishers.spawn(async move {
            for turn in 0..25_u32 {
                let mut unit = db.unit();
                let key = if turn % 3 == 0 { "cold" } else { "hot" };
                publish_in(&mut unit, key, "x").await;
                // Every fourth publisher changes its mind.
                if (publisher + turn) % 4 == 0 {
                    unit.rollback().await;
                } else {
                    unit.commit().await.unwrap();
                }
            }
        });
    }
    publishers.join_all().await;
    let wrong = world
        .number(
            "select count(*) from (
                select seq, row_number() over (partition by topic, key order by id) as place from marquee.outbox
             ) as o where seq <> place",
        )
        .await;
    assert_eq!(wrong, 0);
    assert_eq!(
        world.number("select count(*) from marquee.outbox").await,
        225
    );
}

#[tokio::test]
async fn an_event_id_is_a_uuid_of_version_7_of_this_moment() {
    let world = World::new().await;
    world.publish("a", "x").await;
    let rows = world
        .query("select event_id from marquee.outbox", &[])
        .await;
    let id: uuid::Uuid = rows[0].get(0);
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
    let (seconds, _) = id.get_timestamp().unwrap().to_unix();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(now.abs_diff(seconds) < 60, "{id}");
}

#[tokio::test]
async fn the_trace_of_the_call_goes_with_the_message_and_the_publisher_s_own_word_wins() {
    let world = World::new().await;
    let mut unit = world.db.unit();
    unit.query(
        "select set_config('marquee.traceparent', '00-call', true)",
        &[],
    )
    .await
    .unwrap();
    publish_in(&mut unit, "a", "x").await;
    unit.query(
        "select marquee.publish('movies', 'b', '{\"traceparent\": \"00-own\", \"k\": \"v\"}', 'x')",
        &[],
    )
    .await
    .unwrap();
    unit.commit().await.unwrap();
    let headers: Vec<serde_json::Value> = world
        .query("select headers from marquee.outbox order by id", &[])
        .await
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(headers[0], serde_json::json!({"traceparent": "00-call"}));
    assert_eq!(
        headers[1],
        serde_json::json!({"traceparent": "00-own", "k": "v"})
    );
}

#[tokio::test]
async fn an_empty_key_has_no_number_and_locks_nothing() {
    let world = World::new().await;
    let mut first = world.db.unit();
    assert_eq!(publish_in(&mut first, "", "x").await, 0);
    assert_eq!(world.publish("", "y").await, 0);
    first.commit().await.unwrap();
    assert_eq!(
        world
            .number("select count(*) from marquee.outbox where seq is null")
            .await,
        2
    );
}

#[tokio::test]
async fn what_breaks_a_bound_is_refused_by_name() {
    let world = World::new().await;
    let long = "'t', repeat('k', 257), null, 'v'";
    for (arguments, said) in [
        ("'', 'k', null, 'v'", "a topic has 1 to 249"),
        ("'ratings!', 'k', null, 'v'", "a topic has 1 to 249"),
        ("repeat('t', 250), 'k', null, 'v'", "a topic has 1 to 249"),
        (long, "a key has at most 256 bytes"),
        ("'t', null, null, 'v'", "a key has at most 256 bytes"),
        ("'t', 'k', null, null", "a value has at most 1 MiB"),
        (
            "'t', 'k', null, convert_to(repeat('x', 1048577), 'UTF8')",
            "a value has at most 1 MiB",
        ),
        ("'t', 'k', '[]', 'v'", "headers are an object of texts"),
        (
            "'t', 'k', '{\"a\": 1}', 'v'",
            "headers are an object of texts",
        ),
        (
            "'t', 'k', '{\"Marquee-Seq\": \"1\"}', 'v'",
            "are the host's",
        ),
        (
            "'t', 'k', jsonb_build_object('a', repeat('x', 16384)), 'v'",
            "at most 64 names and 16 KiB",
        ),
    ] {
        let error = world
            .db
            .connection()
            .await
            .unwrap()
            .query(&format!("select marquee.publish({arguments})"), &[])
            .await
            .unwrap_err();
        assert_eq!(error.code().unwrap().code(), "22023", "{arguments}");
        let text = std::error::Error::source(&error).unwrap();
        let text = text
            .downcast_ref::<tokio_postgres::Error>()
            .unwrap()
            .as_db_error()
            .unwrap()
            .message();
        assert!(text.contains(said), "{arguments}: {text}");
    }
    let exact = "select marquee.publish(repeat('t', 249), repeat('k', 256), null, convert_to(repeat('x', 1048576), 'UTF8'))";
    world.query(exact, &[]).await;
}

#[tokio::test]
async fn of_twenty_callers_at_once_one_is_told_that_the_event_is_new() {
    let world = World::new().await;
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let db = world.db.clone();
        callers.spawn(async move {
            let mut unit = db.unit();
            let accepted: bool = unit
                .query("select marquee.accept('rating', $1)", &[&event(1)])
                .await
                .unwrap()[0]
                .get(0);
            // The first to be told rolls back: then another one is.
            if accepted && caller % 2 == 0 {
                unit.rollback().await;
                return false;
            }
            unit.commit().await.unwrap();
            accepted
        });
    }
    let told = callers.join_all().await;
    assert_eq!(told.iter().filter(|told| **told).count(), 1);
}

#[tokio::test]
async fn two_consumers_do_not_share_an_inbox() {
    let world = World::new().await;
    for consumer in ["rating", "search"] {
        let rows = world
            .query("select marquee.accept($1, $2)", &[&consumer, &event(1)])
            .await;
        assert!(rows[0].get::<_, bool>(0), "{consumer}");
    }
}

#[tokio::test]
async fn an_event_is_parked_once_and_not_at_all_when_it_was_seen_before() {
    let world = World::new().await;
    let park = "select marquee.park('rating', 'ratings', 'm1', $1, '{\"a\": \"b\"}', 'v', 'not known yet')";
    // A command accepts the event, finds that it cannot be applied, and parks it, all in one unit.
    let mut unit = world.db.unit();
    let accept = "select marquee.accept('rating', $1)";
    unit.query(accept, &[&event(1)]).await.unwrap();
    unit.query(park, &[&event(1)]).await.unwrap();
    unit.query(park, &[&event(1)]).await.unwrap();
    unit.commit().await.unwrap();
    // The same command again, by a client that got no answer.
    world.query(park, &[&event(1)]).await;
    // An event that was applied before.
    world.query(accept, &[&event(2)]).await;
    world.query(park, &[&event(2)]).await;
    // Without having asked.
    world.query(park, &[&event(3)]).await;

    let kept = world
        .query(
            "select event_id, headers, error, next_attempt_at is not null from marquee.parked order by id",
            &[],
        )
        .await;
    let ids: Vec<uuid::Uuid> = kept.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [event(1), event(3)]);
    assert_eq!(
        kept[0].get::<_, serde_json::Value>(1),
        serde_json::json!([["a", "b"]])
    );
    assert_eq!(kept[0].get::<_, &str>(2), "not known yet");
    assert!(kept[0].get::<_, bool>(3), "the first of a key is due");
    assert!(!kept[1].get::<_, bool>(3), "the second waits behind it");
    assert_eq!(world.key_state("", "m1").await, (0, 2));
    world.check().await;
}
