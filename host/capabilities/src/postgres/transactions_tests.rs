//! Nobody can break the transaction that the host promises, nor see what another call did to a session; on a real
//! PostgreSQL, with what a guest would send.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use marquee_database::{CommitError, Config, Database, Error, Secret};
use marquee_testkit::{Proxy, eventually};

use super::{
    Granted,
    bindings::wit::{self, DbValue, ParameterValue},
    client::Client,
    tests::{Bench, INSERT, ONE, PUBLISH, bench, ok, text},
    transactions::Transactions,
};

/// Another connection that a guest has opened.
const TWO: u32 = 2;

/// What another call of the component has.
pub(super) fn another(client: &Client) -> Client {
    Client {
        transactions: Transactions::default(),
        ..client.clone()
    }
}

/// The same component on a pool of its own.
pub(super) fn on(bench: &Bench, change: impl FnOnce(&mut Config)) -> (Client, Database) {
    let mut config = Config::new("notes", Secret::new(bench.server.url()));
    change(&mut config);
    let database = Database::new(&config).expect("a URL");
    let granted = bench.client.granted.as_deref().expect("granted");
    let granted = Granted {
        database: database.clone(),
        ..granted.clone()
    };
    let client = Client {
        granted: Some(Arc::new(granted)),
        ..another(&bench.client)
    };
    (client, database)
}

