//! The relay between a real outbox and a bus that fails as told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use marquee_bus::{Error, Outgoing};
use marquee_delivery::{Verdict, lag, outbox::Relay};
use marquee_testkit::eventually;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, ScriptedBus, World, consume, position, publish_in};

/// A relay that runs until it is dropped or stopped.
struct Running {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    fn start(world: &World, bus: &Arc<ScriptedBus>) -> Self {
        Self::with_lease(world, bus, Duration::from_secs(15))
    }

    fn with_lease(world: &World, bus: &Arc<ScriptedBus>, ttl: Duration) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let bus: Arc<ScriptedBus> = Arc::clone(bus);
        let relay = Relay::with_lease(world.another_host(), bus, ttl);
        tasks.spawn(relay.run(stop.clone()));
        Self { tasks, stop }
    }

    /// In order: finish, hand back.
    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// As `kill -9` would: whatever it was doing is not finished, and its leases stay.
    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn outbox_is_empty(world: &World) {
    eventually(SOON, "the outbox did not become empty", async || {
        world.number("select count(*) from marquee.outbox").await == 0
    })
    .await;
}

fn away() -> Result<(), Error> {
    Err(Error::Unavailable("the broker is away".to_owned()))
}

/// Of each key the numbers in the order of their first appearance.
fn first_appearances(records: &[Outgoing]) -> BTreeMap<String, Vec<i64>> {
    let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for one in records {
        let seq = header(one, "marquee-seq").unwrap().parse().unwrap();
        let numbers = keys.entry(one.record.key.clone()).or_default();
        if !numbers.contains(&seq) {
            numbers.push(seq);
        }
    }
    keys
}

fn header(one: &Outgoing, name: &str) -> Option<String> {
    let found = one.record.headers.iter().find(|(key, _)| key == name)?;
    Some(String::from_utf8(found.1.to_vec()).unwrap())
}

#[tokio::test]
async fn a_row_is_published_with_its_identity_and_deleted_after_the_acknowledgement() {
    let world = World::new().await;
    world
        .query(
            "select marquee.publish('movies', 'a', '{\"traceparent\": \"00-1\"}', 'x')",
            &[],
        )
        .await;
    world.publish("", "unordered").await;
    let bus = ScriptedBus::working();
    let relay = Running::start(&world, &bus);
    outbox_is_empty(&world).await;
    relay.stop().await;
    let records = bus.records();
    assert_eq!(records.len(), 2);
    let ordered = records.iter().find(|one| one.record.key == "a").unwrap();
    let names: Vec<&str> = ordered
        .record
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "marquee-event-id",
            "marquee-seq",
            "marquee-source",
            "traceparent"
        ]
    );
    assert_eq!(header(ordered, "marquee-seq").unwrap(), "1");
    assert_eq!(
        header(ordered, "marquee-source").unwrap(),
        world.source().await
    );
    let unordered = records
        .iter()
        .find(|one| one.record.key.is_empty())
        .unwrap();
    assert_eq!(header(unordered, "marquee-seq"), None);
}

#[tokio::test]
async fn a_row_that_commits_late_with_a_lower_id_is_not_passed_over() {
    let world = World::new().await;
    let bus = ScriptedBus::working();
    let relay = Running::start(&world, &bus);
    let mut late = world.db.unit();
    publish_in(&mut late, "late", "late").await;
    // Each of the sixteen shards moves on past the late one's id.
    for number in 0..64 {
        world.publish(&format!("k{number}"), "x").await;
    }
    outbox_is_empty(&world).await;
    assert!(!bus.values().contains(&"late".to_owned()));
    late.commit().await.unwrap();
    eventually(SOON, "the late row was lost", async || {
        bus.values().contains(&"late".to_owned())
    })
    .await;
    outbox_is_empty(&world).await;
    relay.stop().await;
}

#[tokio::test]
async fn two_relays_never_publish_a_key_out_of_order() {
    let world = World::new().await;
    // Leases so short that shards change hands while rows are under way.
    let ttl = Duration::from_millis(600);
    let bus = ScriptedBus::working();
    let first = Running::with_lease(&world, &bus, ttl);
    let second = Running::with_lease(&world, &bus, ttl);
    let mut publishers = JoinSet::new();
    for publisher in 0..6_u32 {
        let db = world.db.clone();
        publishers.spawn(async move {
            for turn in 0..150_u32 {
                let mut unit = db.unit();
                publish_in(&mut unit, &format!("k{}", (publisher + turn) % 9), "x").await;
                unit.commit().await.unwrap();
            }
        });
    }
    publishers.join_next().await;
    first.kill().await;
    let third = Running::with_lease(&world, &bus, ttl);
    publishers.join_all().await;
    outbox_is_empty(&world).await;
    second.stop().await;
    third.stop().await;
    let mut total = 0;
    for (key, numbers) in first_appearances(&bus.records()) {
        let dense: Vec<i64> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, dense, "key {key}");
        total += numbers.len();
    }
    assert_eq!(total, 900);
}

