//! What a person does with a consumer: a pause that holds everywhere, and a replay that forgets all that it has to.

use std::sync::Arc;

use chrono::DateTime;
use marquee_bus::{Bus as _, Outgoing, Record};
use marquee_delivery::{
    Error, Message, Verdict,
    audit::audit,
    consumers::{ConsumerError, ReplayFrom, Replayed, pause, replay, resume, standing},
};

use crate::support::{
    ScriptedBus, TOPIC, World, claim, consume, numbered, partition, plain, position,
};

fn done(_: &Message) -> Verdict {
    Verdict::Done
}

/// A bus whose log ends there.
async fn bus(end: usize) -> Arc<ScriptedBus> {
    let bus = ScriptedBus::working();
    let record = Outgoing {
        topic: TOPIC.to_owned(),
        record: Record {
            key: String::new(),
            value: "x".into(),
            headers: Vec::new(),
        },
    };
    bus.publish(vec![record; end]).await;
    bus
}

async fn actions(world: &World) -> Vec<(String, String)> {
    let sql = "select actor, action from marquee.actions order by id";
    let rows = world.query(sql, &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_pause_holds_what_is_fresh_and_what_is_parked_until_it_ends() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let later = |_: &Message| Verdict::Retry("not yet".to_owned());
    consume(&world.db, &mut at, &[plain(0, "a", 1, "parked")], later)
        .await
        .unwrap();
    world.make_due().await;
    pause(&world.db, "rating", TOPIC, "ada").await.unwrap();
    pause(&world.db, "rating", TOPIC, "bob").await.unwrap();

    assert!(claim(&world.another_host()).await.is_empty());
    let fresh = [plain(1, "b", 2, "fresh")];
    let refused = consume(&world.db, &mut at, &fresh, done).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    let [standing] = &standing(&world.db, None).await.unwrap()[..] else {
        panic!("one consumer");
    };
    assert_eq!(standing.paused.as_ref().unwrap().by, "ada");
    assert_eq!((standing.blocked_keys, standing.lag), (1, None));

    resume(&world.db, "rating", TOPIC, "bob").await.unwrap();
    resume(&world.db, "rating", TOPIC, "bob").await.unwrap();
    consume(&world.db, &mut at, &fresh, done).await.unwrap();
    assert_eq!(claim(&world.db).await.len(), 1);
    assert_eq!(world.effects().await, ["fresh"]);
    let said = [("ada", "pause"), ("bob", "resume")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(actions(&world).await, said);
}

#[tokio::test]
async fn a_pause_of_another_topic_or_consumer_is_none_of_this_one() {
    let world = World::new().await;
    pause(&world.db, "rating", "others", "ada").await.unwrap();
    pause(&world.db, "others", TOPIC, "ada").await.unwrap();
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[plain(0, "a", 1, "x")], done)
        .await
        .unwrap();
    assert_eq!(world.effects().await, ["x"]);
    let all = standing(&world.db, None).await.unwrap();
    assert_eq!(all.len(), 3, "a pause of what has not begun is shown too");
}

/// Numbered and not, of which some are parked.
async fn consumed(world: &World) -> Vec<marquee_bus::Incoming> {
    let batch = vec![
        numbered(0, "a", 1),
        plain(1, "b", 1, "b1"),
        numbered(2, "a", 2),
        plain(3, "c", 2, "bad"),
        plain(4, "c", 3, "behind"),
        numbered(5, "a", 3),
    ];
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &batch, |message| {
        match &message.value[..] {
            b"bad" => Verdict::Reject("never".to_owned()),
            _ => Verdict::Done,
        }
    })
    .await
    .unwrap();
    batch
}

