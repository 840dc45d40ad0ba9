//! Starting with nothing, starting again, and ending.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use marquee_import::api::{Client, Movie};
use marquee_testkit::eventually;

use crate::{
    host::{Host, Setup},
    raw,
};

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_configured_it_starts_what_it_needs_and_keeps_the_data() {
    let setup = Setup::nothing();
    let host = setup.start().await;
    let client = Client::new(&host.url, 2, Duration::from_secs(30)).expect("a client");
    let movie = Movie {
        title: "Vertigo".into(),
        year: Some(1958),
        description: String::new(),
        director: "Alfred Hitchcock".into(),
    };
    let kept = client.keep(&movie).await.expect("kept").id().to_owned();
    let begun = Instant::now();
    let (status, log) = host.stop("INT").await;
    assert!(status.success(), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it stops within ten seconds"
    );

    let host = setup.start().await;
    let client = Client::new(&host.url, 2, Duration::from_secs(30)).expect("a client");
    let found = client.find("Vertigo", None).await.expect("found");
    assert_eq!((&found[0].id, found[0].year), (&kept, Some(1958)));
    // Killed, it leaves its server behind; the next start takes that over.
    host.kill();
    let host = setup.start().await;
    let ready = raw::request(
        host.admin.trim_start_matches("http://"),
        "GET /readyz",
        &[],
        "",
    )
    .await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let (status, log) = host.stop("TERM").await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_session_holds_the_migrations_lock_it_is_alive_says_so_and_ends_at_a_signal()
{
    // One database is given, and locked; for the others it starts a server of its own.
    let setup = Setup::application("spin.toml", &["RATING"]).await;
    let other = setup.connect("RATING").await;
    let lock = "set application_name = 'another host'; select pg_advisory_lock(7305803100242)";
    other.batch_execute(lock).await.expect("it has the lock");
    let (public, admin) = (free_address(), free_address());
    let host = setup.launch(&public, &admin);
    eventually(PATIENCE, "it says what it waits for", async || {
        let log = host.log();
        log.contains("database rating: the migrations' lock is held by session")
            && log.contains("another host")
    })
    .await;
    let alive = raw::request(&admin, "GET /healthz", &[], "").await;
    assert_eq!(alive.status, 200, "{alive:?}");
    let ready = raw::request(&admin, "GET /readyz", &[], "").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(ready.json()["status"], "starting");
    let early = raw::status(&public, "GET /v1/movies").await;
    assert_eq!(
        early, 0,
        "nobody is kept waiting for a host that is not ready"
    );

    let begun = Instant::now();
    ends(host, &setup).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    // The lock was not taken from anybody.
    let held = "select pg_advisory_unlock(7305803100242)";
    let held = other.query_one(held, &[]).await.expect("an answer");
    assert!(held.get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_http_client_asks_by_a_verb_whether_it_is_ready() {
    let setup = Setup::application("spin.toml", &["RATING"]).await;
    let other = setup.connect("RATING").await;
    let lock = "select pg_advisory_lock(7305803100242)";
    other.batch_execute(lock).await.expect("it has the lock");
    let admin = free_address();
    let setup = setup
        .with("MARQUEE_ADMIN_LISTEN", &admin)
        .with("SPIN_VARIABLE_AUTH", "open");
    let health = || {
        let output = setup.verb(&["health"]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("text"))
    };
    let (code, said) = health();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no host answers at"), "{said}");
    let host = setup.launch("127.0.0.1:0", &admin);
    eventually(PATIENCE, "it says that it is starting", async || {
        let (code, said) = health();
        code == Some(1) && said.contains("starting; start: migrates")
    })
    .await;
    let unlock = "select pg_advisory_unlock(7305803100242)";
    other.batch_execute(unlock).await.expect("it is free");
    eventually(PATIENCE, "it is ready", async || {
        health() == (Some(0), "ready\n".into())
    })
    .await;
    let (status, log) = host.stop("TERM").await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_of_the_first_start_leaves_no_server_behind() {
    let setup = Setup::nothing();
    let host = setup.launch("127.0.0.1:0", "127.0.0.1:0");
    let postgres = setup.data().join("postgres");
    eventually(PATIENCE, "it makes its databases", async || {
        postgres.exists()
    })
    .await;
    ends(host, &setup).await;
    // And what it left is as good as new.
    let (status, log) = setup.start().await.stop("TERM").await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_stopped_leaves_no_server_behind() {
    let setup = Setup::application("spin.toml", &["RATING"]).await;
    let other = setup.connect("RATING").await;
    let lock = "select pg_advisory_lock(7305803100242)";
    other.batch_execute(lock).await.expect("it has the lock");
    let mut migrate = setup.command(&["migrate"]).spawn().expect("it runs");
    let process = setup.data().join("postgres/data/postmaster.pid");
    eventually(PATIENCE, "its server is there", async || process.exists()).await;
    let sent = Command::new("kill").arg(migrate.id().to_string()).status();
    assert!(sent.expect("kill").success());
    let mut status = None;
    eventually(PATIENCE, "it ends", async || {
        status = migrate.try_wait().expect("its state");
        status.is_some()
    })
    .await;
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    assert!(!process.exists(), "its server is stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_drains_before_it_stops_listening_and_no_client_delays_its_end() {
    let setup = Setup::application("examples/hello/spin.toml", &[]).await;
    let setup = setup
        .with("MARQUEE_DRAIN_DELAY", "2s")
        .with("MARQUEE_GRACE", "2s");
    let host = setup.start().await;
    let address = host.address().to_owned();
    let admin = host.admin.trim_start_matches("http://").to_owned();
    let client = {
        let address = address.clone();
        tokio::task::spawn(async move { raw::take_nothing(&address, "/Ada").await })
    };
    let begun = Instant::now();
    host.signal("TERM");
    eventually(PATIENCE, "it says that it drains", async || {
        raw::request(&admin, "GET /readyz", &[], "").await.status == 503
    })
    .await;
    let ready = raw::request(&admin, "GET /readyz", &[], "").await;
    assert_eq!(ready.json()["status"], "draining");
    assert_eq!(raw::status(&address, "GET /Ada").await, 200, "it serves on");
    assert!(begun.elapsed() < Duration::from_secs(2));
    eventually(PATIENCE, "it listens no more", async || {
        raw::status(&address, "GET /Ada").await == 0
    })
    .await;
    let (status, log) = host.ended(PATIENCE).await;
    assert!(status.success(), "{log}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(log.contains("connections did not end in time"), "{log}");
    client.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_its_server_too() {
    let setup = Setup::nothing().with("MARQUEE_DRAIN_DELAY", "10m");
    let host = setup.start().await;
    host.signal("INT");
    eventually(PATIENCE, "it has heard", async || {
        host.log().contains("a second signal ends the wait")
    })
    .await;
    let (status, log) = host.stop_within("INT", Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(1), "{log}");
    let process = setup.data().join("postgres/data/postmaster.pid");
    eventually(PATIENCE, "its server has ended", async || !process.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_a_socket_in_the_file_system() {
    let setup = Setup::application("examples/hello/spin.toml", &[]).await;
    let path = setup.data().join("public.sock");
    let address = format!("unix:{}", path.display());
    let ask = b"GET /Ada HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let host = setup.start_at(&address).await;
    assert_eq!(host.url, address);
    assert_eq!(raw::send_to_file(&path, ask).await.status, 200);
    // What a killed host leaves makes room.
    host.kill();
    let host = setup.start_at(&address).await;
    assert_eq!(raw::send_to_file(&path, ask).await.status, 200);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    let setup = Setup::application("examples/hello/spin.toml", &[]).await;
    let flags = ["up", "--log", "trace", "--listen", "127.0.0.1:0"];
    let flags = [&flags[..], &["--admin-listen", "127.0.0.1:0"]].concat();
    // Its standard error is a pipe that is soon full.
    let mut host = setup.speechless(&flags);
    let serving = host.until("serving");
    let address = serving.rsplit('/').next().expect("its address").trim();
    for _ in 0..300 {
        assert_eq!(raw::status(address, "GET /Ada").await, 200);
    }
    let admin = setup.data().join("admin.sock");
    let ask = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    eventually(PATIENCE, "lines that nobody got are counted", async || {
        assert_eq!(raw::status(address, "GET /Ada").await, 200);
        let metrics = raw::send_to_file(&admin, ask).await.body;
        let mut lines = metrics.lines();
        let dropped = lines.find_map(|line| line.strip_prefix("marquee_log_lines_dropped_total "));
        dropped.expect("it is told") != "0"
    })
    .await;
}

/// It ends at a signal, in good order, and so does the server that it started.
async fn ends(host: Host, setup: &Setup) {
    let (status, log) = host.stop_within("TERM", PATIENCE).await;
    assert!(status.success(), "{status}: {log}");
    assert!(!log.contains("serving"), "it did not go on: {log}");
    let process = setup.data().join("postgres/data/postmaster.pid");
    assert!(!process.exists(), "a server was left behind: {log}");
}

fn free_address() -> String {
    format!("127.0.0.1:{}", marquee_testkit::free_port())
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_description_and_its_page_are_served() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let document = raw::request(host.address(), "GET /openapi.json", &[], "").await;
    assert_eq!(document.status, 200);
    assert_eq!(
        document.json()["openapi"]
            .as_str()
            .map(|version| &version[..3]),
        Some("3.1")
    );
    let page = raw::request(host.address(), "GET /docs", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.body.contains("https://"),
        "nothing is fetched from elsewhere"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_forget_what_it_acknowledged_is_refused() {
    let setup = Setup::databases().await;
    let client = setup.connect("RATING").await;
    let sql = "do $$ begin
        execute format('alter database %I set synchronous_commit = off', current_database());
    end $$";
    client.batch_execute(sql).await.expect("altered");

    let setup = setup.with("MARQUEE_ALLOW_UNSAFE_DATABASE", "false");
    let said = setup.refused().await;
    assert!(
        said.contains("synchronous_commit") && said.contains("--allow-unsafe-database"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_movie_systems_contract_does_not_bind_who_has_its_port_later() {
    let host = Setup::databases().await.start().await;
    let address = host.address().to_owned();
    host.kill();
    let other = Setup::application("examples/hello/spin.toml", &[]).await;
    let other = other.start_at(&address).await;
    let answer = raw::request(other.address(), "GET /Ada", &[], "").await;
    assert_eq!(answer.body, "Hello, Ada!\n");
}
