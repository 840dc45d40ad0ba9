//! Statements outside a unit of work that go down one connection together, on a real PostgreSQL.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use marquee_testkit::eventually;
use tokio::task::JoinSet;

use super::{
    bindings::wit::{self, ParameterValue},
    client::Client,
    tests::{Bench, INSERT, ONE, bench, text},
    transactions_tests::{another, number, on},
};

const BACKEND: &str = "select pg_backend_pid()::bigint";
/// Says what it was asked with, and lasts as long as it is told to.
const ECHO: &str = "select $1::bigint, pg_sleep($2::double precision), pg_backend_pid()::bigint";

/// The answer to [`ECHO`], and whose it is.
async fn echo(client: &Client, value: i64, seconds: f64) -> Result<(i64, i64), wit::Error> {
    let params = vec![
        ParameterValue::Int64(value),
        ParameterValue::Floating64(seconds),
    ];
    let rows = client.query(ONE, ECHO, params).await?;
    Ok((rows[0].get(0), rows[0].get(2)))
}

/// On one connection, where it is known that the statements are quick.
async fn on_one(bench: &Bench) -> Client {
    let (client, _) = on(bench, |config| config.pool_size = 1);
    echo(&client, 0, 0.0).await.expect("a row");
    client
}

#[tokio::test]
async fn reads_at_once_share_connections_and_round_trips() {
    let bench = bench().await;
    let (proxy, url) = bench.proxied().await;
    let (client, _) = on(&bench, |config| config.url = url);
    let at_once = async || {
        let all = (0..16).map(|_| number(&client, BACKEND));
        join_all(all).await.into_iter().collect::<BTreeSet<_>>()
    };
    // What is prepared once a connection is prepared.
    for _ in 0..3 {
        at_once().await;
    }
    let before = proxy.round_trips();
    let sessions = at_once().await;
    let round_trips = proxy.round_trips() - before;
    assert!(sessions.len() <= 4, "{sessions:?}");
    assert!(round_trips <= 8, "{round_trips} for 16 statements");
}

#[tokio::test]
async fn one_that_is_slow_is_overtaken_by_those_behind_it_and_has_its_answer_all_the_same() {
    let bench = bench().await;
    let client = on_one(&bench).await;
    let order = Mutex::new(Vec::new());
    let ask = async |value, seconds| {
        let answer = echo(&client, value, seconds).await.expect("a row");
        order.lock().expect("no panic").push(value);
        assert_eq!(answer.0, value);
    };
    futures::join!(ask(1, 2.0), ask(2, 0.0), ask(3, 0.0));
    assert_eq!(*order.lock().expect("no panic"), [2, 3, 1]);
    // It is known now: nobody is to wait for it once more, until it was quick.
    order.lock().expect("no panic").clear();
    futures::join!(ask(1, 0.5), number(&client, BACKEND));
    assert_eq!(bench.left_open().await, 0);
}

