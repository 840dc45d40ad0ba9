//! Numbers mean something only together with who gave them: databases that are restored, copied, of one name, or of
//! the version before.

use std::{process::Command, sync::Arc};

use marquee_bus::Incoming;
use marquee_delivery::{Verdict, consume::Position, messages, outbox::Relay};
use marquee_testkit::eventually;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, ScriptedBus, World, claim, consume, deliver, position};

/// Relay all that the outbox has, as a host of its own.
async fn relay(world: &World, bus: &Arc<ScriptedBus>) {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let bus: Arc<ScriptedBus> = Arc::clone(bus);
    tasks.spawn(Relay::new(world.another_host(), bus).run(stop.clone()));
    eventually(SOON, "the outbox did not become empty", async || {
        world.number("select count(*) from marquee.outbox").await == 0
    })
    .await;
    stop.cancel();
    tasks.join_all().await;
}

/// A consumer in a database of its own, that applies all.
struct Reader {
    world: World,
    position: Position,
}

impl Reader {
    async fn new() -> Self {
        let world = World::new().await;
        let position = position(&world.db).await;
        Self { world, position }
    }

    /// Read the log as far as it goes.
    async fn read(&mut self, log: &[Incoming]) {
        consume(&self.world.db, &mut self.position, log, |_| Verdict::Done)
            .await
            .unwrap();
    }

    async fn has(&self, expected: &[&str]) {
        assert_eq!(self.world.effects().await, expected);
        assert!(self.world.kept().await.is_empty(), "nothing is parked");
    }
}

