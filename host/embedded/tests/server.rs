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
    server.leave();
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

/// The process that a folder names, if it runs.
fn process(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    let text = std::fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    let process = std::path::Path::new("/proc").join(text.lines().next()?);
    process.exists().then_some(process)
}

async fn ends(folder: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while process(folder).is_some() {
        assert!(Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_server_that_nobody_has_any_more_stops_and_keeps_its_data() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("a start");
    ask(&server.url("postgres"), "create table kept ()").await;
    drop(server);
    ends(folder.path()).await;
    let server = Server::start(Options::new(folder.path()))
        .await
        .expect("a start");
    ask(&server.url("postgres"), "table kept").await;
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_first_start_that_is_broken_off_leaves_nothing_that_a_second_one_stumbles_over() {
    let folder = folder();
    let making = || {
        let entries = std::fs::read_dir(folder.path()).expect("the folder");
        let mut names = entries.flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with("making-"))
    };
    // As a version before left it: a folder, and nothing in it.
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    let options = Options::new(folder.path());
    tokio::select! {
        _ = Server::start(options.clone()) => panic!("it was not broken off"),
        () = async {
            while !making() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    assert!(!folder.path().join("data/PG_VERSION").exists());
    let server = Server::start(options).await.expect("a second start");
    assert!(!making(), "what was left is gone");
    server.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_server_behind() {
    let folder = folder();
    let first = Server::start(Options::new(folder.path()))
        .await
        .expect("a start");
    first.stop().await.expect("a stop");
    let wrong = "this is no setting";
    let settings = folder.path().join("data/postgresql.auto.conf");
    std::fs::write(settings, wrong).expect("written");
    let failed = Server::start(Options::new(folder.path())).await;
    let error = failed.expect_err("it cannot start").to_string();
    assert!(error.contains("postgresql.auto.conf"), "{error}");
    ends(folder.path()).await;
}

#[tokio::test]
async fn data_of_another_version_are_said_to_be_that_with_the_way_out() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join("PG_VERSION"), "9\n").expect("written");
    let failed = Server::start(Options::new(folder.path())).await;
    let error = failed.expect_err("it is too old").to_string();
    assert!(error.contains("has the data of PostgreSQL 9"), "{error}");
    assert!(error.contains("apt-get install postgresql-9"), "{error}");
}
