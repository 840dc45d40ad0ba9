//! A batch in its unit of work: fence, duplicates, gaps, parking, and hosts that die.

use marquee_delivery::{
    Error, Verdict,
    consume::{CROWDED, Fate, Place, Position, Receipt, Why, keep},
    messages,
};
use tokio::task::JoinSet;

use crate::support::{
    SOURCE, TOPIC, World, apply, claim, consume, consumer, deliver, event, numbered, partition,
    plain, position, record,
};

fn done(_: &marquee_delivery::Message) -> Verdict {
    Verdict::Done
}

/// Says retry to the payloads that it is given.
fn retry_on<'a>(what: &'a [&'a str]) -> impl Fn(&marquee_delivery::Message) -> Verdict + 'a {
    move |message| {
        if what.contains(&std::str::from_utf8(&message.value).unwrap()) {
            Verdict::Retry("not yet".to_owned())
        } else {
            Verdict::Done
        }
    }
}

#[tokio::test]
async fn a_message_is_counted_once_however_often_it_is_delivered() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        plain(1, "b", 1, "p1"),
        // Published twice by a relay that died between, and by a client that tried again.
        numbered(2, "a", 1),
        plain(3, "b", 1, "p1"),
        numbered(4, "a", 2),
    ];
    let summary = consume(&world.db, &mut at, &batch, done).await.unwrap()[0];
    assert_eq!((summary.next, summary.done, summary.duplicates), (5, 3, 2));
    // The same events again, further on.
    let again = [
        numbered(5, "a", 2),
        plain(6, "b", 1, "p1"),
        plain(7, "", 1, "p1"),
    ];
    consume(&world.db, &mut at, &again, done).await.unwrap();
    assert_eq!(world.effects().await, ["a1", "p1", "a2"]);
    assert_eq!(at.next(), 8);
    world.check().await;
}

#[tokio::test]
async fn the_watermark_outlives_the_inbox() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[numbered(0, "a", 1)], done)
        .await
        .unwrap();
    world.query("delete from marquee.inbox", &[]).await;
    consume(&world.db, &mut at, &[numbered(1, "a", 1)], done)
        .await
        .unwrap();
    assert_eq!(world.effects().await, ["a1"]);
}

#[tokio::test]
async fn what_lies_below_the_position_is_not_delivered_again() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    assert_eq!(at.next(), 0, "nothing is known of the partition yet");
    let batch = [plain(0, "", 1, "x"), plain(1, "", 2, "y")];
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    let loaded = position(&world.db).await;
    assert_eq!(loaded.next(), 2);
    assert!(loaded.fresh(&batch).is_empty());
    let more = [batch[1].clone(), plain(2, "", 3, "z")];
    assert_eq!(loaded.fresh(&more), &more[1..]);
}

#[tokio::test]
async fn a_batch_of_a_host_that_lost_the_partition_has_no_effect() {
    let world = World::new().await;
    let mut zombie = position(&world.db).await;
    let mut successor = position(&world.another_host()).await;
    let batch = [plain(0, "", 1, "x"), numbered(1, "a", 1)];
    consume(&world.db, &mut successor, &batch[..1], done)
        .await
        .unwrap();
    let fenced = consume(&world.db, &mut zombie, &batch, done).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    assert_eq!(world.effects().await, ["x"]);
    assert_eq!(world.key_state(crate::support::SOURCE, "a").await, (0, 0));
    let fenced = zombie.start(&world.db).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })));
    // After loading anew it goes on where its successor stopped.
    let mut loaded = position(&world.db).await;
    consume(&world.db, &mut loaded, &batch, done).await.unwrap();
    assert_eq!(world.effects().await, ["x", "a1"]);
}

#[tokio::test]
async fn of_two_hosts_in_the_same_batch_the_second_waits_and_is_fenced() {
    let world = World::new().await;
    let batch = vec![plain(0, "", 1, "x"), numbered(1, "a", 1)];
    let zombie = position(&world.db).await;
    let mut unit = world.db.unit();
    let receipt = Receipt::open(&mut unit, &consumer(), &zombie, &batch, 1)
        .await
        .unwrap();
    let messages = receipt.messages();

    let mut successor = JoinSet::new();
    let (db, theirs) = (world.another_host(), batch.clone());
    successor.spawn(async move {
        let mut at = position(&db).await;
        consume(&db, &mut at, &theirs, done).await
    });
    world.someone_waits().await;
    let verdicts = vec![Verdict::Done; messages.len()];
    apply(&mut unit, &messages, &verdicts).await;
    receipt.settle(&mut unit, &verdicts).await.unwrap();
    unit.commit().await.unwrap();

    let theirs = successor.join_next().await.unwrap().unwrap();
    assert!(matches!(theirs, Err(Error::Fenced { .. })), "{theirs:?}");
    assert_eq!(world.effects().await, ["x", "a1"]);
}

