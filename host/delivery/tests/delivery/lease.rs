//! Leases of shards: shared fairly, taken over when they run out, and only then.

use std::{sync::Arc, time::Duration};

use marquee_delivery::outbox::Relay;
use marquee_testkit::eventually;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, ScriptedBus, World};

fn run(
    world: &World,
    bus: &Arc<ScriptedBus>,
    ttl: Duration,
    tasks: &mut JoinSet<()>,
) -> CancellationToken {
    let stop = CancellationToken::new();
    let bus: Arc<ScriptedBus> = Arc::clone(bus);
    let relay = Relay::with_lease(world.another_host(), bus, ttl);
    tasks.spawn(relay.run(stop.clone()));
    stop
}

/// How many shards each living owner holds, smallest first.
async fn holdings(world: &World) -> Vec<i64> {
    let rows = world
        .query(
            "select count(*) from marquee.shards where lease_until > now() group by owner order by 1",
            &[],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn relays_share_the_shards_evenly_and_the_last_one_has_all() {
    let world = World::new().await;
    let bus = ScriptedBus::working();
    let ttl = Duration::from_secs(3);
    let mut tasks = JoinSet::new();
    let first = run(&world, &bus, ttl, &mut tasks);
    eventually(SOON, "one relay has all", async || {
        holdings(&world).await == [16]
    })
    .await;
    let second = run(&world, &bus, ttl, &mut tasks);
    eventually(SOON, "two relays have half each", async || {
        holdings(&world).await == [8, 8]
    })
    .await;
    let third = run(&world, &bus, ttl, &mut tasks);
    eventually(SOON, "three relays have a third each", async || {
        holdings(&world).await == [5, 5, 6]
    })
    .await;
    third.cancel();
    first.cancel();
    eventually(SOON, "the one that is left has all again", async || {
        holdings(&world).await == [16]
    })
    .await;
    second.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn a_lease_of_a_relay_that_was_killed_is_taken_over_under_a_new_epoch_once_it_ran_out() {
    let world = World::new().await;
    let bus = ScriptedBus::working();
    let ttl = Duration::from_secs(2);
    let mut killed = JoinSet::new();
    run(&world, &bus, ttl, &mut killed);
    eventually(SOON, "one relay has all", async || {
        holdings(&world).await == [16]
    })
    .await;
    killed.shutdown().await;
    let before = world
        .number("select sum(epoch)::bigint from marquee.shards")
        .await;
    let mut tasks = JoinSet::new();
    let stop = run(&world, &bus, ttl, &mut tasks);
    world.publish("a", "x").await;
    eventually(SOON, "nobody took over", async || bus.values() == ["x"]).await;
    let after = world
        .number("select sum(epoch)::bigint from marquee.shards")
        .await;
    assert!(after > before, "{before} {after}");
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn what_a_relay_gives_back_is_free_to_one_of_the_release_before() {
    let world = World::new().await;
    let bus = ScriptedBus::working();
    let mut tasks = JoinSet::new();
    let stop = run(&world, &bus, Duration::from_secs(2), &mut tasks);
    eventually(SOON, "one relay has all", async || {
        holdings(&world).await == [16]
    })
    .await;
    world
        .query(
            "insert into marquee.relays (owner, alive_until, version) values (gen_random_uuid(), 'infinity', 2)",
            &[],
        )
        .await;
    // As its claim has it.
    let free = "select count(*) from marquee.shards where lease_until <= now() and owner is null";
    eventually(SOON, "half is free", async || world.number(free).await == 8).await;
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_fenced_deletes_nothing() {
    let world = World::new().await;
    let ttl = Duration::from_secs(30);
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let receive = std::sync::Mutex::new(receive);
    // The first publish hangs until the shards are another's.
    let bus = ScriptedBus::new(move |call, records| {
        if call == 0 {
            let released = tokio::task::block_in_place(|| receive.lock().unwrap().recv());
            assert!(released.is_err(), "released by the sender's end");
        }
        vec![Ok(()); records.len()]
    });
    world.publish("a", "x").await;
    let mut tasks = JoinSet::new();
    let stop = run(&world, &bus, ttl, &mut tasks);
    eventually(SOON, "nothing was published", async || bus.calls() == 1).await;
    world
        .query(
            "insert into marquee.relays (owner, alive_until, version) values (gen_random_uuid(), 'infinity', 2)",
            &[],
        )
        .await;
    world
        .query(
            "update marquee.shards set owner = (select owner from marquee.relays where alive_until = 'infinity'), epoch = epoch + 1, lease_until = now() + interval '1 hour'",
            &[],
        )
        .await;
    drop(send);
    stop.cancel();
    tasks.join_all().await;
    assert_eq!(bus.values(), ["x"]);
    assert_eq!(
        world.number("select count(*) from marquee.outbox").await,
        1,
        "the row is the new owner's to publish and delete"
    );
}
