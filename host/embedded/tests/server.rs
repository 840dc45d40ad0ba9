//! A server of the machine's own programs, in a folder of the test's own.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a connection's task ends with its test; what fails fails the test"
)]

use std::time::{Duration, Instant};

use marquee_embedded::{Error, Options, Server};
use tokio_postgres::NoTls;

/// Under the system's temporary folder, which any user may enter.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("others may enter");
    folder
}

async fn ask(url: &str, sql: &str) -> Vec<tokio_postgres::Row> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("it answers");
    let connection = tokio::task::spawn(connection);
    let rows = client.query(sql, &[]).await.expect("a statement");
    drop(client);
    let _ = connection.await;
    rows
}

#[tokio::test]
async fn a_second_start_is_quick_and_has_the_data_of_the_first() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("a first start");
    assert!(!server.was_adopted());
    server.create_database("movies").await.expect("a database");
    ask(
        &server.url("movies"),
        "create table kept as select 42 as answer",
    )
    .await;
    server.stop().await.expect("a stop");

    let begun = Instant::now();
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("a second start");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "far below what a person would call slow"
    );
    server
        .create_database("movies")
        .await
        .expect("it is there already");
    let rows = ask(&server.url("movies"), "select answer from kept").await;
    assert_eq!(rows[0].get::<_, i32>(0), 42);
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_server_that_its_host_left_behind_is_taken_over() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("a first start");
    // What a killed host leaves: the server runs, nobody holds the lock.
    drop(server);
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("it is taken over");
    assert!(server.was_adopted());
    ask(&server.url("postgres"), "select 1").await;
    server.stop().await.expect("and can be stopped");
}

#[tokio::test]
async fn two_hosts_do_not_share_a_folder() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("the first");
    let second = Server::start(Options::new(folder.path())).await;
    assert!(matches!(second, Err(Error::InUse(_))), "{second:?}");
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn it_is_durable_unless_told_otherwise() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("a start");
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let rows = ask(&server.url("postgres"), &format!("show {setting}")).await;
        assert_eq!(rows[0].get::<_, &str>(0), "on", "{setting}");
    }
    server.stop().await.expect("a stop");
}