#[tokio::test]
async fn the_same_event_by_command_and_by_bus_at_once_counts_once() {
    let world = World::new().await;
    let mut command = world.db.unit();
    let accepted = command
        .query("select marquee.accept('rating', $1)", &[&event(1)])
        .await
        .unwrap();
    assert!(accepted[0].get::<_, bool>(0));
    command
        .execute("insert into effects (what) values ('by command')", &[])
        .await
        .unwrap();

    let mut bus = JoinSet::new();
    let db = world.another_host();
    bus.spawn(async move {
        let mut at = position(&db).await;
        consume(&db, &mut at, &[plain(0, "a", 1, "by bus")], done)
            .await
            .unwrap()[0]
    });
    world.someone_waits().await;
    command.commit().await.unwrap();
    let summary = bus.join_next().await.unwrap().unwrap();
    assert_eq!((summary.done, summary.duplicates), (0, 1));
    assert_eq!(world.effects().await, ["by command"]);
}

#[tokio::test]
async fn later_messages_of_a_parked_key_wait_and_other_keys_go_on() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        numbered(1, "a", 2),
        plain(2, "b", 1, "b1"),
        numbered(3, "c", 1),
        plain(4, "b", 2, "b2"),
    ];
    let summaries = consume(&world.db, &mut at, &batch, retry_on(&["a1", "b1"]))
        .await
        .unwrap();
    assert_eq!(summaries.last().unwrap().next, 5);
    assert_eq!(world.effects().await, ["c1"]);
    // In a later batch too.
    let later = [
        numbered(5, "a", 3),
        plain(6, "b", 3, "b3"),
        numbered(7, "c", 2),
    ];
    consume(&world.db, &mut at, &later, done).await.unwrap();
    assert_eq!(world.effects().await, ["c1", "c2"]);
    let kept = world.kept().await;
    let due: Vec<&str> = kept
        .iter()
        .filter(|row| row.4)
        .map(|row| row.0.as_str())
        .collect();
    assert_eq!(due, ["b1", "a1"], "the first of each key, and no other");
    assert_eq!(kept.len(), 6);
    assert_eq!(world.key_state(crate::support::SOURCE, "a").await, (3, 3));
    world.check().await;
}

#[tokio::test]
async fn a_message_applied_behind_one_that_was_not_is_rolled_back_and_waits() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        numbered(1, "b", 1),
        numbered(2, "a", 2),
        numbered(3, "a", 3),
    ];
    let summaries = consume(&world.db, &mut at, &batch, retry_on(&["a1"]))
        .await
        .unwrap();
    assert_eq!(summaries.len(), 2, "the batch was split behind a1");
    assert_eq!(world.effects().await, ["b1"]);
    let waiting: Vec<_> = world
        .kept()
        .await
        .into_iter()
        .map(|row| (row.0, row.2))
        .collect();
    let expected = [("a1", "retry"), ("a2", "waiting"), ("a3", "waiting")];
    assert_eq!(
        waiting,
        expected.map(|(what, reason)| (what.to_owned(), reason.to_owned()))
    );
}