/// One of PostgreSQL's programs, on a database.
fn run(program: &str, url: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .args(["--dbname", url])
        .output()
        .unwrap_or_else(|error| panic!("{program} comes with PostgreSQL's client: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

#[tokio::test]
async fn what_is_published_after_a_restore_is_applied() {
    let world = World::new().await;
    let mut reader = Reader::new().await;
    let bus = ScriptedBus::working();
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    let dump = dump.to_str().unwrap();

    world.publish("a", "a1").await;
    relay(&world, &bus).await;
    // This one is in the backup, and is relayed after it was made.
    world.publish("a", "a2").await;
    run("pg_dump", world.url(), &["-Fc", "-f", dump]);
    world.publish("a", "lost").await;
    world.publish("b", "b1").await;
    relay(&world, &bus).await;

    world.make_anew().await;
    run("pg_restore", world.url(), &[dump]);
    world.publish("a", "a3").await;
    world.publish("a", "a4").await;
    world.publish("b", "b2").await;
    relay(&world, &bus).await;

    reader.read(&bus.as_read()).await;
    let mut effects = reader.world.effects().await;
    effects.retain(|what| what != "b1" && what != "b2");
    assert_eq!(effects, ["a1", "a2", "lost", "a3", "a4"]);
    assert_eq!(reader.world.effects().await.len(), 7);
    assert!(reader.world.kept().await.is_empty(), "nothing is parked");
}

#[tokio::test]
async fn a_dump_put_back_into_the_same_database_is_noticed() {
    let world = World::new().await;
    let mut reader = Reader::new().await;
    let bus = ScriptedBus::working();
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    let dump = dump.to_str().unwrap();
    world.publish("a", "a1").await;
    run("pg_dump", world.url(), &["-Fc", "-f", dump]);
    world.publish("a", "lost").await;
    relay(&world, &bus).await;
    run(
        "pg_restore",
        world.url(),
        &["--clean", "--single-transaction", dump],
    );
    world.publish("a", "a2").await;
    relay(&world, &bus).await;
    reader.read(&bus.as_read()).await;
    reader.has(&["a1", "lost", "a2"]).await;
}

#[tokio::test]
async fn what_a_promoted_standby_publishes_is_applied_though_it_had_not_all() {
    let mut primary = marquee_testkit::postgres().await;
    primary.create_database("metadata").await;
    let world = World::at(&primary.url("metadata"));
    world.make_tables().await;
    let mut reader = Reader::new().await;
    let bus = ScriptedBus::working();
    world.publish("a", "a1").await;
    relay(&world, &bus).await;
    let standby = primary.standby().await;
    world.publish("a", "lost").await;
    relay(&world, &bus).await;
    primary.stop_immediately().await;

    let world = World::at(&standby.url("metadata"));
    world.query("select pg_promote()", &[]).await;
    for what in ["a2", "a3"] {
        world.publish("a", what).await;
    }
    relay(&world, &bus).await;
    reader.read(&bus.as_read()).await;
    reader.has(&["a1", "lost", "a2", "a3"]).await;
}

#[tokio::test]
async fn two_databases_of_one_name_feed_one_consumer() {
    let (first, second) = (World::new().await, World::new().await);
    let mut reader = Reader::new().await;
    let bus = ScriptedBus::working();
    first.publish("a", "first").await;
    second.publish("a", "second").await;
    relay(&first, &bus).await;
    relay(&second, &bus).await;
    reader.read(&bus.as_read()).await;
    reader.has(&["first", "second"]).await;
}

#[tokio::test]
async fn what_is_numbered_again_by_a_server_that_was_put_back_unnoticed_is_kept_and_said() {
    let world = World::new().await;
    let mut reader = Reader::new().await;
    let bus = ScriptedBus::working();
    for what in ["a1", "a2", "a3"] {
        world.publish("a", what).await;
    }
    relay(&world, &bus).await;
    reader.read(&bus.as_read()).await;
    // As files of a server that are put back: the same timeline, the same database, the same source.
    world
        .query("update marquee.keys set last_seq = 1 where key = 'a'", &[])
        .await;
    for what in ["b2", "b3", "b4"] {
        world.publish("a", what).await;
    }
    relay(&world, &bus).await;
    let errors = marquee_testkit::errors();
    reader.read(&bus.as_read()).await;
    assert_eq!(errors.with("an event has a number that was another's"), 2);
    assert_eq!(reader.world.effects().await, ["a1", "a2", "a3", "b4"]);
    let kept = reader.world.kept().await;
    let reasons: Vec<_> = kept.iter().map(|it| (&*it.0, &*it.1, &*it.2)).collect();
    assert_eq!(reasons, [("b2", "dead", "clash"), ("b3", "dead", "clash")]);
    // A relay that repeats itself is none of that.
    reader.position = position(&reader.world.db).await;
    let log = bus.as_read();
    let mut again = log[2].clone();
    again.offset = 6;
    reader.read(&[again]).await;
    assert_eq!(reader.world.kept().await.len(), 2);
    reader.world.check().await;
    // A person may apply them all the same.
    let all = messages::Filter {
        limit: 10,
        ..messages::Filter::default()
    };
    let done = messages::each(
        &reader.world.db,
        &all,
        messages::Act::Retry,
        "ada",
        &[],
        false,
    )
    .await;
    assert_eq!(done.unwrap().done, 2);
    for claimed in claim(&reader.world.db).await {
        deliver(&reader.world.db, &claimed, Verdict::Done)
            .await
            .unwrap();
    }
    assert_eq!(reader.world.effects().await.len(), 6);
}

#[tokio::test]
async fn what_was_published_in_one_instant_and_comes_again_is_no_clash() {
    let world = World::new().await;
    let mut reader = Reader::new().await;
    let bus = ScriptedBus::working();
    // Twenty numbers of one key within few milliseconds, which is as exact as their event ids are.
    let publish = "select count(marquee.publish('movies', 'a', '{}', convert_to('a' || n, 'UTF8')))
        from generate_series(1, 20) as n";
    world.query(publish, &[]).await;
    relay(&world, &bus).await;
    let log = bus.as_read();
    reader.read(&log).await;
    // The relay dies before it deletes them: they come once more.
    let again: Vec<Incoming> = log
        .iter()
        .cloned()
        .map(|mut record| {
            record.offset += 20;
            record
        })
        .collect();
    reader.read(&again).await;
    assert!(reader.world.kept().await.is_empty(), "all are duplicates");
    assert_eq!(reader.world.effects().await.len(), 20);
}