pub(super) async fn done(client: &Client, connection: u32, sql: &str) {
    let done = client.query(connection, sql, Vec::new()).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

pub(super) async fn number(client: &Client, sql: &str) -> i64 {
    let rows = client.query(ONE, sql, Vec::new()).await.expect("a row");
    rows[0].get(0)
}

/// Told so with words, and not sent.
async fn refused(client: &Client, sql: &str) {
    match client.query(ONE, sql, Vec::new()).await {
        Err(wit::Error::QueryFailed(wit::QueryError::Text(text))) => {
            assert!(
                text.contains("transaction") || text.contains("cannot"),
                "{sql}: {text}"
            );
        }
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_that_a_guest_begins_is_one_conversation_on_its_connection() {
    let bench = bench().await;
    let (call, neighbour) = (bench.client.clone(), another(&bench.client));
    for end in ["rollback", "abort work"] {
        done(&call, ONE, "begin isolation level serializable").await;
        call.execute(ONE, INSERT, text("mine"))
            .await
            .expect("inserted");
        neighbour
            .execute(ONE, INSERT, text(end))
            .await
            .expect("inserted");
        call.execute(TWO, INSERT, text(&format!("{end}, by itself")))
            .await
            .expect("inserted");
        assert_eq!(
            number(&call, "select count(*) from notes where note = 'mine'").await,
            1
        );
        done(&call, ONE, end).await;
    }
    assert_eq!(
        bench.count("notes").await,
        4,
        "all but what was rolled back"
    );

    done(&call, ONE, "start transaction").await;
    call.execute(ONE, INSERT, text("mine"))
        .await
        .expect("inserted");
    done(&call, ONE, "savepoint here").await;
    call.execute(ONE, INSERT, text("mine"))
        .await
        .expect_err("taken");
    done(&call, ONE, "rollback to here").await;
    call.query(ONE, PUBLISH, text("key"))
        .await
        .expect("published");
    assert_eq!(
        bench.pokes.load(Ordering::SeqCst),
        0,
        "nothing is to be relayed yet"
    );
    done(&call, ONE, "commit").await;
    assert_eq!(bench.pokes.load(Ordering::SeqCst), 1);
    assert_eq!(bench.count("notes").await, 5);
    assert_eq!(bench.count("marquee.outbox").await, 1);
    assert_eq!(bench.left_open().await, 0);
}

#[tokio::test]
async fn who_keeps_answers_is_told_of_a_touch_once_it_stands_and_gives_none_to_a_transaction() {
    const TOUCH: &str = "select marquee.touch($1)";
    let bench = bench().await;
    let call = another(&bench.client);
    let touch = async || {
        call.query(ONE, TOUCH, text("note:1"))
            .await
            .expect("touched")
    };
    let pokes = || bench.pokes.load(Ordering::SeqCst);
    touch().await;
    assert_eq!((pokes(), call.exact.is_set()), (1, false));
    done(&call, ONE, "begin").await;
    assert!(call.exact.is_set());
    touch().await;
    assert_eq!(pokes(), 1);
    done(&call, ONE, "commit").await;
    assert_eq!(pokes(), 2);
    assert_eq!(bench.count("marquee.touches").await, 2);
}

#[tokio::test]
async fn what_a_guest_leaves_open_is_rolled_back() {
    let bench = bench().await;
    let ways: [fn(Client); 2] = [drop, |client| client.transactions.forget(ONE)];
    for leave in ways {
        // More often than there are connections.
        for _ in 0..6 {
            let call = another(&bench.client);
            done(&call, ONE, "begin").await;
            call.execute(ONE, INSERT, text("mine"))
                .await
                .expect("inserted");
            leave(call);
        }
    }
    eventually(Duration::from_secs(10), "all is rolled back", async || {
        bench.left_open().await == 0
    })
    .await;
    assert_eq!(bench.count("notes").await, 0);
}

#[tokio::test]
async fn in_a_unit_of_work_nothing_ends_or_outlives_the_transaction() {
    let bench = bench().await;
    let answer = bench.call(|client| async move {
        client
            .execute(ONE, INSERT, text("one"))
            .await
            .expect("inserted");
        for sql in [
            "begin",
            "/* a /* b */ */ commit",
            "-- so\nEND",
            "rollback",
            "commit and chain",
            "savepoint here",
            "rollback to here",
            "prepare transaction 'x'",
            "set search_path = other",
            "reset all",
            "discard all",
            "deallocate all",
            "listen here",
            "copy notes to stdout",
        ] {
            refused(&client, sql).await;
        }
        done(&client, ONE, "set local lock_timeout = '1s'").await;
        client
            .execute(ONE, INSERT, text("two"))
            .await
            .expect("inserted");
        Ok(ok())
    });
    answer.await.expect("committed");
    assert_eq!(bench.count("notes").await, 2);
}

#[tokio::test]
async fn a_unit_whose_transaction_was_ended_by_something_else_does_not_commit() {
    let bench = bench().await;
    for behind in ["commit; begin", "commit", "rollback", "rollback; begin"] {
        let mut unit = bench.database.unit();
        unit.query("select 1", &[]).await.expect("a row");
        // What no statement can do, a bug of a driver or a proxy in between might.
        unit.run("select 2", async |client, _| {
            client.batch_execute(behind).await
        })
        .await
        .expect("done");
        let insert = "insert into notes values ($1) on conflict do nothing";
        let late = unit.execute(insert, &[&"late"]).await;
        let outcome = unit.commit().await;
        assert!(
            matches!(outcome, Err(CommitError::RolledBack(Error::Lost { .. }))),
            "{behind}: {outcome:?} after {late:?}"
        );
    }
    assert_eq!(bench.left_open().await, 0);
}

#[tokio::test]
async fn nothing_that_a_call_does_to_a_session_is_seen_by_another() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| config.pool_size = 1);
    for sql in [
        "set search_path = other",
        "listen here",
        "deallocate all",
        "copy notes to stdout",
        "prepare one as select 1",
    ] {
        refused(&client, sql).await;
    }
    let clean = "select count(*) from pg_settings where name = 'search_path' and setting = 'other'";
    for sql in [
        "select set_config('search_path', 'other', false)",
        "do $$ begin set search_path = other; end $$",
        "do $$ begin perform pg_advisory_lock(1); end $$",
        "select pg_advisory_lock(1)",
        "create temporary table notes_of_mine (n integer)",
    ] {
        done(&client, ONE, sql).await;
        let call = another(&client);
        assert_eq!(number(&call, clean).await, 0, "{sql}");
        let locks = "select count(*) from pg_locks where locktype = 'advisory'";
        eventually(Duration::from_secs(10), sql, async || {
            number(&call, locks).await == 0
        })
        .await;
        let tables = "select count(*) from pg_class where relname = 'notes_of_mine' and pg_table_is_visible(oid)";
        assert_eq!(number(&call, tables).await, 0, "{sql}");
    }
    // In a transaction of the guest's own, and in a unit, they may stand; nobody sees them behind it.
    done(&client, ONE, "begin").await;
    done(&client, ONE, "set search_path = other").await;
    done(&client, ONE, "commit").await;
    assert_eq!(number(&another(&client), clean).await, 0);
    let mut unit = database.unit();
    let sql = "select set_config('search_path', 'other', false)";
    unit.query(sql, &[]).await.expect("a row");
    unit.commit().await.expect("committed");
    assert_eq!(number(&client, clean).await, 0);
}

#[tokio::test]
async fn a_connection_is_kept_after_a_statement_that_changes_nothing_beyond_its_transaction() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| config.pool_size = 1);
    let backend = "select pg_backend_pid()::bigint";
    let before = number(&client, backend).await;
    done(
        &client,
        ONE,
        "select set_config('rating.counts', 'moved', true)",
    )
    .await;
    done(&client, ONE, "begin").await;
    done(&client, ONE, "set local search_path = other").await;
    done(&client, ONE, "commit").await;
    let mut unit = database.unit();
    let local = "with s as (select set_config('a.b', 'c', true)) select 1 from s";
    unit.query(local, &[]).await.expect("a row");
    unit.commit().await.expect("committed");
    assert_eq!(number(&client, backend).await, before);
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() {
    let bench = bench().await;
    let (_, database) = on(&bench, |_| ());
    let backend = async |connection: &mut marquee_database::Connection| {
        let rows = connection.query("select pg_backend_pid()", &[]).await;
        rows.expect("a row")[0].get::<_, i32>(0)
    };
    let mut first = database.connection().await.expect("free");
    let mut second = database.connection().await.expect("free");
    let _ = backend(&mut first).await;
    let last = backend(&mut second).await;
    drop(first);
    drop(second);
    for _ in 0..3 {
        let mut next = database.connection().await.expect("free");
        assert_eq!(backend(&mut next).await, last);
    }
}

