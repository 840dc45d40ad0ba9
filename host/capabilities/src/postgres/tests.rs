//! Units of work and values, on a real PostgreSQL, without a guest: what a guest would send is sent here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_database::{Config, Database, Secret};
use marquee_manifest::ComponentId;
use marquee_runtime::{Body, Call, CallError, Exact, LetDown, Pending, Transactor as _};
use marquee_telemetry::traces::Trace;
use marquee_testkit::{Proxy, TestDatabase};
use wasmtime::component::Val;

use super::{
    Granted, Transactor, UnitOfWork,
    bindings::wit::{self, DbValue, ParameterValue, RangeBoundKind},
    client::Client,
    transactions::Transactions,
    values,
};

/// A database with a table, and a transactor for the component that owns it.
pub(super) struct Bench {
    pub(super) server: TestDatabase,
    pub(super) database: Database,
    transactor: Arc<Transactor>,
    pub(super) client: Client,
    pub(super) pokes: Arc<AtomicUsize>,
}

impl Bench {
    /// Something before its server that counts, and may stop to forward; and the database's address through it.
    pub(super) async fn proxied(&self) -> (Proxy, Secret) {
        let target: tokio_postgres::Config = self.server.url().parse().expect("a URL");
        let port = target.get_ports().first().copied().expect("a port");
        let proxy = marquee_testkit::proxy(([127, 0, 0, 1], port).into()).await;
        let name = self.server.name();
        let url = format!("postgres://postgres@{}/{name}", proxy.addr());
        (proxy, Secret::new(url))
    }
}

pub(super) async fn bench() -> Bench {
    let server = marquee_testkit::database().await;
    let database = database(server.url());
    marquee_delivery::migrations()
        .expect("built in")
        .apply(&database)
        .await
        .expect("applied");
    let mut connection = database.connection().await.expect("a connection");
    connection
        .batch("create table notes (note text not null unique)")
        .await
        .expect("a table");
    drop(connection);
    let pokes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pokes);
    let granted = Granted {
        database: database.clone(),
        addresses: vec!["marquee:notes".to_owned()],
        rows: 1_000,
        result_bytes: 4 << 20,
        poke: Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let client = Client {
        granted: Some(Arc::new(granted.clone())),
        unit: None,
        undone: None,
        transactions: Transactions::default(),
        let_down: LetDown::default(),
        exact: Exact::default(),
        deadline: Instant::now() + Duration::from_secs(60),
        trace: Trace::default(),
        pending: Pending::default(),
    };
    let transactor = Arc::new(Transactor::new(BTreeMap::from([(component(), granted)])));
    Bench {
        server,
        database,
        transactor,
        client,
        pokes,
    }
}

pub(super) fn database(url: &str) -> Database {
    let mut config = Config::new("notes", Secret::new(url));
    config.pool_size = 4;
    Database::new(&config).expect("a URL")
}

fn component() -> ComponentId {
    "notes".parse().expect("a name")
}

pub(super) fn text(text: &str) -> Vec<ParameterValue> {
    vec![ParameterValue::Str(text.to_owned())]
}

/// A connection that the guest has opened.
pub(super) const ONE: u32 = 1;
pub(super) const INSERT: &str = "insert into notes values ($1)";
pub(super) const PUBLISH: &str = "select marquee.publish('topic', $1, '{}', 'value')";

impl Bench {
    /// Run a call in a unit of work: `work` gets the client that its guest would have.
    pub(super) async fn call<F, R>(&self, work: F) -> Result<Val, CallError>
    where
        F: Fn(Client) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Val, CallError>> + Send + 'static,
    {
        let client = self.client.clone();
        let body: Body = Box::new(move |call| {
            let unit = call
                .unit
                .clone()
                .and_then(|unit| unit.downcast::<UnitOfWork>().ok());
            work(Client {
                unit,
                ..client.clone()
            })
            .boxed()
        });
        let call = Call::new("test", Instant::now() + Duration::from_secs(20));
        self.transactor.run(&component(), call, body).await
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        let mut connection = self.database.connection().await.expect("a connection");
        let rows = connection
            .query(&format!("select count(*) from {table}"), &[])
            .await
            .expect("a count");
        rows[0].get(0)
    }

    /// Connections of the pool that are in a transaction although nobody uses them.
    pub(super) async fn left_open(&self) -> i64 {
        let mut connection = self.database.connection().await.expect("a connection");
        let sql = "select count(*) from pg_stat_activity
            where datname = current_database() and state like 'idle in transaction%'";
        connection.query(sql, &[]).await.expect("a count")[0].get(0)
    }
}