#[tokio::test]
async fn one_that_goes_away_takes_nobodys_answer_along() {
    let bench = bench().await;
    let client = on_one(&bench).await;
    let session = number(&client, BACKEND).await;
    for after_ms in 0..20 {
        let gone = tokio::time::timeout(Duration::from_millis(after_ms), echo(&client, 1, 0.01));
        let others = (2..8).map(|value| echo(&client, value, 0.0));
        let (_, others) = futures::join!(gone, join_all(others));
        for (value, answer) in (2..8).zip(others) {
            assert_eq!(answer.expect("a row"), (value, session));
        }
    }
    // Nor does one that never ends: it is ended for those behind it.
    let gone = tokio::time::timeout(Duration::from_millis(5), echo(&client, 1, 60.0));
    let (gone, behind) = futures::join!(gone, echo(&client, 2, 0.0));
    assert!(gone.is_err(), "it sleeps");
    assert_eq!(behind.expect("a row"), (2, session));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_has_the_answer_to_what_they_asked_whoever_comes_goes_or_lingers() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| config.pool_size = 4);
    let mut calls = JoinSet::new();
    for value in 0..400_i64 {
        let client = another(&client);
        calls.spawn(async move {
            let (patience_ms, seconds) = match value % 20 {
                0 => (30, 1.0),
                1 => (20_000, 0.2),
                2 => (3, 0.004),
                _ => (20_000, 0.0),
            };
            tokio::time::sleep(Duration::from_millis(value.unsigned_abs())).await;
            let asked = echo(&client, value, seconds);
            let patience = Duration::from_millis(patience_ms);
            if let Ok(answer) = tokio::time::timeout(patience, asked).await {
                assert_eq!(answer.expect("a row").0, value);
            }
        });
    }
    calls.join_all().await;
    eventually(
        Duration::from_secs(10),
        "all connections are free",
        async || database.usage().0 == 0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_without_end_leave_a_connection_to_those_who_need_one_alone() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| config.pool_size = 1);
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..8 {
        let (client, stop) = (another(&client), Arc::clone(&stop));
        readers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                number(&client, BACKEND).await;
            }
        });
    }
    for value in 0..20 {
        let mut unit = database.unit();
        unit.query("select 1", &[]).await.expect("a connection");
        unit.commit().await.expect("committed");
        client
            .execute(ONE, INSERT, text(&value.to_string()))
            .await
            .expect("inserted");
    }
    stop.store(true, Ordering::Relaxed);
    readers.join_all().await;
    assert_eq!(bench.count("notes").await, 20);
}

#[tokio::test]
async fn a_guest_that_does_not_read_its_answer_holds_nobody_up() {
    let bench = bench().await;
    let client = on_one(&bench).await;
    let sql = "select repeat('x', $1::integer) from generate_series(1, 100)";
    let repeat = async |client: Client, times| {
        let params = vec![ParameterValue::Int32(times)];
        client.query(ONE, sql, params).await.map(|rows| rows.len())
    };
    repeat(client.clone(), 1).await.expect("rows");
    // As `query-async` does, for a guest that computes before it awaits.
    let asking = client.clone();
    let mut asked = Box::pin(client.drive(async move { repeat(asking, 40_000).await }));
    assert!(futures::poll!(asked.as_mut()).is_pending());
    // No task but the guest's has a turn while it computes: whoever reads for it is another.
    tokio::task::yield_now().await;
    let behind = tokio::time::timeout(Duration::from_secs(10), echo(&client, 2, 0.0));
    behind.await.expect("in time").expect("a row");
    assert_eq!(asked.await.expect("rows"), 100);
}

#[tokio::test]
async fn an_error_of_one_is_its_own() {
    let bench = bench().await;
    let client = on_one(&bench).await;
    let divide = "select (1 / $1::integer)::bigint";
    let by = |value| client.query(ONE, divide, vec![ParameterValue::Int32(value)]);
    by(1).await.expect("a row");
    for _ in 0..3 {
        let (good, bad, behind) = futures::join!(by(1), by(0), number(&client, BACKEND));
        good.expect("a row");
        assert!(matches!(bad, Err(wit::Error::QueryFailed(_))), "{bad:?}");
        assert!(behind > 0);
    }
}

#[tokio::test]
async fn a_large_answer_is_read_to_its_end_before_the_next_and_goes_alone_from_then_on() {
    let bench = bench().await;
    let client = on_one(&bench).await;
    let sql = "select repeat('x', $1::integer) from generate_series(1, 100)";
    let repeat = |times| client.query(ONE, sql, vec![ParameterValue::Int32(times)]);
    repeat(1).await.expect("rows");
    for _ in 0..3 {
        let (large, behind) = futures::join!(repeat(40_000), number(&client, BACKEND));
        assert_eq!(large.expect("rows").len(), 100);
        assert!(behind > 0);
    }
    let (beyond, behind) = futures::join!(repeat(50_000), number(&client, BACKEND));
    assert!(matches!(beyond, Err(wit::Error::Other(_))), "{beyond:?}");
    assert!(behind > 0);
}
