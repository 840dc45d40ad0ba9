//! What becomes of a connection whose user has gone, on a real PostgreSQL.

use std::time::Duration;

use marquee_testkit::eventually;
use tokio::task::JoinSet;

use super::{
    client::Client,
    tests::{Bench, INSERT, ONE, bench, text},
    transactions_tests::{another, done, number, on},
    unit::UnitOfWork,
};

const BACKEND: &str = "select pg_backend_pid()::bigint";
const SLOW: &str = "select pg_sleep(30) as slow";

/// Send a statement that does not end by itself, and wait until the server is at it.
/// Dropped, the call hangs up.
async fn begun(bench: &Bench, client: Client) -> JoinSet<()> {
    let mut call = JoinSet::new();
    call.spawn(async move {
        let _ = client.query(ONE, SLOW, Vec::new()).await;
    });
    eventually(Duration::from_secs(10), "it is begun", async || {
        under_way(bench).await == 1
    })
    .await;
    call
}

async fn under_way(bench: &Bench) -> i64 {
    let mut connection = bench.database.connection().await.expect("a connection");
    let sql = "select count(*) from pg_stat_activity
        where datname = current_database() and state = 'active' and query = $1";
    connection.query(sql, &[&SLOW]).await.expect("a count")[0].get(0)
}

#[tokio::test]
async fn a_call_that_hangs_up_ends_its_statement_and_leaves_its_connection_to_the_next() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| config.pool_size = 1);
    let before = number(&client, BACKEND).await;
    for _ in 0..3 {
        // By itself, in a transaction of the guest's own, and in a unit of work.
        drop(begun(&bench, another(&client)).await);
        assert_eq!(number(&client, BACKEND).await, before);

        let own = another(&client);
        done(&own, ONE, "begin").await;
        own.execute(ONE, INSERT, text("gone")).await.expect("kept");
        drop(begun(&bench, own).await);
        assert_eq!(number(&client, BACKEND).await, before);

        let inside = Client {
            unit: Some(UnitOfWork::new(database.unit()).into()),
            ..another(&client)
        };
        inside
            .execute(ONE, INSERT, text("gone"))
            .await
            .expect("kept");
        drop(begun(&bench, inside).await);
        assert_eq!(number(&client, BACKEND).await, before);
    }
    assert_eq!(under_way(&bench).await, 0);
    assert_eq!(bench.count("notes").await, 0);
    assert_eq!(bench.left_open().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_statement_that_was_given_up_is_not_the_end_of_the_next() {
    let bench = bench().await;
    for after_us in 0..10 {
        // Of one that has none to cancel yet each is cancelled at once.
        let (client, _) = on(&bench, |config| config.pool_size = 1);
        for more_us in 0..10 {
            let after = Duration::from_micros(30 * (after_us + 10 * more_us));
            let given_up = client.query(ONE, "select pg_sleep(0.001)", Vec::new());
            let _ = tokio::time::timeout(after, given_up).await;
            number(&client, "select 1::bigint").await;
        }
    }
}

/// Each request to cancel is a process more for the server to begin: who gives up all that it asks for, over and over, would
/// take from others what the server has of CPUs.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_statements_that_are_given_up_not_all_are_cancelled() {
    let bench = bench().await;
    let (client, _) = on(&bench, |config| config.pool_size = MANY);
    let mut gate = bench.database.connection().await.expect("a connection");
    gate.batch("begin; select pg_advisory_xact_lock(7)")
        .await
        .expect("closed");
    let mut calls = JoinSet::new();
    for _ in 0..MANY {
        let client = another(&client);
        calls.spawn(async move { client.execute(ONE, THROUGH, Vec::new()).await });
    }
    let at_work = async |wanted: i64| {
        let mut asks = bench.database.connection().await.expect("a connection");
        let sql = "select count(*) from pg_stat_activity
            where datname = current_database() and state = 'active' and query = $1";
        let rows = asks.query(sql, &[&THROUGH]).await.expect("a count");
        rows[0].get::<_, i64>(0) == wanted
    };
    let many = i64::try_from(MANY).expect("few");
    let soon = Duration::from_secs(20);
    eventually(soon, "all are begun", async || at_work(many).await).await;
    gate.batch("commit").await.expect("open");
    drop(calls);
    eventually(soon, "none is left", async || at_work(0).await).await;
    let done = bench.count("notes").await;
    assert!((4..many - 4).contains(&done), "{done} came to their end");
}

const MANY: usize = 28;
const THROUGH: &str = "with passed as materialized (select pg_advisory_xact_lock_shared(7)),
    waited as materialized (select pg_sleep(0.15) from passed)
    insert into notes select gen_random_uuid()::text from waited";

/// To open one costs the server more than most statements.
#[tokio::test]
async fn a_connection_that_was_given_up_while_it_was_opened_serves_the_next() {
    let bench = bench().await;
    let (proxy, url) = bench.proxied().await;
    let (_, database) = on(&bench, |config| {
        config.url = url;
        config.pool_size = 1;
    });
    proxy.delay(Duration::from_secs(1));
    for _ in 0..5 {
        let asked = tokio::time::timeout(Duration::from_millis(20), database.connection());
        assert!(asked.await.is_err(), "it is not open yet");
    }
    drop(database.connection().await.expect("it is open"));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_statement_that_was_given_up_while_it_was_prepared_is_not_kept_by_the_server() {
    let bench = bench().await;
    let (client, _) = on(&bench, |config| config.pool_size = 1);
    let before = number(&client, BACKEND).await;
    let mut lock = bench.database.unit();
    lock.execute("lock table notes in access exclusive mode", &[])
        .await
        .expect("nobody has it");
    let prepared = client.query(ONE, "select note from notes", Vec::new());
    let given_up = tokio::time::timeout(Duration::from_millis(50), prepared).await;
    assert!(given_up.is_err(), "it waits for the lock");
    lock.rollback().await;
    let kept = "select count(*) from pg_prepared_statements where statement like '%from notes'";
    assert_eq!(number(&client, kept).await, 0);
    assert_eq!(number(&client, BACKEND).await, before);
}

#[tokio::test]
async fn a_connection_outlives_the_threads_of_whoever_asked_for_it_first() {
    let bench = bench().await;
    let (client, _) = on(&bench, |config| config.pool_size = 1);
    let first = another(&client);
    // As the slow lane has threads and timers of its own.
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .expect("a runtime")
            .block_on(number(&first, BACKEND))
    });
    let asked = tokio::task::spawn_blocking(|| elsewhere.join());
    let before = asked.await.expect("joined").expect("no panic");
    assert_eq!(number(&client, BACKEND).await, before);
}