#[tokio::test]
async fn what_a_relay_published_before_it_died_is_published_again_and_skipped_by_number() {
    let world = World::new().await;
    for number in 1..=3 {
        world.publish("a", &format!("a{number}")).await;
    }
    // The bus has the rows; the relay dies before it can delete them.
    let bus = ScriptedBus::working();
    let mut lock = world.db.unit();
    lock.query("select 1 from marquee.outbox for update", &[])
        .await
        .unwrap();
    let ttl = Duration::from_millis(900);
    let first = Running::with_lease(&world, &bus, ttl);
    world.someone_waits().await;
    assert_eq!(bus.values(), ["a1", "a2", "a3"]);
    first.kill().await;
    world.nobody_waits().await;
    lock.rollback().await;
    assert_eq!(world.number("select count(*) from marquee.outbox").await, 3);
    let second = Running::with_lease(&world, &bus, ttl);
    eventually(SOON, "nobody took over", async || bus.values().len() >= 6).await;
    second.stop().await;

    let mut at = position(&world.db).await;
    let summaries = consume(&world.db, &mut at, &bus.as_read(), |_| Verdict::Done)
        .await
        .unwrap();
    assert_eq!(world.effects().await, ["a1", "a2", "a3"]);
    assert!(summaries[0].duplicates >= 3);
    assert_eq!(summaries[0].gaps, 0);
}

#[tokio::test]
async fn a_failed_publish_stops_the_shard_is_visible_and_is_resumed_in_order() {
    let world = World::new().await;
    for number in 1..=6 {
        world.publish("a", &format!("a{number}")).await;
    }
    let broken = Arc::new(AtomicBool::new(true));
    let until = Arc::clone(&broken);
    // While broken, the third message of a call fails, and what follows it is taken all the same, as a producer may.
    let bus = ScriptedBus::new(move |_, records| {
        let mut results = vec![Ok(()); records.len()];
        if until.load(Ordering::SeqCst)
            && let Some(third) = results.get_mut(2)
        {
            *third = away();
        }
        results
    });
    let relay = Running::start(&world, &bus);
    eventually(SOON, "the failure is not visible", async || {
        let error = lag::outbox(&world.db).await.unwrap().error;
        error.is_some_and(|error| error.contains("the broker is away"))
    })
    .await;
    let noted = world
        .query(
            "select attempts > 0, next_attempt_at is not null from marquee.shards where last_error is not null",
            &[],
        )
        .await;
    assert!(noted[0].get::<_, bool>(0) && noted[0].get::<_, bool>(1));
    broken.store(false, Ordering::SeqCst);
    outbox_is_empty(&world).await;
    eventually(SOON, "the note stayed", async || {
        lag::outbox(&world.db).await.unwrap().error.is_none()
    })
    .await;
    relay.stop().await;
    // On the bus, 4 to 6 came before 3 once, which the consumer sees as a gap and closes by itself.
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &bus.as_read(), |_| Verdict::Done)
        .await
        .unwrap();
    assert_eq!(world.key_state(&world.source().await, "a").await.0, 6);
    let rows = world.number("select count(*) from marquee.outbox").await;
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn one_shard_s_failure_does_not_stop_the_others() {
    let world = World::new().await;
    world.publish("bad", "bad").await;
    let shard = world
        .number("select shard::bigint from marquee.outbox")
        .await;
    let bus = ScriptedBus::new(|_, records| {
        let judge = |one: &Outgoing| {
            if one.record.key == "bad" {
                away()
            } else {
                Ok(())
            }
        };
        records.iter().map(judge).collect()
    });
    let relay = Running::start(&world, &bus);
    for number in 0..40 {
        world.publish(&format!("k{number}"), "x").await;
    }
    let others = format!("select count(*) from marquee.outbox where shard <> {shard}");
    eventually(SOON, "other shards wait", async || {
        world.number(&others).await == 0
    })
    .await;
    assert!(!bus.values().contains(&"bad".to_owned()));
    relay.stop().await;
}