#[tokio::test]
async fn a_statement_that_was_prepared_before_a_migration_goes_on() {
    let bench = bench().await;
    let select = "select * from notes";
    let everywhere = async || {
        // On every connection of the pool.
        let calls = (0..16).map(|_| bench.client.query(ONE, select, Vec::new()));
        for rows in futures::future::join_all(calls).await {
            rows.expect("rows");
        }
    };
    everywhere().await;
    done(
        &bench.client,
        ONE,
        "alter table notes add column more integer",
    )
    .await;
    everywhere().await;

    done(
        &bench.client,
        ONE,
        "alter table notes add column most integer",
    )
    .await;
    let answer = bench.call(move |client| async move {
        // The first try meets the old form, and is done again as a whole.
        let _ = client.query(ONE, select, Vec::new()).await;
        let inserted = client.execute(ONE, "insert into notes (note) values ('one')", Vec::new());
        let _ = inserted.await;
        Ok(ok())
    });
    answer.await.expect("committed");
    assert_eq!(bench.count("notes").await, 1);
}

#[tokio::test]
async fn a_statement_that_its_session_has_forgotten_goes_on() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| config.pool_size = 1);
    // Out of the host's sight.
    let forget = "create function forget() returns void language plpgsql as $$ begin execute 'deallocate all'; end $$";
    done(&client, ONE, forget).await;
    let select = "select * from notes";
    for sql in [select, "select forget()", select] {
        done(&client, ONE, sql).await;
    }
    // In a unit it is a conflict: all of it is done again.
    let insert = "insert into notes values (gen_random_uuid()::text)";
    let whole = async |work: &[&str]| {
        let mut unit = database.unit();
        for sql in work {
            unit.query(sql, &[]).await?;
        }
        unit.commit().await.expect("committed");
        Ok::<_, Error>(())
    };
    let (first, behind) = ([insert, select], ["select 'is new'", insert, select]);
    for work in [&first[..], &behind[..]] {
        whole(&first).await.expect("prepared");
        whole(&["select forget()"]).await.expect("forgotten");
        let error = whole(work).await.expect_err("it is gone");
        assert!(error.is_conflict(), "{error}");
        whole(work).await.expect("prepared again");
    }
    assert_eq!(bench.count("notes").await, 4);
}

