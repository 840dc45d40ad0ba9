//! The servers themselves.

#![expect(
    clippy::disallowed_methods,
    reason = "a connection's task ends with its test"
)]

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::Message as _,
    producer::{FutureProducer, FutureRecord},
};
use tokio_postgres::NoTls;

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) = (
        marquee_testkit::database().await,
        marquee_testkit::database().await,
    );
    assert_ne!(one.name(), two.name());
    for database in [&one, &two] {
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls)
            .await
            .expect("it answers");
        tokio::task::spawn(connection);
        client
            .batch_execute("create table mine ()")
            .await
            .expect("nobody else has one");
    }
}

#[tokio::test]
async fn what_is_produced_to_kafka_is_consumed_from_it() {
    let brokers = marquee_testkit::kafka().await;
    let topic = marquee_testkit::unique("topic");
    let config = |extra: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &brokers);
        for (name, value) in extra {
            config.set(*name, *value);
        }
        config
    };
    let admin: AdminClient<DefaultClientContext> = config(&[]).create().expect("an admin client");
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    admin
        .create_topics([&new], &AdminOptions::new())
        .await
        .expect("a topic");
    let producer: FutureProducer = config(&[("acks", "all")]).create().expect("a producer");
    let record = FutureRecord::to(&topic).key("k").payload("v");
    producer
        .send(record, Duration::from_secs(10))
        .await
        .expect("acknowledged");
    let consumer: BaseConsumer = config(&[("group.id", &topic), ("auto.offset.reset", "earliest")])
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&topic]).expect("subscribed");
    let read = tokio::task::spawn_blocking(move || {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            match consumer.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => return message.payload().map(<[u8]>::to_vec),
                // A new topic is not known to every part of the broker at once.
                passing => assert!(std::time::Instant::now() < deadline, "{passing:?}"),
            }
        }
    });
    assert_eq!(read.await.expect("no panic"), Some(b"v".to_vec()));
}

#[tokio::test]
async fn a_server_of_a_tests_own_keeps_its_data_over_a_crash() {
    let mut server = marquee_testkit::postgres().await;
    server.create_database("kept").await;
    let connect = async |url: String| {
        let (client, connection) = tokio_postgres::connect(&url, NoTls)
            .await
            .expect("it answers");
        tokio::task::spawn(connection);
        client
    };
    connect(server.url("kept"))
        .await
        .batch_execute("create table t as select 1 as a")
        .await
        .expect("a table");
    server.stop_immediately().await;
    server.start().await;
    let rows = connect(server.url("kept"))
        .await
        .query("select a from t", &[])
        .await
        .expect("it is there");
    assert_eq!(rows.len(), 1);
}

/// Start a program and read the first line that it prints.
fn first_line(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    (child, line.trim().to_owned())
}

#[tokio::test]
async fn a_database_goes_with_its_test() {
    let database = marquee_testkit::database().await;
    let url = database.url().to_owned();
    drop(database);
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
}

#[tokio::test]
async fn a_server_whose_host_was_killed_is_taken_over_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("open");
    let program = env!("CARGO_BIN_EXE_hold-postgres");
    let (mut host, url) = first_line(Command::new(program).arg(folder.path()));
    host.kill().expect("SIGKILL");
    host.wait().expect("it is gone");
    let options = marquee_embedded::Options::new(folder.path());
    let server = marquee_embedded::Server::start(options)
        .await
        .expect("it is taken over");
    assert!(server.was_adopted());
    assert_eq!(server.url("postgres"), url);
    server.stop().await.expect("and stopped");
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
}

#[tokio::test]
async fn servers_of_a_run_end_with_it_even_when_it_is_killed() {
    let (mut run, url) = first_line(
        Command::new(env!("CARGO_BIN_EXE_with-servers"))
            .args(["sh", "-c", "echo $DATABASE_URL_TEST; exec sleep 60"])
            .env_remove("DATABASE_URL_TEST")
            // This test is about one server; the broker's guardian is the same code.
            .env("KAFKA_BROKERS_TEST", "unused"),
    );
    let url = format!("{url}/postgres");
    let answers = async || tokio_postgres::connect(&url, NoTls).await.is_ok();
    assert!(answers().await, "{url}");
    run.kill().expect("SIGKILL");
    run.wait().expect("it is gone");
    let gone = async || !answers().await;
    marquee_testkit::eventually(Duration::from_secs(20), "the server is gone", gone).await;
}

async fn through(proxy: &marquee_testkit::Proxy, database: &str) -> Option<tokio_postgres::Client> {
    let url = format!("postgres://postgres@{}/{database}", proxy.addr());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
    tokio::task::spawn(connection);
    Some(client)
}

#[tokio::test]
async fn the_proxy_counts_round_trips_delays_cuts_and_heals() {
    let server = marquee_testkit::postgres().await;
    let address = server.url("postgres");
    let address = address.split(['@', '/']).nth(3).expect("an address");
    let proxy = marquee_testkit::proxy(address.parse().expect("an address")).await;

    let client = through(&proxy, "postgres")
        .await
        .expect("it is let through");
    let before = proxy.round_trips();
    for _ in 0..3 {
        client.batch_execute("select 1").await.expect("a statement");
    }
    assert_eq!(proxy.round_trips() - before, 3);

    let delay = Duration::from_millis(150);
    proxy.delay(delay);
    let begun = std::time::Instant::now();
    client.batch_execute("select 1").await.expect("a statement");
    assert!(begun.elapsed() >= delay);
    proxy.delay(Duration::ZERO);

    proxy.cut();
    let cut = client.batch_execute("select 1").await;
    assert!(cut.is_err(), "connections are closed");
    assert!(
        through(&proxy, "postgres").await.is_none(),
        "and none is let in"
    );
    proxy.heal();
    let client = through(&proxy, "postgres")
        .await
        .expect("it is let through again");
    client.batch_execute("select 1").await.expect("a statement");
}

#[tokio::test]
#[should_panic(expected = "pigs fly")]
async fn what_never_becomes_true_is_named() {
    marquee_testkit::eventually(Duration::from_millis(50), "pigs fly", async || false).await;
}

#[tokio::test]
async fn databases_of_runs_that_were_killed_are_swept_and_others_are_not() {
    let server = marquee_testkit::postgres().await;
    // A UUIDv7 of the year 2020, one of the year 2100, and a name that only looks like one.
    let old = "test_016f5e66e8007000800000000000abcd";
    let young = "test_03bb2cc3d8007000800000000000abcd";
    let others = "test_bench";
    for name in [old, young, others] {
        server.create_database(name).await;
    }
    let run = Command::new(env!("CARGO_BIN_EXE_with-servers"))
        .args(["true"])
        .env("DATABASE_URL_TEST", server.url("postgres"))
        .env("KAFKA_BROKERS_TEST", "unused")
        .status()
        .expect("it runs");
    assert!(run.success());
    for (name, is_there) in [(old, false), (young, true), (others, true)] {
        let answer = tokio_postgres::connect(&server.url(name), NoTls).await;
        assert_eq!(answer.is_ok(), is_there, "{name}");
    }
}