#[tokio::test]
async fn a_gap_parks_its_key_and_nothing_else() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        numbered(1, "a", 3),
        numbered(2, "a", 4),
        numbered(3, "b", 1),
        // Again, behind the gap.
        numbered(4, "a", 3),
    ];
    let summary = consume(&world.db, &mut at, &batch, done).await.unwrap()[0];
    assert_eq!((summary.done, summary.gaps), (2, 3));
    assert_eq!(world.effects().await, ["a1", "b1"]);
    let kept = world.kept().await;
    assert_eq!(kept.len(), 2);
    assert!(
        kept.iter().all(|row| row.2 == "gap" && !row.4),
        "nothing is due behind a gap: {kept:?}"
    );
    assert_eq!(world.key_state(crate::support::SOURCE, "a").await, (1, 2));
    // A key that begins with another number than 1 has a gap too.
    consume(&world.db, &mut at, &[numbered(5, "c", 2)], done)
        .await
        .unwrap();
    assert_eq!(world.key_state(crate::support::SOURCE, "c").await, (0, 1));
    world.check().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_dead_at_once_and_kept_whole() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let long_key = "k".repeat(5_000);
    let batch = [
        record(0, "a", "no id", &[("h", "v")]),
        record(1, &long_key, "long key", &[]),
        record(2, "a\0b", "NUL\0", &[("x\0", "y\0")]),
        record(3, "a", "bad id", &[("marquee-event-id", "7")]),
        plain(4, "b", 1, "good"),
    ];
    let summary = consume(&world.db, &mut at, &batch, done).await.unwrap()[0];
    assert_eq!((summary.dead, summary.done), (4, 1));
    assert_eq!(world.effects().await, ["good"]);
    let rows = world
        .query(
            "select value, state, reason, error, headers from marquee.parked order by id",
            &[],
        )
        .await;
    for (row, sent) in rows.iter().zip(&batch) {
        assert_eq!(row.get::<_, Vec<u8>>(0), sent.record.value.to_vec());
        assert_eq!(row.get::<_, &str>(1), "dead");
        assert_eq!(row.get::<_, &str>(2), "undecodable");
    }
    assert_eq!(
        rows[0].get::<_, serde_json::Value>(4),
        serde_json::json!([["h", "v"]])
    );
    assert_eq!(rows.len(), 4);
    world.check().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_holds_its_key_where_it_has_a_number_and_where_it_has_none() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let long_key = "k".repeat(300);
    let batch = [
        record(0, "a", "no id", &[]),
        plain(1, "a", 1, "behind"),
        // What is left of a key that cannot be read is no key, and holds none.
        record(2, &long_key, "long key", &[]),
        plain(3, &long_key[..256], 2, "another key"),
        record(4, "", "no key", &[]),
        plain(5, "", 3, "no order"),
    ];
    let summary = consume(&world.db, &mut at, &batch, done).await.unwrap()[0];
    assert_eq!((summary.dead, summary.parked, summary.done), (3, 1, 2));
    let late = [plain(6, "a", 4, "late")];
    consume(&world.db, &mut at, &late, done).await.unwrap();
    assert_eq!(world.effects().await, ["another key", "no order"]);
    assert_eq!(world.key_state("", "a").await, (0, 3));
    world.check().await;
    // A person decides, and the key goes on in its order.
    let sql = "select id from marquee.parked where convert_from(value, 'utf8') = 'no id'";
    let id = world.number(sql).await;
    messages::skip(&world.db, id, "ada").await.unwrap();
    for claimed in claim(&world.db).await {
        deliver(&world.db, &claimed, Verdict::Done).await.unwrap();
    }
    let effects = world.effects().await;
    assert_eq!(effects, ["another key", "no order", "behind", "late"]);
    world.check().await;
}

#[tokio::test]
async fn a_numbered_message_that_is_too_large_keeps_its_place_and_blocks_its_key() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let mut large = numbered(0, "a", 1);
    large.record.value = vec![b'x'; 1024 * 1024 + 1].into();
    let batch = [large, numbered(1, "a", 2)];
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    assert!(world.effects().await.is_empty());
    assert_eq!(world.key_state(crate::support::SOURCE, "a").await, (2, 2));
    world.check().await;
}

#[tokio::test]
async fn a_rejected_message_is_dead_and_its_key_waits() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let reject = |message: &marquee_delivery::Message| match &message.value[..] {
        b"x" => Verdict::Reject("never \0 ever".to_owned()),
        _ => Verdict::Done,
    };
    let batch = [
        plain(0, "a", 1, "x"),
        plain(1, "b", 2, "y"),
        plain(2, "", 3, "x"),
        plain(3, "", 4, "z"),
    ];
    consume(&world.db, &mut at, &batch, reject).await.unwrap();
    consume(&world.db, &mut at, &[plain(4, "a", 5, "late")], reject)
        .await
        .unwrap();
    assert_eq!(world.effects().await, ["y", "z"]);
    assert_eq!(world.key_state("", "a").await, (0, 2));
    let states: Vec<_> = world
        .kept()
        .await
        .into_iter()
        .map(|row| (row.0, row.1, row.4))
        .collect();
    let expected = [("x", "dead"), ("x", "dead"), ("late", "parked")];
    assert_eq!(
        states,
        expected.map(|(what, state)| (what.to_owned(), state.to_owned(), false))
    );
    world.check().await;
}

