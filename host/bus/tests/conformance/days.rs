//! The days of the log in PostgreSQL: when they are made, when they are dropped, and whom either holds up.

use std::time::{Duration, Instant};

use marquee_bus::{
    BatchLimits, Bus, Event,
    embedded::{self, Embedded},
};
use marquee_database::Connection;
use marquee_testkit::eventually;

use crate::harness::{Fixture, PATIENCE, Reader, database, open, publish};

/// A connection as a person has it, or a dump.
async fn beside(fixture: &Fixture) -> Connection {
    database(fixture.url()).connection().await.unwrap()
}

/// What is in the log was published three days ago. Returns the table.
async fn three_days_ago(connection: &mut Connection) -> String {
    connection
        .batch(
            "do $$ declare day date := (now() at time zone 'UTC')::date - 3; begin
                execute format('create table marquee_bus.records_%s partition of marquee_bus.records
                    for values from (%L) to (%L)', to_char(day, 'YYYYMMDD'), day, day + 1);
                update marquee_bus.records set day = (now() at time zone 'UTC')::date - 3;
            end $$",
        )
        .await
        .unwrap();
    word(
        connection,
        "select 'records_' || to_char((now() at time zone 'UTC')::date - 3, 'YYYYMMDD')",
    )
    .await
}

async fn word(connection: &mut Connection, sql: &str) -> String {
    connection.query(sql, &[]).await.unwrap()[0].get(0)
}

async fn number(connection: &mut Connection, sql: &str) -> i64 {
    connection.query(sql, &[]).await.unwrap()[0].get(0)
}

/// A bus that keeps what is not read for a day.
async fn impatient(fixture: &Fixture) -> Embedded {
    let config = embedded::Config {
        retention: Duration::from_secs(24 * 3600),
        ..embedded::Config::default()
    };
    Embedded::open(database(fixture.url()), config)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_goes_when_every_group_has_read_it_or_when_it_is_too_old() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    let mut connection = beside(&fixture).await;
    fixture.fill(&bus, 40).await;
    let old = three_days_ago(&mut connection).await;
    assert!(
        bus.sweep().await.unwrap().is_empty(),
        "no group has read it"
    );
    let mut reader = fixture.subscribe(&bus).await;
    let batch = reader.batch().await;
    reader.commit(&batch).await;
    assert!(
        bus.sweep().await.unwrap().is_empty(),
        "not all of it was read"
    );
    reader.read(40 - batch.records.len()).await;
    assert_eq!(bus.sweep().await.unwrap(), std::slice::from_ref(&old));
    // Read on behind what was dropped.
    fixture.fill(&bus, 16).await;
    reader.read(16).await;

    let impatient = impatient(&fixture).await;
    let other = impatient
        .subscribe("unread", &fixture.topic, BatchLimits::default())
        .await
        .unwrap();
    three_days_ago(&mut connection).await;
    assert!(
        bus.sweep().await.unwrap().is_empty(),
        "one group has not read it"
    );
    assert_eq!(impatient.sweep().await.unwrap(), [old]);
    // The group that is behind goes on with what there is.
    let mut other = Reader::new(other);
    while !matches!(other.next().await, Event::Assigned(_)) {}
    fixture.fill(&bus, 16).await;
    let batch = other.batch().await;
    assert!(batch.records[0].offset > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_looks_at_a_few_rows_of_a_day_however_many_it_has() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    let mut connection = beside(&fixture).await;
    let mut reader = fixture.subscribe(&bus).await;
    reader.hold(4).await;
    reader.subscription.close().await;
    let day = three_days_ago(&mut connection).await;
    // As after a burst: nobody has looked at what is in it yet.
    for sql in [
        format!("alter table marquee_bus.{day} set (autovacuum_enabled = false)"),
        format!("vacuum analyze marquee_bus.{day}"),
        "insert into marquee_bus.records
         select t.id, i % 4, i / 4, (now() at time zone 'UTC')::date - 3, now(), 'movie', '', ''
         from marquee_bus.topics t, generate_series(0, 199999) as i"
            .to_owned(),
    ] {
        connection.batch(&sql).await.unwrap();
    }
    for _ in 0..10 {
        assert!(bus.sweep().await.unwrap().is_empty(), "it is not read");
    }
    connection
        .batch("update marquee_bus.leases set committed = 50000")
        .await
        .unwrap();
    let tid = format!("'marquee_bus.{day}'::regclass");
    // The row of the last sweep goes with the table, so the figures are taken before.
    drop(bus);
    let read = format!(
        "select (seq_tup_read + idx_tup_fetch)::bigint from pg_stat_user_tables where relid = {tid}"
    );
    eventually(PATIENCE, "the sessions have reported", async || {
        number(&mut connection, &read).await > 0
    })
    .await;
    let read = number(&mut connection, &read).await;
    assert!(read <= 500, "{read} rows were read");
    assert_eq!(open(fixture.url()).await.sweep().await.unwrap(), [day]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_goes_on_while_sweep_after_sweep_finds_the_log_locked() {
    let fixture = Fixture::embedded().await;
    let bus = impatient(&fixture).await;
    let mut connection = beside(&fixture).await;
    fixture.fill(&bus, 40).await;
    let day = three_days_ago(&mut connection).await;
    // As a dump does.
    connection
        .batch("begin; lock table marquee_bus.records in access share mode")
        .await
        .unwrap();
    // Half a second each; the lock's session is ended when it is silent for ten.
    for _ in 0..12 {
        assert!(bus.sweep().await.is_err(), "it is locked");
        publish(&bus, vec![fixture.record("movie", "x")]).await;
    }
    connection.batch("commit").await.unwrap();
    assert_eq!(bus.sweep().await.unwrap(), [day]);
}

/// The last of the days to come is not there yet.
async fn without_the_last_day(connection: &mut Connection) -> String {
    let day = word(
        connection,
        "select 'records_' || to_char((now() at time zone 'UTC')::date + 3, 'YYYYMMDD')",
    )
    .await;
    connection
        .batch(&format!("drop table marquee_bus.{day}"))
        .await
        .unwrap();
    day
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_are_made_while_the_log_is_dumped() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    let (mut dump, mut connection) = (beside(&fixture).await, beside(&fixture).await);
    let day = without_the_last_day(&mut connection).await;
    dump.batch("begin; lock table marquee_bus.records in access share mode")
        .await
        .unwrap();
    let (swept, ()) = tokio::join!(bus.sweep(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let asked_at = Instant::now();
        publish(&bus, vec![fixture.record("movie", "x")]).await;
        assert!(
            asked_at.elapsed() < Duration::from_secs(3),
            "it stood behind the sweep"
        );
    });
    swept.unwrap();
    let made = format!("select count(*) from pg_class where relname = '{day}'");
    assert_eq!(number(&mut connection, &made).await, 1);
    dump.batch("commit").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_cannot_be_made_now_is_made_later_and_holds_nobody_up() {
    let fixture = Fixture::embedded().await;
    let _bus = open(fixture.url()).await;
    let (mut other, mut connection) = (beside(&fixture).await, beside(&fixture).await);
    let day = without_the_last_day(&mut connection).await;
    // As somebody does who changes the table.
    other
        .batch("begin; lock table marquee_bus.records in share update exclusive mode")
        .await
        .unwrap();
    let opened_at = Instant::now();
    // A host that starts now does not wait for it either.
    let second = open(fixture.url()).await;
    publish(&second, vec![fixture.record("movie", "x")]).await;
    assert!(opened_at.elapsed() < Duration::from_secs(5));
    let made = format!("select count(*) from pg_class where relname = '{day}'");
    assert_eq!(number(&mut connection, &made).await, 0);
    other.batch("commit").await.unwrap();
    eventually(PATIENCE, "the day is made by itself", async || {
        number(&mut connection, &made).await == 1
    })
    .await;
}