pub(super) fn ok() -> Val {
    Val::Result(Ok(None))
}

fn error() -> Val {
    Val::Result(Err(None))
}

#[tokio::test]
async fn a_call_that_answers_ok_commits_and_the_relay_is_told() {
    let bench = bench().await;
    let answer = bench.call(|client| async move {
        client
            .execute(ONE, INSERT, text("kept"))
            .await
            .expect("inserted");
        client
            .query(ONE, PUBLISH, text("key"))
            .await
            .expect("published");
        Ok(ok())
    });
    answer.await.expect("committed");
    assert_eq!(
        (
            bench.count("notes").await,
            bench.count("marquee.outbox").await
        ),
        (1, 1)
    );
    assert_eq!(bench.pokes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_answers_with_an_error_leaves_neither_state_nor_message() {
    let bench = bench().await;
    let answer = bench.call(|client| async move {
        client
            .execute(ONE, INSERT, text("gone"))
            .await
            .expect("inserted");
        client
            .query(ONE, PUBLISH, text("key"))
            .await
            .expect("published");
        Ok(error())
    });
    assert!(marquee_runtime::is_error(
        &answer
            .await
            .expect("the interface's own error comes through")
    ));
    assert_eq!(
        (
            bench.count("notes").await,
            bench.count("marquee.outbox").await
        ),
        (0, 0)
    );
    assert_eq!(
        (bench.pokes.load(Ordering::SeqCst), bench.left_open().await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_call_that_traps_or_is_late_leaves_nothing() {
    let bench = bench().await;
    let answer = bench.call(|client| async move {
        client
            .execute(ONE, INSERT, text("gone"))
            .await
            .expect("inserted");
        Err(CallError::Deadline(component()))
    });
    assert!(matches!(answer.await, Err(CallError::Deadline(_))));
    assert_eq!(
        (bench.count("notes").await, bench.left_open().await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_call_whose_client_has_gone_leaves_nothing() {
    let bench = bench().await;
    let (inserted, mut is_inserted) = tokio::sync::mpsc::channel(1);
    {
        let call = bench.call(move |client| {
            let inserted = inserted.clone();
            async move {
                client
                    .execute(ONE, INSERT, text("gone"))
                    .await
                    .expect("inserted");
                inserted.send(()).await.expect("somebody waits");
                std::future::pending().await
            }
        });
        tokio::select! {
            _ = call => panic!("it never ends by itself"),
            _ = is_inserted.recv() => {}
        }
        // Dropped here, as the host drops it.
    }
    marquee_testkit::eventually(
        Duration::from_secs(10),
        "its transaction is gone",
        async || bench.left_open().await == 0,
    )
    .await;
    assert_eq!(bench.count("notes").await, 0);
}

#[tokio::test]
async fn after_a_failed_statement_nothing_stands_even_if_the_guest_says_ok() {
    let bench = bench().await;
    bench
        .client
        .execute(ONE, INSERT, text("taken"))
        .await
        .expect("outside a unit it stands alone");
    let answer = bench.call(|client| async move {
        client
            .execute(ONE, INSERT, text("new"))
            .await
            .expect("inserted");
        let refused = client
            .execute(ONE, INSERT, text("taken"))
            .await
            .expect_err("it is unique");
        let wit::Error::QueryFailed(wit::QueryError::DbError(error)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(error.code, "23505");
        assert!(
            error
                .extras
                .contains(&("constraint".to_owned(), "notes_note_key".to_owned())),
            "{error:?}"
        );
        client
            .execute(ONE, INSERT, text("later"))
            .await
            .expect_err("nothing more is taken");
        Ok(ok())
    });
    assert!(matches!(
        answer.await,
        Err(CallError::RolledBack {
            unavailable: false,
            ..
        })
    ));
    assert_eq!(
        (bench.count("notes").await, bench.left_open().await),
        (1, 0)
    );
}

#[tokio::test]
async fn a_conflict_is_answered_by_doing_the_whole_call_again() {
    let bench = bench().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let answer = bench.call(move |client| {
        let tries = Arc::clone(&counted);
        async move {
            client
                .execute(ONE, INSERT, text("kept"))
                .await
                .expect("inserted");
            if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                // What a serialization failure looks like to a guest that does not know what to do about it.
                let raise =
                    "do $$ begin raise exception 'conflict' using errcode = '40001'; end $$";
                client
                    .execute(ONE, raise, Vec::new())
                    .await
                    .expect_err("it conflicts");
                return Ok(error());
            }
            Ok(ok())
        }
    });
    assert!(!marquee_runtime::is_error(
        &answer.await.expect("the third try stands")
    ));
    assert_eq!(
        (tries.load(Ordering::SeqCst), bench.count("notes").await),
        (3, 1)
    );
}

#[tokio::test]
async fn a_unit_cannot_be_used_after_its_call() {
    let bench = bench().await;
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let answer = bench.call(move |client| {
        *keep.lock().expect("no panic") = Some(client);
        async move { Ok(ok()) }
    });
    answer
        .await
        .expect("a unit without statements commits nothing");
    let client = kept.lock().expect("no panic").take().expect("kept");
    client
        .execute(ONE, INSERT, text("late"))
        .await
        .expect_err("the call has ended");
    assert_eq!(bench.count("notes").await, 0);
}

#[tokio::test]
async fn outside_a_unit_a_statement_costs_one_round_trip_and_a_unit_one_more_for_its_commit() {
    let bench = bench().await;
    let (proxy, url) = bench.proxied().await;
    let mut config = Config::new("notes", url);
    config.pool_size = 1;
    let database = Database::new(&config).expect("a URL");
    let granted = Granted {
        database: database.clone(),
        ..(**bench.client.granted.as_ref().expect("granted")).clone()
    };
    let client = Client {
        granted: Some(Arc::new(granted)),
        ..bench.client.clone()
    };
    // Prepared once.
    client
        .query(ONE, "select count(*) from notes", Vec::new())
        .await
        .expect("a count");

    let before = proxy.round_trips();
    for _ in 0..10 {
        client
            .query(ONE, "select count(*) from notes", Vec::new())
            .await
            .expect("a count");
    }
    assert_eq!(
        proxy.round_trips() - before,
        10,
        "each statement is one round trip"
    );

    let before = proxy.round_trips();
    let shared = Arc::new(UnitOfWork::new(database.unit()));
    let inside = Client {
        unit: Some(Arc::clone(&shared)),
        ..client
    };
    for _ in 0..3 {
        inside
            .query(ONE, "select count(*) from notes", Vec::new())
            .await
            .expect("a count");
    }
    shared
        .take()
        .await
        .expect("it is there")
        .commit()
        .await
        .expect("committed");
    assert_eq!(
        proxy.round_trips() - before,
        4,
        "BEGIN travels with the first statement"
    );
}

#[tokio::test]
async fn only_the_granted_address_opens() {
    let bench = bench().await;
    assert!(bench.client.open("marquee:notes").is_ok());
    for address in [
        "marquee:other",
        "",
        "postgres://postgres:hush@127.0.0.1/notes",
    ] {
        let wit::Error::ConnectionFailed(text) =
            bench.client.open(address).expect_err("not granted")
        else {
            panic!("another error")
        };
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_went() {
    use ParameterValue as P;
    let bench = bench().await;
    let bound = |n: i32| Some((n, RangeBoundKind::Inclusive));
    let cases: Vec<(&str, P, DbValue)> = vec![
        ("boolean", P::Boolean(true), DbValue::Boolean(true)),
        ("smallint", P::Int8(-3), DbValue::Int16(-3)),
        ("smallint", P::Int16(i16::MIN), DbValue::Int16(i16::MIN)),
        ("integer", P::Int32(i32::MIN), DbValue::Int32(i32::MIN)),
        ("bigint", P::Int64(i64::MAX), DbValue::Int64(i64::MAX)),
        ("real", P::Floating32(-1.5), DbValue::Floating32(-1.5)),
        (
            "double precision",
            P::Floating64(1e300),
            DbValue::Floating64(1e300),
        ),
        (
            "text",
            P::Str("naïve 🎬".into()),
            DbValue::Str("naïve 🎬".into()),
        ),
        (
            "varchar(3)",
            P::Str("abc".into()),
            DbValue::Str("abc".into()),
        ),
        (
            "bytea",
            P::Binary(vec![0, 255]),
            DbValue::Binary(vec![0, 255]),
        ),
        (
            "date",
            P::Date((1999, 12, 31)),
            DbValue::Date((1999, 12, 31)),
        ),
        ("date", P::Date((-43, 3, 15)), DbValue::Date((-43, 3, 15))),
        (
            "time",
            P::Time((23, 59, 59, 123_456_000)),
            DbValue::Time((23, 59, 59, 123_456_000)),
        ),
        (
            "timestamp",
            P::Datetime((2024, 2, 29, 1, 2, 3, 4_000)),
            DbValue::Datetime((2024, 2, 29, 1, 2, 3, 4_000)),
        ),
        (
            "timestamptz",
            P::Datetime((2024, 2, 29, 1, 2, 3, 0)),
            DbValue::Datetime((2024, 2, 29, 1, 2, 3, 0)),
        ),
        (
            "timestamptz",
            P::Timestamp(0),
            DbValue::Datetime((1970, 1, 1, 0, 0, 0, 0)),
        ),
        (
            "uuid",
            P::Uuid("018F0000-0000-7000-8000-000000000001".into()),
            DbValue::Uuid("018f0000-0000-7000-8000-000000000001".into()),
        ),
        (
            "jsonb",
            P::Jsonb(br#"{"a": [1, null]}"#.to_vec()),
            DbValue::Jsonb(br#"{"a": [1, null]}"#.to_vec()),
        ),
        (
            "numeric",
            P::Decimal("-12345.6789".into()),
            DbValue::Decimal("-12345.6789".into()),
        ),
        (
            "int4range",
            P::RangeInt32((bound(1), Some((5, RangeBoundKind::Exclusive)))),
            DbValue::RangeInt32((bound(1), Some((5, RangeBoundKind::Exclusive)))),
        ),
        (
            "int8range",
            P::RangeInt64((None, None)),
            DbValue::RangeInt64((None, None)),
        ),
        (
            "numrange",
            P::RangeDecimal((Some(("1.5".into(), RangeBoundKind::Inclusive)), None)),
            DbValue::RangeDecimal((Some(("1.5".into(), RangeBoundKind::Inclusive)), None)),
        ),
        (
            "integer[]",
            P::ArrayInt32(vec![Some(1), None]),
            DbValue::ArrayInt32(vec![Some(1), None]),
        ),
        (
            "bigint[]",
            P::ArrayInt64(vec![]),
            DbValue::ArrayInt64(vec![]),
        ),
        (
            "numeric[]",
            P::ArrayDecimal(vec![Some("1.10".into()), None]),
            DbValue::ArrayDecimal(vec![Some("1.10".into()), None]),
        ),
        (
            "text[]",
            P::ArrayStr(vec![Some("a".into()), None]),
            DbValue::ArrayStr(vec![Some("a".into()), None]),
        ),
        (
            "interval",
            P::Interval(wit::Interval {
                micros: 1,
                days: -2,
                months: 3,
            }),
            DbValue::Interval(wit::Interval {
                micros: 1,
                days: -2,
                months: 3,
            }),
        ),
    ];
    for (ty, sent, expected) in cases {
        let sql = format!("select $1::{ty}");
        let rows = bench
            .client
            .query(ONE, &sql, vec![sent])
            .await
            .unwrap_or_else(|error| panic!("{ty}: {error:?}"));
        let got = values::rows(&rows).expect("within the bounds");
        assert_eq!(format!("{:?}", got[0][0]), format!("{expected:?}"), "{ty}");
        let rows = bench
            .client
            .query(ONE, &sql, vec![P::DbNull])
            .await
            .expect("null fits everywhere");
        assert!(
            matches!(
                values::rows(&rows).expect("within the bounds")[0][0],
                DbValue::DbNull
            ),
            "{ty}"
        );
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_place_is_an_error_and_not_a_panic() {
    use ParameterValue as P;
    let bench = bench().await;
    for (ty, sent) in [
        ("integer", P::Str("1".into())),
        ("bigint", P::Int32(1)),
        ("text", P::Int64(1)),
        ("date", P::Date((2023, 2, 29))),
        ("time", P::Time((24, 0, 0, 0))),
        ("timestamptz", P::Timestamp(i64::MAX)),
        ("uuid", P::Uuid("no".into())),
        ("jsonb", P::Jsonb(b"{".to_vec())),
        ("numeric", P::Decimal("1,5".into())),
        ("int8range", P::RangeInt32((None, None))),
        (
            "text",
            P::Interval(wit::Interval {
                micros: 1,
                days: 0,
                months: 0,
            }),
        ),
    ] {
        let error = bench
            .client
            .query(ONE, &format!("select $1::{ty}"), vec![sent])
            .await
            .expect_err(ty);
        assert!(
            matches!(error, wit::Error::BadParameter(_)),
            "{ty}: {error:?}"
        );
    }
    for value in [
        "'infinity'::date",
        "'24:00'::time",
        "'NaN'::numeric",
        "1e32::numeric",
        "-1e36::numeric",
        "1e60::numeric",
        "numrange(1, 1e32)",
        "array[1, 1e32]::numeric[]",
    ] {
        let sql = format!("select {value}");
        let rows = bench.client.query(ONE, &sql, Vec::new()).await;
        let read = values::rows(&rows.expect("a row"));
        assert!(
            matches!(read, Err(wit::Error::ValueConversionFailed(_))),
            "{value}: {read:?}"
        );
    }
}

#[tokio::test]
async fn a_result_beyond_the_bounds_is_refused_and_the_next_statement_has_its_answer() {
    let bench = bench().await;
    let client = &bench.client;
    let rows = client
        .query(ONE, "select generate_series(1, 1000)", Vec::new())
        .await;
    assert_eq!(rows.expect("as many as it may").len(), 1_000);
    for (sql, bound) in [
        (
            "select generate_series(1, 200000)",
            "1000 rows (limits.rows)",
        ),
        (
            "select repeat('x', 1000000) from generate_series(1, 20)",
            "4194304 bytes (limits.query_bytes)",
        ),
    ] {
        let error = client
            .query(ONE, sql, Vec::new())
            .await
            .expect_err("too much");
        assert!(
            matches!(&error, wit::Error::Other(text) if text.contains(bound)),
            "{error:?}"
        );
        let next = client
            .query(ONE, "select 1", Vec::new())
            .await
            .expect("a row");
        assert_eq!(next[0].get::<_, i32>(0), 1);
    }
    let error = client
        .query(ONE, &"x".repeat(70_000), Vec::new())
        .await
        .expect_err("too long");
    assert!(matches!(error, wit::Error::BadParameter(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_has_as_many_connections_as_it_may_and_more_statements_wait_for_one() {
    let bench = bench().await;
    let sql = "select pg_backend_pid(), pg_sleep(0.1)";
    let at_once = (0..16).map(|_| bench.client.query(ONE, sql, Vec::new()));
    let answers = futures::future::join_all(at_once).await;
    let sessions: BTreeSet<i32> = answers
        .into_iter()
        .map(|answer| answer.expect("its turn comes")[0].get(0))
        .collect();
    assert!(sessions.len() <= 4, "{sessions:?}");

    // Who waits for longer than a caller has time is told that the database is not to be had.
    let mut config = Config::new("notes", Secret::new(bench.server.url()));
    config.pool_size = 1;
    config.acquire_timeout = Duration::from_millis(100);
    let database = Database::new(&config).expect("a URL");
    let held = database.connection().await.expect("the only one");
    let refused = database.connection().await.map(drop);
    assert!(
        matches!(&refused, Err(marquee_database::Error::Unavailable { reason, .. }) if reason == "no free connection in time"),
        "{refused:?}"
    );
    drop(held);
    database.connection().await.map(drop).expect("free again");
}

#[tokio::test]
async fn a_statement_without_an_answer_is_told_from_one_that_was_not_sent() {
    let bench = bench().await;
    let unanswered = |answer: Result<Vec<tokio_postgres::Row>, wit::Error>| {
        let error = answer.expect_err("no answer");
        assert!(
            matches!(&error, wit::Error::QueryFailed(wit::QueryError::Text(_))),
            "{error:?}"
        );
    };
    let late = Client {
        let_down: LetDown::default(),
        deadline: Instant::now() + Duration::from_millis(50),
        ..bench.client.clone()
    };
    unanswered(late.query(ONE, "select pg_sleep(10)", Vec::new()).await);
    let broken = "select pg_terminate_backend(pg_backend_pid())";
    unanswered(bench.client.query(ONE, broken, Vec::new()).await);

    let mut config = Config::new("notes", Secret::new("postgres://127.0.0.1:1/notes"));
    config.acquire_timeout = Duration::from_millis(100);
    let mut granted = Granted::clone(bench.client.granted.as_ref().expect("granted"));
    granted.database = Database::new(&config).expect("a URL");
    let nowhere = Client {
        granted: Some(Arc::new(granted)),
        ..bench.client.clone()
    };
    let error = nowhere.query(ONE, "select 1", Vec::new()).await;
    assert!(
        matches!(&error, Err(wit::Error::ConnectionFailed(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_a_call_has_under_way_holds_no_more_than_so_much_and_the_rest_may_come_later() {
    let bench = bench().await;
    let sql = "select octet_length($1::bytea)::bigint";
    let large = || vec![ParameterValue::Binary(vec![0; 4 << 20])];
    let at_once = (0..100).map(|_| bench.client.query(ONE, sql, large()));
    let answers = futures::future::join_all(at_once).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!((1..=8).contains(&taken.len()), "{}", taken.len());
    for error in refused {
        assert!(
            matches!(&error, Err(wit::Error::ConnectionFailed(text)) if text.contains("await")),
            "{error:?}"
        );
    }
    let again = bench.client.query(ONE, sql, large()).await;
    assert_eq!(again.expect("there is room")[0].get::<_, i64>(0), 4 << 20);
}