#[tokio::test]
async fn a_message_whose_call_fails_alone_is_parked_with_the_error() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let guilty = numbered(0, "a", 1);
    // The host's unit was rolled back: what it had recorded is gone with it.
    let mut unit = world.db.unit();
    Receipt::open(
        &mut unit,
        &consumer(),
        &at,
        std::slice::from_ref(&guilty),
        1,
    )
    .await
    .unwrap();
    unit.rollback().await;
    let failed = Fate::Failed("trapped: unreachable".to_owned());
    let summary = keep(&world.db, &consumer(), &at, &guilty, 1, &failed)
        .await
        .unwrap();
    at.advance(&summary);
    assert_eq!(at.next(), 1);
    let kept = world.kept().await;
    let expected = (
        "a1".to_owned(),
        "parked".to_owned(),
        "failed".to_owned(),
        1,
        true,
    );
    assert_eq!(kept, [expected]);
    // A zombie parks nothing.
    let unseen = Position::unseen("rating", &partition());
    let late = plain(0, "z", 9, "z");
    let fenced = keep(&world.db, &consumer(), &unseen, &late, 1, &failed).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    assert_eq!(world.kept().await.len(), 1);
}

#[tokio::test]
async fn starts_are_counted_until_the_position_moves_or_a_host_survives() {
    let world = World::new().await;
    for starts in 1..=3 {
        // A host starts, loads, says that it begins, and is not heard of again.
        let at = position(&world.another_host()).await;
        assert_eq!(at.start(&world.db).await.unwrap().starts(), starts);
    }
    let at = position(&world.db).await;
    // The batch failed, the host is alive: an outage, or a partition taken away.
    let mut at = at.survived(&world.db).await.unwrap();
    assert_eq!(at.starts(), 0);
    at = at.start(&world.db).await.unwrap();
    consume(&world.db, &mut at, &[plain(0, "", 1, "x")], done)
        .await
        .unwrap();
    assert_eq!(position(&world.db).await.starts(), 0);
}

#[tokio::test]
async fn a_host_that_knew_the_position_before_it_was_set_is_fenced_though_the_number_is_the_same() {
    let world = World::new().await;
    let mut zombie = position(&world.db).await;
    let at = position(&world.db).await;
    let to = Place {
        next: 0,
        log: Some("another log".to_owned()),
        why: Why::Anew,
    };
    let set = at.set(&world.db, &to).await.unwrap();
    assert_eq!(set.next(), zombie.next());
    let late = consume(&world.db, &mut zombie, &[plain(0, "a", 1, "late")], done).await;
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
    let late = zombie.start(&world.db).await;
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
    assert!(world.effects().await.is_empty());
}

#[tokio::test]
async fn a_consumer_that_began_in_the_middle_of_a_log_misses_no_number_before_it() {
    let world = World::new().await;
    let at = position(&world.db).await;
    let to = Place {
        next: 40,
        log: None,
        why: Why::Anew,
    };
    let mut at = at.set(&world.db, &to).await.unwrap();
    let batch = [
        numbered(40, "a", 7),
        numbered(41, "a", 8),
        numbered(42, "a", 10),
    ];
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    assert_eq!(world.effects().await, ["a7", "a8"]);
    assert_eq!(
        world.kept().await[0].2,
        "gap",
        "of what it has seen it misses one"
    );
}

#[tokio::test]
async fn a_message_that_cannot_be_kept_as_it_is_is_kept_without_what_the_server_refuses() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let mut odd = numbered(0, "a", 1);
    // Beyond what PostgreSQL calls a time.
    odd.published_at_ms = i64::MAX;
    let failed = Fate::Failed("it failed".to_owned());
    let refused = keep(&world.db, &consumer(), &at, &odd, 1, &failed).await;
    let error = refused.unwrap_err();
    assert!(error.is_refusal(), "{error:?}");
    let stripped = Fate::Stripped("it was refused".to_owned());
    let summary = keep(&world.db, &consumer(), &at, &odd, 1, &stripped)
        .await
        .unwrap();
    at.advance(&summary);
    assert_eq!(world.kept().await[0].1, "dead");
    assert_eq!(world.key_state(SOURCE, "a").await, (1, 1));
}

#[tokio::test]
async fn a_database_that_can_only_be_read_is_no_fault_of_a_message() {
    let world = World::new().await;
    let at = position(&world.db).await;
    let name = world.url().rsplit('/').next().unwrap();
    let sql = format!("alter database {name} set default_transaction_read_only = on");
    world.query(&sql, &[]).await;
    let db = world.another_host();
    let one = numbered(0, "a", 1);
    let mut unit = db.unit();
    let opened = Receipt::open(&mut unit, &consumer(), &at, std::slice::from_ref(&one), 1).await;
    let failed = Fate::Failed("it failed".to_owned());
    let kept = keep(&db, &consumer(), &at, &one, 1, &failed).await;
    // Otherwise it would be parked, and kept without its payload, by whoever can write again.
    for error in [opened.unwrap_err(), kept.unwrap_err()] {
        assert!(!error.is_refusal(), "{error:?}");
    }
}