#[tokio::test]
async fn a_replay_delivers_everything_from_there_on_once_more_and_adds_up() {
    let world = World::new().await;
    let batch = consumed(&world).await;
    let bus = bus(6).await;
    let mut zombie = position(&world.db).await;
    let planned = replay(
        &world.db,
        &*bus,
        ("rating", TOPIC),
        ReplayFrom::Earliest,
        "ada",
        true,
    )
    .await
    .unwrap();
    let whole = Replayed {
        partition: 0,
        position: 6,
        from: 0,
        deleted: 2,
    };
    assert_eq!(planned, [whole]);
    assert_eq!(
        position(&world.db).await,
        zombie,
        "a dry run changes nothing"
    );
    assert_eq!(world.kept().await.len(), 2);

    let replayed = replay(
        &world.db,
        &*bus,
        ("rating", TOPIC),
        ReplayFrom::Earliest,
        "ada",
        false,
    )
    .await
    .unwrap();
    assert_eq!(replayed, planned);
    // A batch that was under way before.
    let fenced = consume(&world.db, &mut zombie, &[numbered(6, "a", 4)], done).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    world.query("truncate effects", &[]).await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    // Once more, and no more than that.
    let again = [
        plain(6, "b", 1, "b1"),
        numbered(7, "a", 3),
        numbered(8, "a", 4),
    ];
    consume(&world.db, &mut at, &again, done).await.unwrap();
    assert_eq!(
        world.effects().await,
        ["a1", "b1", "a2", "bad", "behind", "a3", "a4"]
    );
    world.check().await;
    assert_eq!(audit(&world.db, None).await.unwrap().findings, []);
    assert_eq!(actions(&world).await.len(), 1);
}

#[tokio::test]
async fn a_replay_from_the_middle_takes_keys_with_the_numbers_that_they_have_there() {
    let world = World::new().await;
    let batch = consumed(&world).await;
    let bus = bus(6).await;
    // What is parked from before would stand in the way.
    let held = replay(
        &world.db,
        &*bus,
        ("rating", TOPIC),
        ReplayFrom::Offset(4),
        "ada",
        false,
    )
    .await;
    assert!(matches!(held, Err(ConsumerError::Held(1))), "{held:?}");
    assert_eq!(position(&world.db).await.next(), 6);

    let since = DateTime::from_timestamp_millis(2).unwrap();
    let replayed = replay(
        &world.db,
        &*bus,
        ("rating", TOPIC),
        ReplayFrom::Time(since),
        "ada",
        false,
    )
    .await
    .unwrap();
    assert_eq!((replayed[0].from, replayed[0].deleted), (2, 2));
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &batch[2..], done)
        .await
        .unwrap();
    assert_eq!(
        world.effects().await,
        ["a1", "b1", "a2", "a3", "a2", "bad", "behind", "a3"]
    );
    assert!(world.kept().await.is_empty());
    assert_eq!(audit(&world.db, None).await.unwrap().findings, []);
}

#[tokio::test]
async fn a_replay_sets_nothing_forward_and_nobody_else_back() {
    let world = World::new().await;
    consumed(&world).await;
    let bus = bus(6).await;
    let unknown = replay(
        &world.db,
        &*bus,
        ("ratings", TOPIC),
        ReplayFrom::Earliest,
        "ada",
        false,
    )
    .await;
    assert!(
        matches!(unknown, Err(ConsumerError::Unknown { .. })),
        "{unknown:?}"
    );
    let replayed = replay(
        &world.db,
        &*bus,
        ("rating", TOPIC),
        ReplayFrom::Offset(99),
        "ada",
        false,
    )
    .await
    .unwrap();
    assert_eq!((replayed[0].from, replayed[0].deleted), (6, 0));
    // What is parked there stays, and so does what is known of its key.
    assert_eq!(world.kept().await.len(), 2);
    world.check().await;
    let mut at = position(&world.db).await;
    consume(
        &world.db,
        &mut at,
        &[numbered(6, "a", 4), plain(7, "c", 9, "more")],
        done,
    )
    .await
    .unwrap();
    assert_eq!(world.kept().await.len(), 3, "its key is still held");
    assert_eq!(world.effects().await.last().unwrap(), "a4");
    assert_eq!(audit(&world.db, None).await.unwrap().findings, []);
    let log = bus.log(&partition()).await.unwrap();
    assert_eq!(log.end, 6);
}
