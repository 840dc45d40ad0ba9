//! Migrations beside sessions that keep what they change.

use std::time::{Duration, Instant};

use marquee_database::Migrations;
use marquee_testkit::eventually;

use crate::support::{SOON, World};

#[tokio::test]
async fn a_migration_waits_for_a_dump_and_nobody_waits_behind_it() {
    let world = World::new().await;
    world
        .query("select marquee.publish('movies', 'k', null, 'x')", &[])
        .await;
    let mut dump = world.db.connection().await.unwrap();
    dump.batch("begin; lock table marquee.outbox in access share mode")
        .await
        .unwrap();
    let sql = "alter table marquee.outbox add column more integer";
    let migrations = Migrations::built_in("more", &[("0001_more.sql", sql)]).unwrap();
    let (applied, ()) = tokio::join!(migrations.apply(&world.db), async {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            let asked_at = Instant::now();
            world
                .query("select marquee.publish('movies', 'k', null, 'x')", &[])
                .await;
            let waited = asked_at.elapsed();
            assert!(waited < Duration::from_secs(2), "it stood for {waited:?}");
        }
        dump.batch("commit").await.unwrap();
    });
    assert_eq!(applied.unwrap(), ["0001_more"]);
    assert_eq!(
        world.number("select count(more) from marquee.outbox").await,
        0
    );
}

#[tokio::test]
async fn a_migration_that_fails_leaves_no_lock() {
    let world = World::new().await;
    let migrations = Migrations::built_in("bad", &[("0001_bad.sql", "select 1 / 0")]).unwrap();
    assert!(migrations.apply(&world.db).await.is_err());
    eventually(SOON, "the lock is given back", async || {
        let locks = "select count(*) from pg_locks where locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())";
        world.number(locks).await == 0
    })
    .await;
}
