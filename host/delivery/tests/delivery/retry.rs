//! Parked messages: order, attempts, leases, the dead.

use std::time::Duration;

use marquee_delivery::{
    Error, Verdict,
    retry::{Claimed, Retried, claim_due},
};
use tokio::task::JoinSet;

use crate::support::{
    SOURCE, TOPIC, World, consume, consumer, deliver, event, numbered, plain, position,
};

const LEASE: Duration = Duration::from_secs(60);

async fn claim(world: &World) -> Vec<Claimed> {
    claim_due(&world.db, &consumer(), TOPIC, 100, LEASE)
        .await
        .unwrap()
}

fn later(_: &marquee_delivery::Message) -> Verdict {
    Verdict::Retry("not yet".to_owned())
}

fn done(_: &marquee_delivery::Message) -> Verdict {
    Verdict::Done
}

/// Deliver what is due until nothing is.
async fn drain(world: &World) {
    loop {
        let claimed = claim(world).await;
        if claimed.is_empty() {
            return;
        }
        for one in claimed {
            let retried = deliver(&world.db, &one, Verdict::Done).await.unwrap();
            assert_eq!(retried, Retried::Done);
            world.check().await;
        }
    }
}

#[tokio::test]
async fn a_key_is_drained_in_order_in_one_run_once_its_first_message_is_applied() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch: Vec<_> = (0..3)
        .flat_map(|number| {
            let id = u128::try_from(number).unwrap();
            [
                numbered(2 * number, "a", number + 1),
                plain(2 * number + 1, "b", id, &format!("b{}", number + 1)),
            ]
        })
        .collect();
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    assert!(claim(&world).await.is_empty(), "nothing is due yet");
    world.make_due().await;
    drain(&world).await;
    let effects = world.effects().await;
    for key in ["a", "b"] {
        let of_key: Vec<_> = effects
            .iter()
            .filter(|what| what.starts_with(key))
            .collect();
        assert_eq!(
            of_key,
            [&format!("{key}1"), &format!("{key}2"), &format!("{key}3")]
        );
    }
    assert_eq!(world.key_state(SOURCE, "a").await, (3, 0));
    // The key is free again.
    consume(&world.db, &mut at, &[numbered(6, "a", 4)], done)
        .await
        .unwrap();
    assert_eq!(world.effects().await.last().unwrap(), "a4");
}

#[tokio::test]
async fn a_message_is_given_as_it_was_published_with_the_number_of_its_attempt() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let claimed = claim(&world).await;
    let message = claimed[0].message();
    assert_eq!(message.attempt, 2);
    assert_eq!(message.seq, Some(1));
    assert_eq!(message.source, SOURCE);
    assert_eq!(message.published_at_ms, 1_700_000_000_123);
    assert_eq!(
        message.headers,
        [("traceparent".to_owned(), "00-abc".to_owned())]
    );
}

#[tokio::test]
async fn attempts_are_counted_before_the_call_and_the_last_one_is_followed_by_death() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [numbered(0, "a", 1), numbered(1, "a", 2)];
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    for attempt in 2..=8 {
        world.make_due().await;
        let claimed = claim(&world).await;
        assert_eq!(claimed.len(), 1);
        assert_eq!(
            world.kept().await[0].3,
            attempt,
            "counted before the component is asked"
        );
        let retried = deliver(&world.db, &claimed[0], later(claimed[0].message()))
            .await
            .unwrap();
        let expected = if attempt < 8 {
            Retried::Later
        } else {
            Retried::Dead
        };
        assert_eq!(retried, expected);
    }
    world.make_due().await;
    assert!(
        claim(&world).await.is_empty(),
        "a dead message is left alone"
    );
    consume(&world.db, &mut at, &[numbered(2, "a", 3)], done)
        .await
        .unwrap();
    assert!(world.effects().await.is_empty(), "and so is its key");
    world.check().await;
}

#[tokio::test]
async fn the_pause_doubles_with_each_failure() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    let pause =
        "select extract(epoch from next_attempt_at - last_failed_at)::bigint from marquee.parked";
    assert!((5..=10).contains(&world.number(pause).await));
    world.make_due().await;
    let claimed = claim(&world).await;
    claimed[0].fail(&world.db, "trapped").await.unwrap();
    assert!((10..=20).contains(&world.number(pause).await));
    let kept = world.kept().await;
    assert_eq!(kept[0].2, "failed");
}

#[tokio::test]
async fn a_rejected_retry_is_dead_at_once() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[plain(0, "", 1, "x")], later)
        .await
        .unwrap();
    world.make_due().await;
    let claimed = claim(&world).await;
    let retried = deliver(&world.db, &claimed[0], Verdict::Reject("never".to_owned()))
        .await
        .unwrap();
    assert_eq!(retried, Retried::Dead);
}

#[tokio::test]
async fn a_claim_of_a_host_that_died_comes_back_and_its_late_answer_counts_for_nothing() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let dead = claim(&world).await;
    assert_eq!(dead.len(), 1);
    assert!(claim(&world).await.is_empty(), "claimed");
    // Its lease runs out.
    world.make_due().await;
    let second = claim(&world).await;
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].message().attempt, 3);

    let late = deliver(&world.db, &dead[0], Verdict::Done).await;
    assert!(matches!(late, Err(Error::Gone(_))), "{late:?}");
    let late = dead[0].fail(&world.db, "late").await;
    assert!(matches!(late, Err(Error::Gone(_))), "{late:?}");
    deliver(&world.db, &second[0], Verdict::Done).await.unwrap();
    assert_eq!(world.effects().await, ["a1"]);
}

