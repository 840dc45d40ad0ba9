//! A consumer that finds another log under its position: the bus was changed, emptied or restored, or a topic was made
//! again. The old position lies within the new log, so that whoever believed it would pass over what stands before it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use marquee_testkit::{broker, eventually};
use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    bus::PATIENCE,
    consumers::{count, embedded, manifest, on, seen, subscribed},
    host::{Host, Setup},
    releases::done,
};

/// Publish so many messages of one key.
async fn publish(database: &Client, amount: i64) {
    let sql = "select marquee.publish('numbers', 'key', '{}', convert_to('[\"tag\", 1]', 'utf8'))
        from generate_series(1, $1::bigint)";
    let published = database.execute(sql, &[&amount]).await;
    published.expect("published");
}

/// A host whose consumer has applied three messages.
async fn three_applied(setup: &Setup) -> (Host, Client) {
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, 3).await;
    eventually(PATIENCE, "they are applied", async || {
        seen(&database).await == 3
    })
    .await;
    (host, database)
}

/// A consumer has applied three messages of one log; another log is filled before it comes back.
async fn goes_on_in_another_log(
    folder: &Path,
    setup: Setup,
    change: impl AsyncFnOnce(Setup) -> Setup,
) {
    let (host, database) = three_applied(&setup).await;
    let (status, _) = host.stop("TERM").await;
    assert!(status.success());

    let setup = change(setup).await;
    fill(folder, &setup, &database).await;
    let host = setup.start().await;
    none_is_passed_over(&setup, &host, &database).await;
}

/// Ten messages more, published by a host that consumes nothing.
async fn fill(folder: &Path, setup: &Setup, database: &Client) {
    let folder = folder.join("publisher");
    fs::create_dir(&folder).expect("a folder");
    let publisher = manifest(&folder, "", "");
    let publishing = setup.release(publisher.to_str().expect("text"));
    let host = publishing.start().await;
    publish(database, 10).await;
    eventually(PATIENCE, "they are on the bus", async || {
        count(database, "select count(*) from marquee.outbox").await == 0
    })
    .await;
    let audited = publishing.verb(&["audit"]);
    let found = String::from_utf8_lossy(&audited.stdout).into_owned();
    assert!(found.contains("what is in it is not read yet"), "{found}");
    let (status, _) = host.stop("TERM").await;
    assert!(status.success());
}

async fn none_is_passed_over(setup: &Setup, host: &Host, database: &Client) {
    eventually(PATIENCE, "all are applied", async || {
        seen(database).await == 13
    })
    .await;
    let log = host.log();
    assert!(log.contains("the position is one of another log"), "{log}");
    eventually(PATIENCE, "the audit is clean", async || {
        setup.verb(&["audit"]).status.success()
    })
    .await;
    let listed = done(setup, &["messages", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
}

fn counter(folder: &Path) -> PathBuf {
    manifest(folder, "", &subscribed(""))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_when_the_embedded_bus_was_emptied() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = embedded(counter(folder.path())).await;
    goes_on_in_another_log(folder.path(), setup, async |setup| {
        let bus = setup.connect("BUS").await;
        let sql = "truncate marquee_bus.topics cascade";
        bus.batch_execute(sql).await.expect("emptied");
        setup
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_when_kafka_is_another_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = tokio::join!(broker(), broker());
    let setup = on(&old, counter(folder.path())).await;
    goes_on_in_another_log(folder.path(), setup, async |setup| {
        setup.with("KAFKA_BROKERS", new.brokers())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_when_the_topic_was_made_again_on_kafka() {
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = broker().await;
    let setup = on(&kafka, counter(folder.path())).await;
    goes_on_in_another_log(folder.path(), setup, async |setup| {
        kafka.delete_topic("numbers").await;
        setup
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_when_the_bus_is_kafka_instead_of_the_embedded_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = embedded(counter(folder.path())).await;
    let kafka = broker().await;
    goes_on_in_another_log(folder.path(), setup, async |setup| {
        setup.with("KAFKA_BROKERS", kafka.brokers())
    })
    .await;
}

/// The consumer's host stands still meanwhile: it finds the new log where it left the old one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_when_the_topic_is_made_again_under_a_host_on_kafka() {
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = broker().await;
    let setup = on(&kafka, counter(folder.path())).await;
    let (host, database) = three_applied(&setup).await;
    host.signal("STOP");
    kafka.delete_topic("numbers").await;
    fill(folder.path(), &setup, &database).await;
    host.signal("CONT");
    none_is_passed_over(&setup, &host, &database).await;
}