#[tokio::test]
async fn a_message_that_the_bus_refuses_holds_its_key_and_not_its_shard() {
    let world = World::new().await;
    let neighbour = {
        // A key of the same shard.
        world.publish("refused", "r1").await;
        let shard = "select shard::bigint from marquee.outbox order by id desc limit 1";
        let wanted = world.number(shard).await;
        let mut number = 0;
        loop {
            let key = format!("n{number}");
            world.publish(&key, "n1").await;
            if world.number(shard).await == wanted {
                break key;
            }
            number += 1;
        }
    };
    world.publish("refused", "r2").await;
    world.publish(&neighbour, "n2").await;
    let bus = ScriptedBus::new(|_, records| {
        let judge = |one: &Outgoing| match &one.record.value[..] {
            b"r1" => Err(Error::Refused("too large".to_owned())),
            _ => Ok(()),
        };
        records.iter().map(judge).collect()
    });
    let relay = Running::start(&world, &bus);
    eventually(SOON, "the neighbour waits", async || {
        world.number("select count(*) from marquee.outbox").await == 2
    })
    .await;
    eventually(SOON, "the refusal is not visible", async || {
        let error = lag::outbox(&world.db).await.unwrap().error;
        error.is_some_and(|error| error.contains("too large"))
    })
    .await;
    relay.stop().await;
    let left = world
        .query("select key from marquee.outbox order by id", &[])
        .await;
    assert!(left.iter().all(|row| row.get::<_, &str>(0) == "refused"));
}

#[tokio::test]
async fn a_poke_is_answered_before_the_next_poll_and_stopping_hands_the_leases_back() {
    let world = World::new().await;
    let bus = ScriptedBus::working();
    let stop = CancellationToken::new();
    let relay = Relay::new(world.another_host(), bus.clone());
    let poke = relay.poke();
    let mut tasks = JoinSet::new();
    tasks.spawn(relay.run(stop.clone()));
    eventually(SOON, "no shard was claimed", async || {
        world
            .number("select count(*) from marquee.shards where lease_until > now()")
            .await
            == 16
    })
    .await;
    world.publish("a", "x").await;
    poke.poke();
    outbox_is_empty(&world).await;
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    let left = "select count(*) from marquee.shards where owner is not null or lease_until > now()";
    assert_eq!(world.number(left).await, 0);
    assert_eq!(
        world
            .number("select count(*) from marquee.relays where alive_until > now()")
            .await,
        0
    );
    assert_eq!(bus.calls(), 1);
}

#[tokio::test]
async fn an_outbox_larger_than_a_run_is_moved_run_by_run_within_its_bytes() {
    let world = World::new().await;
    // 20 MiB in the values, then 4,800 small rows.
    world
        .query(
            "select marquee.publish('movies', 'big' || i % 5, null, convert_to(repeat('x', 1000000), 'UTF8')) from generate_series(1, 20) as i",
            &[],
        )
        .await;
    world
        .query(
            "select marquee.publish('movies', 'k' || i % 50, null, 'x') from generate_series(1, 4800) as i",
            &[],
        )
        .await;
    let bus = ScriptedBus::new(|_, records| {
        let bytes: usize = records.iter().map(|one| one.record.value.len()).sum();
        assert!(
            records.len() <= 2_000 && bytes <= 9 * 1024 * 1024,
            "{bytes}"
        );
        vec![Ok(()); records.len()]
    });
    let relay = Running::start(&world, &bus);
    outbox_is_empty(&world).await;
    relay.stop().await;
    assert_eq!(bus.records().len(), 4820);
    for (key, numbers) in first_appearances(&bus.records()) {
        let dense: Vec<i64> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, dense, "key {key}");
    }
}

#[tokio::test]
async fn what_was_read_ahead_is_not_published_behind_a_failure() {
    let world = World::new().await;
    world
        .query(
            "select marquee.publish('movies', 'a', null, 'x') from generate_series(1, 5000)",
            &[],
        )
        .await;
    // The bus takes the first half of the first run, and is well again when the next comes.
    let bus = ScriptedBus::new(|call, records| {
        let taken = if call == 0 {
            records.len() / 2
        } else {
            records.len()
        };
        (0..records.len())
            .map(|place| if place < taken { Ok(()) } else { away() })
            .collect()
    });
    let relay = Running::start(&world, &bus);
    outbox_is_empty(&world).await;
    relay.stop().await;
    assert_eq!(bus.records().len(), 5000);
    let dense: Vec<i64> = (1..=5000).collect();
    assert!(
        first_appearances(&bus.records())["a"] == dense,
        "what came behind the failure overtook it"
    );
}
