//! Parked messages: order, attempts, leases, the dead.

use marquee_delivery::{Error, Verdict, retry::Claimed};
use tokio::task::JoinSet;

use crate::support::{
    SOURCE, TOPIC, World, claim, consume, consumer, deliver, deliver_run, event, numbered,
    open_run, plain, position, run_of,
};

fn later(_: &marquee_delivery::Message) -> Verdict {
    Verdict::Retry("not yet".to_owned())
}

fn done(_: &marquee_delivery::Message) -> Verdict {
    Verdict::Done
}

/// Deliver what is due until nothing is.
async fn drain(world: &World) {
    loop {
        let claimed = claim(&world.db).await;
        if claimed.is_empty() {
            return;
        }
        for one in claimed {
            let summary = deliver(&world.db, &one, Verdict::Done).await.unwrap();
            assert!(summary.done > 0, "{summary:?}");
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
    assert!(claim(&world.db).await.is_empty(), "nothing is due yet");
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
    let claimed = claim(&world.db).await;
    let run = run_of(&world.db, &claimed[0]).await;
    let message = &run[0];
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
        let claimed = claim(&world.db).await;
        assert_eq!(claimed.len(), 1);
        assert_eq!(
            world.kept().await[0].3,
            attempt,
            "counted before the component is asked"
        );
        let summary = deliver_run(&world.db, &claimed[0], later).await.unwrap();
        assert_eq!(summary.dead, usize::from(attempt == 8));
    }
    world.make_due().await;
    assert!(
        claim(&world.db).await.is_empty(),
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
    let claimed = claim(&world.db).await;
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
    let claimed = claim(&world.db).await;
    let summary = deliver(&world.db, &claimed[0], Verdict::Reject("never".to_owned()))
        .await
        .unwrap();
    assert_eq!(summary.dead, 1);
}

#[tokio::test]
async fn a_claim_of_a_host_that_died_comes_back_and_its_late_answer_counts_for_nothing() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let dead = claim(&world.db).await;
    assert_eq!(dead.len(), 1);
    assert!(claim(&world.db).await.is_empty(), "claimed");
    // Its lease runs out.
    world.make_due().await;
    let second = claim(&world.db).await;
    assert_eq!(second.len(), 1);

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
    // Of the first two deaths nobody knows whose doing they were.
    for attempt in [2, 2, 2, 3, 4, 5, 6, 7, 8] {
        world.make_due().await;
        assert_eq!(claim(&world.db).await.len(), 1);
        assert_eq!(world.kept().await[0].3, attempt);
    }
    world.make_due().await;
    assert!(claim(&world.db).await.is_empty());
    let kept = world.kept().await;
    assert_eq!((kept[0].1.as_str(), kept[0].3), ("dead", 8));
}

#[tokio::test]
async fn a_message_that_kills_its_hosts_takes_none_of_its_key_along() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch: Vec<_> = (0..5)
        .map(|number| numbered(number, "a", number + 1))
        .collect();
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    // a3 ends the host whenever it is among those that are delivered.
    let mut hosts = 0;
    loop {
        world.make_due().await;
        let Some(claimed) = claim(&world.db).await.pop() else {
            break;
        };
        let run = run_of(&world.db, &claimed).await;
        if run.iter().any(|message| *message.value == *b"a3") {
            hosts += 1;
        } else {
            deliver(&world.db, &claimed, Verdict::Done).await.unwrap();
        }
    }
    assert_eq!(world.effects().await, ["a1", "a2"]);
    let kept = world.kept().await;
    let states: Vec<_> = kept
        .iter()
        .map(|it| (it.0.as_str(), it.1.as_str()))
        .collect();
    assert_eq!(states, [("a3", "dead"), ("a4", "parked"), ("a5", "parked")]);
    assert!(hosts <= 12, "{hosts} hosts died");
}

#[tokio::test]
async fn a_message_that_kills_its_hosts_takes_no_other_key_along() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        numbered(1, "b", 1),
        numbered(2, "c", 1),
    ];
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    // The host claims what is due, and a1 ends it before anything else was delivered.
    let mut hosts = 0;
    loop {
        world.make_due().await;
        let claimed = claim(&world.db).await;
        if claimed.is_empty() {
            break;
        }
        if claimed.iter().any(|it| it.key() == "a") {
            hosts += 1;
            continue;
        }
        for one in &claimed {
            let attempt = run_of(&world.db, one).await[0].attempt;
            assert!(attempt <= 3, "{attempt} attempts of what was not delivered");
            deliver(&world.db, one, Verdict::Done).await.unwrap();
        }
    }
    assert_eq!(world.effects().await, ["b1", "c1"]);
    let kept = world.kept().await;
    assert_eq!(kept.len(), 1);
    assert_eq!((&*kept[0].0, &*kept[0].1), ("a1", "dead"));
    assert!(hosts <= 12, "{hosts} hosts died");
}

#[tokio::test]
async fn what_waits_of_a_key_is_delivered_as_one_batch() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch: Vec<_> = (0..1_200)
        .map(|number| numbered(number, "a", number + 1))
        .collect();
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    world.make_due().await;
    let mut runs = Vec::new();
    while let Some(claimed) = claim(&world.db).await.pop() {
        runs.push(
            deliver(&world.db, &claimed, Verdict::Done)
                .await
                .unwrap()
                .done,
        );
    }
    assert_eq!(runs, [500, 500, 200]);
    let expected: Vec<_> = (1..=1_200).map(|number| format!("a{number}")).collect();
    assert_eq!(world.effects().await, expected);
    assert_eq!(world.key_state(SOURCE, "a").await, (1_200, 0));
}