#[tokio::test]
async fn a_unit_may_be_silent_until_its_deadline() {
    let bench = bench().await;
    let silence = Duration::from_millis(200);
    let (client, database) = on(&bench, |config| {
        config.idle_in_transaction_timeout = silence
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut unit = database.unit().until(deadline);
    unit.query("select 1", &[]).await.expect("a row");
    done(&client, ONE, "begin").await;
    tokio::time::sleep(silence * 4).await;
    unit.execute("insert into notes values ('late')", &[])
        .await
        .expect("inserted");
    unit.commit().await.expect("committed");
    client
        .execute(ONE, INSERT, text("later"))
        .await
        .expect("inserted");
    done(&client, ONE, "commit").await;
    assert_eq!(bench.count("notes").await, 2);
}

#[tokio::test]
async fn in_a_transaction_a_guest_may_give_a_statement_more_time() {
    let bench = bench().await;
    let (client, database) = on(&bench, |config| {
        config.statement_timeout = Duration::from_millis(100);
    });
    let longer = "set local statement_timeout = '20s'";
    let slow = "select pg_sleep(6)";
    let conversation = async {
        client
            .query(ONE, slow, Vec::new())
            .await
            .expect_err("too slow by itself");
        done(&client, ONE, "begin").await;
        done(&client, ONE, longer).await;
        done(&client, ONE, slow).await;
        done(&client, ONE, "commit").await;
    };
    let unit = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut unit = database.unit().until(deadline);
        unit.execute(longer, &[]).await.expect("set");
        unit.query(slow, &[]).await.expect("a row");
        unit.commit().await.expect("committed");
    };
    futures::join!(conversation, unit);
}

/// The same component on one connection, behind something that may stop to forward.
async fn behind_a_proxy(bench: &Bench, statement_timeout: Duration) -> (Proxy, Database) {
    let (proxy, url) = bench.proxied().await;
    let (_, database) = on(bench, |config| {
        config.url = url;
        config.pool_size = 1;
        config.statement_timeout = statement_timeout;
    });
    database.ping().await.expect("it answers");
    proxy.delay(Duration::from_secs(600));
    (proxy, database)
}

#[tokio::test]
async fn a_server_that_went_silent_is_given_up_and_its_connection_is_closed() {
    let bench = bench().await;
    let (proxy, database) = behind_a_proxy(&bench, Duration::from_millis(100)).await;
    let begun = Instant::now();
    let error = database.ping().await.expect_err("no answer comes");
    assert!(error.is_unavailable(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    proxy.delay(Duration::ZERO);
    database.ping().await.expect("on a new connection");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_server_that_went_silent() {
    let bench = bench().await;
    let (_proxy, database) = behind_a_proxy(&bench, Duration::from_secs(600)).await;
    let mut unit = database.unit();
    let waiting = unit.query("select 1", &[]);
    let given_up = tokio::time::timeout(Duration::from_millis(100), waiting).await;
    assert!(given_up.is_err(), "no answer comes");
    drop(unit);
    let closed = tokio::time::timeout(Duration::from_secs(30), database.close()).await;
    closed.expect("it is closed");
}

#[tokio::test]
async fn a_connection_that_waits_for_nothing_is_probed_within_half_a_minute() {
    let bench = bench().await;
    let mut connection = bench.database.connection().await.expect("a connection");
    let port = "select client_port::bigint from pg_stat_activity where pid = pg_backend_pid()";
    let port: i64 = connection.query(port, &[]).await.expect("a row")[0].get(0);
    // https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html: 02 is the timer of the probes, and then its
    // hundredths of a second.
    let probe = || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells");
        sockets.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_ours = fields.get(1)?.ends_with(&format!(":{port:04X}"));
            let due = fields.get(5)?.strip_prefix("02:")?;
            is_ours.then(|| i64::from_str_radix(due, 16).expect("a number"))
        })
    };
    eventually(Duration::from_secs(10), "a probe is due", async || {
        probe().is_some_and(|due| due <= 3_000)
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_fails_half_way_leaves_no_open_transaction_in_the_pool() {
    let bench = bench().await;
    let (_, database) = on(&bench, |config| config.pool_size = 1);
    for _ in 0..8 {
        let mut connection = database.connection().await.expect("a connection");
        let failed = connection.batch("begin; select 1 / 0; commit").await;
        failed.expect_err("a division by zero");
    }
    database.ping().await.expect("it is usable");
    assert_eq!(bench.left_open().await, 0);
}

#[tokio::test]
async fn json_goes_through_as_it_came() {
    let bench = bench().await;
    let long = r#"{"b": 12345678901234567890123, "a": 0.1000000000000000055511151231257827}"#;
    for ty in ["jsonb", "json"] {
        let sent = vec![ParameterValue::Jsonb(long.as_bytes().to_vec())];
        let sql = format!("select ($1::{ty})::jsonb");
        let rows = bench.client.query(ONE, &sql, sent).await.expect("a row");
        let rows = super::values::rows(&rows).expect("values");
        let [DbValue::Jsonb(text)] = rows[0].as_slice() else {
            panic!("{rows:?}");
        };
        let text = String::from_utf8_lossy(text);
        for digits in [
            "12345678901234567890123",
            "0.1000000000000000055511151231257827",
        ] {
            assert!(text.contains(digits), "{ty}: {text}");
        }
    }
}