#[tokio::test]
async fn a_message_that_kills_every_host_is_dead_after_its_attempts() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    for _ in 2..=8 {
        world.make_due().await;
        assert_eq!(claim(&world).await.len(), 1);
    }
    world.make_due().await;
    assert!(claim(&world).await.is_empty());
    let kept = world.kept().await;
    assert_eq!((kept[0].1.as_str(), kept[0].3), ("dead", 8));
}

#[tokio::test]
async fn a_claim_that_was_not_used_gives_its_attempt_back() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let claimed = claim(&world).await;
    claimed[0].release(&world.db).await.unwrap();
    assert_eq!(world.kept().await[0].3, 1);
    world.make_due().await;
    assert_eq!(claim(&world).await[0].message().attempt, 2);
}

#[tokio::test]
async fn two_hosts_never_claim_the_same_message() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch: Vec<_> = (0..200)
        .map(|number| {
            plain(
                number,
                &number.to_string(),
                u128::try_from(number).unwrap(),
                "x",
            )
        })
        .collect();
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    world.make_due().await;
    let mut hosts = JoinSet::new();
    for _ in 0..4 {
        let db = world.another_host();
        hosts.spawn(async move {
            let mut ids = Vec::new();
            loop {
                let claimed = claim_due(&db, &consumer(), TOPIC, 7, LEASE).await.unwrap();
                if claimed.is_empty() {
                    return ids;
                }
                ids.extend(claimed.iter().map(Claimed::id));
            }
        });
    }
    let mut ids: Vec<i64> = hosts.join_all().await.into_iter().flatten().collect();
    let claimed = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((claimed, ids.len()), (200, 200));
}

#[tokio::test]
async fn a_gap_drains_when_the_missing_number_comes() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        numbered(1, "a", 3),
        numbered(2, "a", 4),
        numbered(3, "a", 6),
    ];
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    drain(&world).await;
    assert_eq!(world.effects().await, ["a1"]);
    consume(&world.db, &mut at, &[numbered(4, "a", 2)], done)
        .await
        .unwrap();
    drain(&world).await;
    assert_eq!(
        world.effects().await,
        ["a1", "a2", "a3", "a4"],
        "as far as the next gap"
    );
    assert_eq!(world.key_state(SOURCE, "a").await, (4, 1));
    let rest = [numbered(5, "a", 5), numbered(6, "a", 7)];
    consume(&world.db, &mut at, &rest, done).await.unwrap();
    drain(&world).await;
    assert_eq!(
        world.effects().await,
        ["a1", "a2", "a3", "a4", "a5", "a6", "a7"]
    );
    assert_eq!(world.key_state(SOURCE, "a").await, (7, 0));
    world.check().await;
}

#[tokio::test]
async fn a_message_that_comes_while_its_key_is_retried_waits_for_the_retry_and_follows_it() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let claimed = claim(&world).await;
    let mut unit = world.db.unit();
    claimed[0].open(&mut unit).await.unwrap();

    let mut batch = JoinSet::new();
    let db = world.another_host();
    batch.spawn(async move {
        consume(&db, &mut at, &[numbered(1, "a", 2)], done)
            .await
            .unwrap()
    });
    world.someone_waits().await;
    unit.execute("insert into effects (what) values ('a1')", &[])
        .await
        .unwrap();
    claimed[0].settle(&mut unit, &Verdict::Done).await.unwrap();
    unit.commit().await.unwrap();
    batch.join_next().await.unwrap().unwrap();
    drain(&world).await;
    assert_eq!(world.effects().await, ["a1", "a2"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (2, 0));
}

#[tokio::test]
async fn a_retry_waits_for_the_batch_that_holds_its_key() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let mut unit = world.db.unit();
    let records = [numbered(1, "a", 2)];
    let receipt = marquee_delivery::consume::Receipt::open(&mut unit, &consumer(), &at, &records)
        .await
        .unwrap();
    assert!(receipt.messages().is_empty(), "it waits behind a1");

    let claimed = claim(&world).await;
    let mut retry = JoinSet::new();
    let db = world.another_host();
    let one = claimed[0].clone();
    retry.spawn(async move { deliver(&db, &one, Verdict::Done).await.unwrap() });
    world.someone_waits().await;
    receipt.settle(&mut unit, &[]).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(retry.join_next().await.unwrap().unwrap(), Retried::Done);
    drain(&world).await;
    assert_eq!(world.effects().await, ["a1", "a2"]);
    world.check().await;
}

#[tokio::test]
async fn what_a_component_parked_itself_follows_the_same_rules() {
    let world = World::new().await;
    for (id, value) in [(1, "first"), (2, "second")] {
        world
            .query(
                "select marquee.park('rating', $1, 'm1', $2, '{\"a\": \"b\"}', $3, 'unknown movie')",
                &[&TOPIC, &event(id), &value.as_bytes()],
            )
            .await;
    }
    // The same event by the bus is a duplicate; a later one of the key waits.
    let mut at = position(&world.db).await;
    let batch = [plain(0, "m1", 1, "first"), plain(1, "m1", 3, "third")];
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    assert!(world.effects().await.is_empty());
    let claimed = claim(&world).await;
    assert_eq!(claimed[0].message().attempt, 1);
    assert_eq!(
        claimed[0].message().headers,
        [("a".to_owned(), "b".to_owned())]
    );
    claimed[0].release(&world.db).await.unwrap();
    world.make_due().await;
    drain(&world).await;
    assert_eq!(world.effects().await, ["first", "second", "third"]);
    // Counted before: also when it comes again long after.
    consume(&world.db, &mut at, &[plain(2, "m1", 1, "first")], done)
        .await
        .unwrap();
    assert_eq!(world.effects().await.len(), 3);
}
