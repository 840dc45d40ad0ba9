//! Consumers that no component is any more: noticed before they are read once more, told of, and deleted whole.

use marquee_delivery::{
    Error, Message, Verdict,
    consume::{Place, Position, Why},
    consumers::{ConsumerError, standing},
    identity::{Deleted, delete, predecessors, unattended},
    messages::{self, Act, Filter},
};

use crate::support::{TOPIC, World, claim, consume, numbered, partition, plain, position};

fn judge(message: &Message) -> Verdict {
    match &message.value[..] {
        b"later" => Verdict::Retry("not yet".to_owned()),
        b"never" => Verdict::Reject("never".to_owned()),
        _ => Verdict::Done,
    }
}

/// Consumer `rating` has begun: it applied two, one is parked, one is dead.
async fn read() -> World {
    let world = World::new().await;
    let beginning = Place {
        next: 0,
        log: None,
        why: Why::Anew,
    };
    let at = position(&world.db).await;
    let mut at = at.set(&world.db, &beginning).await.unwrap();
    let batch = [
        numbered(0, "a", 1),
        plain(1, "b", 1, "applied"),
        plain(2, "c", 2, "later"),
        plain(3, "d", 3, "never"),
    ];
    consume(&world.db, &mut at, &batch, judge).await.unwrap();
    world
}

async fn before(world: &World, consumer: &str, topic: &str, others: &[&str]) -> Vec<String> {
    let before = predecessors(&world.db, consumer, topic, others).await;
    before.unwrap()
}

#[tokio::test]
async fn whoever_has_read_a_topic_that_a_consumer_has_not_is_most_likely_the_same() {
    let world = read().await;
    assert_eq!(
        before(&world, "scores", TOPIC, &["scores"]).await,
        ["rating"]
    );
    // It is there; it is another one; it is another topic; it has begun.
    for (consumer, topic, others) in [
        ("rating", TOPIC, &[][..]),
        ("scores", TOPIC, &["scores", "rating"]),
        ("scores", "others", &[]),
    ] {
        let found = before(&world, consumer, topic, others).await;
        assert!(found.is_empty(), "{consumer} of {topic}: {found:?}");
    }
    // Who has only looked has read nothing.
    let looked = async |consumer| {
        Position::load(&world.db, consumer, &partition())
            .await
            .unwrap()
    };
    let scores = looked("scores").await;
    assert_eq!(before(&world, "scores", TOPIC, &[]).await, ["rating"]);
    looked("points").await;
    let begun = Place {
        next: 0,
        log: None,
        why: Why::Anew,
    };
    scores.set(&world.db, &begun).await.unwrap();
    assert!(before(&world, "scores", TOPIC, &[]).await.is_empty());
    assert_eq!(
        before(&world, "points", TOPIC, &[]).await,
        ["rating", "scores"]
    );
}

#[tokio::test]
async fn what_waits_for_nobody_is_counted_and_is_not_retried() {
    let world = read().await;
    let all = unattended(&world.db, &[("rating", TOPIC)]).await.unwrap();
    assert_eq!(all, []);
    let all = unattended(&world.db, &[("rating", "others"), ("scores", TOPIC)]).await;
    let all = all.unwrap();
    let [of] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        of.to_string(),
        format!(
            "no component is consumer rating of {TOPIC}: 1 parked and 1 dead messages wait for nobody"
        )
    );
    let filter = Filter {
        limit: 10,
        ..Filter::default()
    };
    let bulk = messages::each(&world.db, &filter, Act::Retry, "ada", &all, false).await;
    let bulk = bulk.unwrap();
    assert_eq!((bulk.done, bulk.left.len()), (0, 2));
    assert!(
        bulk.left[0].why.contains("nobody would deliver"),
        "{bulk:?}"
    );
    let bulk = messages::each(&world.db, &filter, Act::Skip, "ada", &all, false).await;
    assert_eq!(bulk.unwrap().done, 2);
    assert_eq!(unattended(&world.db, &[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_deleted_consumer_leaves_nothing_and_a_host_that_has_it_still_stands() {
    let world = read().await;
    let mut zombie = position(&world.db).await;
    let other = Position::load(&world.db, "other", &partition())
        .await
        .unwrap();
    let place = ("rating", TOPIC);
    let expected = Deleted {
        partitions: 1,
        parked: 1,
        dead: 1,
        skipped: 0,
    };
    let planned = delete(&world.db, place, "ada", true).await.unwrap();
    assert_eq!(planned, Some(expected));
    assert_eq!(world.kept().await.len(), 2, "nothing is changed");

    // A host is just delivering to it.
    world.make_due().await;
    let claimed = claim(&world.db).await;
    let refused = delete(&world.db, place, "ada", false).await;
    assert!(
        matches!(refused, Err(ConsumerError::UnderWay(1))),
        "{refused:?}"
    );
    claimed[0].release(&world.db).await.unwrap();

    let deleted = delete(&world.db, place, "ada", false).await.unwrap();
    assert_eq!(deleted, Some(expected));
    for table in ["parked", "key_state", "inbox", "ledger"] {
        let count = format!("select count(*) from marquee.{table} where consumer = 'rating'");
        assert_eq!(world.number(&count).await, 0, "{table}");
    }
    let again = delete(&world.db, place, "ada", false).await.unwrap();
    assert_eq!(again, None);
    let action = world
        .query(
            "select actor, action, consumer, topic, detail from marquee.actions",
            &[],
        )
        .await;
    assert_eq!(action.len(), 1);
    assert_eq!(action[0].get::<_, &str>(1), "delete");
    let detail: serde_json::Value = action[0].get(4);
    assert_eq!(detail["dead"], 1);

    // Whoever had it does not begin anew.
    let late = [plain(4, "b", 9, "late")];
    let refused = consume(&world.db, &mut zombie, &late, judge).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    let mut anew = position(&world.db).await;
    let refused = consume(&world.db, &mut anew, &late, judge).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(world.effects().await, ["a1", "applied"]);
    let all = standing(&world.db, None).await.unwrap();
    let paused = all.iter().find(|it| it.consumer == "rating").unwrap();
    assert_eq!(paused.paused.as_ref().unwrap().by, "ada");
    // And others are none of its business.
    let still = Position::load(&world.db, "other", &partition())
        .await
        .unwrap();
    assert_eq!(still, other);
}