#[tokio::test]
async fn a_batch_costs_one_statement_before_and_none_after_where_nothing_is_numbered() {
    let world = World::new().await;
    let at = position(&world.db).await;
    let mut unit = world.db.unit();
    let batch = [plain(0, "a", 1, "x"), plain(1, "b", 2, "y")];
    let receipt = Receipt::open(&mut unit, &consumer(), &at, &batch, 1)
        .await
        .unwrap();
    let verdicts = vec![Verdict::Done; 2];
    // A unit that has failed refuses every statement: settling sends none.
    unit.query("select 1 / 0", &[]).await.unwrap_err();
    receipt.settle(&mut unit, &verdicts).await.unwrap();
    unit.rollback().await;
    assert_eq!(position(&world.db).await.next(), 0);
}

#[tokio::test]
async fn positions_of_topics_partitions_and_consumers_are_their_own() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[plain(0, "", 1, "x")], done)
        .await
        .unwrap();
    let mut other = partition();
    other.number = 1;
    for (consumer, partition) in [("rating", &other), ("search", &partition())] {
        let at = Position::load(&world.db, consumer, partition)
            .await
            .unwrap();
        assert_eq!(at.next(), 0, "{consumer} {TOPIC}");
    }
}

#[tokio::test]
async fn a_command_that_parks_and_a_batch_of_the_same_key_do_not_lock_each_other_out() {
    let world = World::new().await;
    let park = "select marquee.park('rating', $1, 'a', $2, null, 'v', 'not known')";
    world.query(park, &[&TOPIC, &event(1)]).await;
    let mut command = world.db.unit();
    command
        .query("select marquee.accept('rating', $1)", &[&event(2)])
        .await
        .unwrap();
    // The batch has the event that the command is about to park, and key a.
    let mut bus = JoinSet::new();
    let db = world.another_host();
    bus.spawn(async move {
        let mut at = position(&db).await;
        let batch = [plain(0, "a", 2, "v"), plain(1, "a", 3, "v")];
        consume(&db, &mut at, &batch, done).await.unwrap()[0]
    });
    world.someone_waits().await;
    command.query(park, &[&TOPIC, &event(2)]).await.unwrap();
    command.commit().await.unwrap();
    let summary = bus.join_next().await.unwrap().unwrap();
    assert_eq!((summary.duplicates, summary.parked), (1, 1));
    assert_eq!(world.key_state("", "a").await, (0, 3));
    world.check().await;
}

#[tokio::test]
async fn a_batch_that_waits_too_long_for_a_lock_is_told_to_try_again() {
    let world = World::new().await;
    let mut command = world.db.unit();
    command
        .query("select marquee.accept('rating', $1)", &[&event(1)])
        .await
        .unwrap();
    let at = position(&world.db).await;
    let mut unit = world.impatient_host().unit();
    let busy = Receipt::open(&mut unit, &consumer(), &at, &[plain(0, "a", 1, "x")], 1).await;
    let error = busy.unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error:?}");
    assert!(error.is_passing() && !error.is_conflict());
}

#[tokio::test]
async fn a_consumer_with_too_many_parked_messages_goes_on_and_says_so() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let one = [numbered(0, "a", 1)];
    consume(&world.db, &mut at, &one, retry_on(&["a1"]))
        .await
        .unwrap();
    world
        .query(
            "insert into marquee.parked (consumer, topic, partition, source, key, event_id, headers, value, state, reason, ordered)
             select consumer, topic, partition, 'x', 'full', gen_random_uuid(), '[]', '', 'dead', 'rejected', false
             from marquee.parked, generate_series(1, $1::int8)",
            &[&(CROWDED - 2)],
        )
        .await;
    let next = [numbered(1, "b", 1)];
    let summaries = consume(&world.db, &mut at, &next, retry_on(&["b1"]))
        .await
        .unwrap();
    assert!(!summaries[0].crowded);
    let next = [numbered(2, "c", 1), numbered(3, "d", 1)];
    let summaries = consume(&world.db, &mut at, &next, retry_on(&["c1"]))
        .await
        .unwrap();
    assert!(summaries[0].crowded);
    assert_eq!(world.effects().await, ["d1"]);
    assert_eq!(at.next(), 4);
}
