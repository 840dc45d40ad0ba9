//! Databases that a host cannot work on: told at the start, or while they are so.

use std::time::Duration;

use futures::future::join_all;
use marquee_database::{Config, Database, Error, Secret};
use marquee_testkit::eventually;

use crate::{
    host::{Host, Setup},
    pooler::{Mode, pooler},
    raw,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_keeps_no_unicode_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let setup = Setup::databases().await;
        let (_, name) = setup.url("RATING").rsplit_once('/').expect("a name");
        let beside = setup.connect("METADATA").await;
        for sql in [
            format!("drop database {name}"),
            format!(
                "create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
            ),
        ] {
            beside.batch_execute(&sql).await.expect("done");
        }
        let said = setup.refused().await;
        assert!(
            said.contains(&format!("database rating has the encoding {encoding}"))
                && said.contains("encoding 'UTF8'"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused() {
    let setup = Setup::databases().await;
    let pooler = pooler(setup.server("RATING"), Mode::Transaction).await;
    let setup = setup.through("RATING", pooler.addr);
    let said = setup.refused().await;
    assert!(
        said.contains("database rating is behind a pooler") && said.contains("in session mode"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_drops_what_sessions_ask_for_is_refused() {
    let setup = Setup::databases().await;
    let pooler = pooler(setup.server("RATING"), Mode::Session).await;
    let setup = setup.through("RATING", pooler.addr);
    let said = setup.refused().await;
    assert!(
        said.contains("database rating does not give its sessions what they ask for")
            && said.contains("statement_timeout is 0 and not 5000")
            && said.contains("passes on `options`"),
        "{said}"
    );
}

/// From now on new sessions are as this says; it takes nothing away from those that are there.
async fn alter(beside: &tokio_postgres::Client, change: &str) {
    let sql = format!(
        "do $$ begin
            execute format('alter database %I {change}', current_database());
        end $$"
    );
    beside.batch_execute(&sql).await.expect("altered");
}

async fn create(host: &Host, title: &str) -> u16 {
    let body = format!(r#"{{"title": "{title}", "description": "", "director": "Somebody"}}"#);
    let headers = ["content-type: application/json"];
    raw::request(host.address(), "POST /v1/movies", &headers, &body)
        .await
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_database_can_only_be_read_the_host_is_not_ready_and_afterwards_all_sessions_write()
{
    const AT_ONCE: usize = 24;
    let setup = Setup::databases().await;
    let beside = [setup.connect("METADATA").await, setup.connect("BUS").await];
    let host = setup.start().await;
    assert_eq!(create(&host, "Before").await, 201);
    let admin = host.admin.trim_start_matches("http://");
    let ready = async || raw::request(admin, "GET /readyz", &[], "").await;

    for database in &beside {
        alter(database, "set default_transaction_read_only = on").await;
        let end = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        database.batch_execute(end).await.expect("ended");
    }
    eventually(PATIENCE, "it says what cannot be written", async || {
        let said = ready().await;
        let reason = "can be read and not written: default_transaction_read_only is on";
        said.status == 503
            && said.body.contains(&format!("database metadata {reason}"))
            && said.body.contains(&format!("database bus {reason}"))
            && !said.body.contains("database rating")
    })
    .await;
    assert_eq!(create(&host, "Meanwhile").await, 503);
    // Reading goes on, on sessions that were opened by now.
    let reads = (0..AT_ONCE).map(|_| raw::status(host.address(), "GET /v1/movies"));
    let read = join_all(reads).await;
    assert!(read.iter().all(|status| *status == 200), "{read:?}");

    // Sessions that are open stay as they are.
    for database in &beside {
        alter(database, "reset default_transaction_read_only").await;
    }
    eventually(PATIENCE, "it is ready again", async || {
        ready().await.status == 200
    })
    .await;
    let titles: Vec<String> = (0..AT_ONCE).map(|n| format!("After {n}")).collect();
    let written = join_all(titles.iter().map(|title| create(&host, title))).await;
    assert!(written.iter().all(|status| *status == 201), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_written_when_it_is_promoted() {
    let primary = marquee_testkit::postgres().await;
    primary.create_database("data").await;
    let standby = primary.standby().await;
    let url = standby.url("data");
    let database = Database::new(&Config::new("data", Secret::new(&url))).expect("a pool");
    let error = database.ping().await.expect_err("it only reads");
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    assert!(error.to_string().ends_with("the server is a standby"));
    let mut connection = database.connection().await.expect("it can be read");
    let promote = "select pg_promote()";
    connection.query(promote, &[]).await.expect("promoted");
    eventually(PATIENCE, "it can be written", async || {
        database.ping().await.is_ok()
    })
    .await;
    let sql = "create table notes ()";
    connection.batch(sql).await.expect("it is written");
}

const PATIENCE: Duration = Duration::from_secs(30);