#[tokio::test]
async fn a_run_ends_before_the_first_that_was_not_applied() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch: Vec<_> = (0..5)
        .map(|number| numbered(number, "a", number + 1))
        .collect();
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    world.make_due().await;
    let claimed = claim(&world.db).await;
    // The component says so of a3 alone, and would apply what stands behind it.
    let not_a3 = |message: &marquee_delivery::Message| match &*message.value {
        b"a3" => later(message),
        _ => Verdict::Done,
    };
    let summary = deliver_run(&world.db, &claimed[0], not_a3).await.unwrap();
    assert_eq!((summary.done, summary.parked), (2, 1));
    assert_eq!(world.effects().await, ["a1", "a2"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (5, 3));
    assert!(claim(&world.db).await.is_empty(), "a3 has its pause");
    world.check().await;
    world.make_due().await;
    drain(&world).await;
    assert_eq!(world.effects().await, ["a1", "a2", "a3", "a4", "a5"]);
}

#[tokio::test]
async fn what_a_message_waited_for_wakes_it() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [plain(0, "m1", 1, "one"), plain(1, "m2", 2, "two")];
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    assert!(claim(&world.db).await.is_empty(), "each has its pause");
    let woken = world
        .query("select marquee.wake('rating', $1, 'm2')", &[&TOPIC])
        .await;
    assert_eq!(woken[0].get::<_, i64>(0), 1);
    drain(&world).await;
    assert_eq!(world.effects().await, ["two"]);
}

#[tokio::test]
async fn a_claim_that_was_not_used_gives_its_attempt_back() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let claimed = claim(&world.db).await;
    claimed[0].release(&world.db).await.unwrap();
    assert_eq!(world.kept().await[0].3, 1);
    world.make_due().await;
    let claimed = claim(&world.db).await;
    assert_eq!(run_of(&world.db, &claimed[0]).await[0].attempt, 2);
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
            ids.extend(claim(&db).await.iter().map(Claimed::id));
            ids
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
async fn a_message_that_comes_while_its_key_is_retried_waits_behind_it_and_for_nobody() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let claimed = claim(&world.db).await;
    let mut unit = world.db.unit();
    let run = open_run(&mut unit, &claimed[0], 500).await.unwrap();
    // The component works on a1, for as long as it likes: the batch goes through.
    let summaries = consume(&world.db, &mut at, &[numbered(1, "a", 2)], done)
        .await
        .unwrap();
    assert_eq!(summaries[0].parked, 1);
    unit.execute("insert into effects (what) values ('a1')", &[])
        .await
        .unwrap();
    run.settle(&mut unit, &[Verdict::Done]).await.unwrap();
    unit.commit().await.unwrap();
    drain(&world).await;
    assert_eq!(world.effects().await, ["a1", "a2"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (2, 0));
}

#[tokio::test]
async fn a_retry_is_written_after_the_batch_that_holds_its_key() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], later)
        .await
        .unwrap();
    world.make_due().await;
    let mut unit = world.db.unit();
    let records = [numbered(1, "a", 2)];
    let receipt =
        marquee_delivery::consume::Receipt::open(&mut unit, &consumer(), &at, &records, 1)
            .await
            .unwrap();
    assert!(receipt.messages().is_empty(), "it waits behind a1");

    let claimed = claim(&world.db).await;
    let mut retry = JoinSet::new();
    let db = world.another_host();
    let one = claimed[0].clone();
    retry.spawn(async move { deliver(&db, &one, Verdict::Done).await.unwrap() });
    world.someone_waits().await;
    receipt.settle(&mut unit, &[]).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(retry.join_next().await.unwrap().unwrap().done, 1);
    drain(&world).await;
    assert_eq!(world.effects().await, ["a1", "a2"]);
    world.check().await;
}

#[tokio::test]
async fn a_message_that_a_person_took_away_meanwhile_ends_its_run() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [numbered(0, "a", 1), numbered(1, "a", 2)];
    consume(&world.db, &mut at, &batch, later).await.unwrap();
    world.make_due().await;
    let claimed = claim(&world.db).await;
    let mut unit = world.db.unit();
    let run = open_run(&mut unit, &claimed[0], 500).await.unwrap();
    let second = world
        .number("select id from marquee.parked where seq = 2")
        .await;
    marquee_delivery::messages::discard(&world.db, second, "ada")
        .await
        .unwrap();
    let settled = run.settle(&mut unit, &[Verdict::Done, Verdict::Done]).await;
    assert!(matches!(settled, Err(Error::Gone(_))), "{settled:?}");
    unit.rollback().await;
    deliver(&world.db, &claimed[0], Verdict::Done)
        .await
        .unwrap();
    assert_eq!(world.effects().await, ["a1"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (2, 0));
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
    let claimed = claim(&world.db).await;
    let run = run_of(&world.db, &claimed[0]).await;
    assert_eq!(run[0].attempt, 1);
    assert_eq!(run[0].headers, [("a".to_owned(), "b".to_owned())]);
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
