//! A host on Kafka as people run it: with TLS and a log-in, and with a log that is damaged.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use marquee_bus::{Bus as _, Outgoing, Record, kafka};
use marquee_database::Secret;
use marquee_testkit::{broker, eventually, kafka_server};

use crate::{
    bus::{PATIENCE, client, film, rated_and_served, rated_on, served},
    host::Setup,
    raw,
    releases::done,
};

/// A setup with this `[kafka]` in its runtime config file.
async fn configured(folder: &Path, kafka: &str) -> Setup {
    let file = folder.join("marquee.toml");
    fs::write(&file, format!("[kafka]\n{kafka}")).expect("a file");
    let setup = Setup::databases().await;
    setup.with("MARQUEE_RUNTIME_CONFIG", &file.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_scram_with_its_password_in_a_file_a_rating_is_in_the_average() {
    let server = broker().await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("password"), kafka_server::PASSWORD).expect("a file");
    let setup = configured(
        folder.path(),
        &format!(
            r#"brokers = "{}"
security.protocol = "SASL_SSL"
ssl.ca.location = "{}"
sasl.mechanism = "SCRAM-SHA-512"
sasl.username = {{ from-env = "KAFKA_USER" }}
sasl.password = {{ from-file = "password" }}
compression.type = "zstd"
"#,
            server.secure_brokers(),
            server.certificate().display(),
        ),
    )
    .await
    .with("KAFKA_USER", kafka_server::USER);
    rated_and_served(&setup).await;
    let said = done(&setup, &["config"]);
    assert!(said.contains("kafka sasl.password"), "{said}");
    assert!(!said.contains(kafka_server::PASSWORD), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_cluster_that_is_well_warns_of_nothing() {
    let server = broker().await;
    let setup = Setup::kafka(server.brokers()).await;
    // A broker that has only just come up is not ready for producers yet, and the client says so.
    let host = setup.start().await;
    let client = client(&host.url);
    let kept = client.keep(&film("Alien")).await.expect("kept");
    client.rate(kept.id(), "ann", 8).await.expect("accepted");
    served(&client, kept.id(), 1, 8.0).await;
    host.stop("TERM").await;

    let host = setup.start().await;
    rated_on(&host).await;
    let log = host.log();
    let warned: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#))
        // Of the test's databases, and of what the gateway is asked to do without.
        .filter(|line| !line.contains("fsync") && !line.contains("AUTH IS OPEN"))
        .collect();
    assert!(warned.is_empty(), "{warned:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_read_is_one_error_and_the_host_is_not_ready_until_it_is_mended() {
    let server = broker().await;
    let mut config = kafka::Config::new(server.brokers());
    let gzip = ("compression.type".to_owned(), Secret::new("gzip"));
    config.properties = BTreeMap::from([gzip]);
    let bus = kafka::Kafka::new(config).expect("a client");
    bus.ensure_topic("ratings", 1).await.expect("a topic");
    let record = Outgoing {
        topic: "ratings".to_owned(),
        record: Record {
            key: "movie".to_owned(),
            value: Bytes::from(vec![b'a'; 10_000]),
            headers: Vec::new(),
        },
    };
    let published = bus.publish(vec![record]).await;
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    let damage = server.damage("ratings", 0);

    let setup = Setup::kafka(server.brokers()).await;
    let host = setup.start().await;
    let admin = host.admin.trim_start_matches("http://").to_owned();
    eventually(PATIENCE, "it is not ready, and says why", async || {
        let answer = raw::request(&admin, "GET /readyz", &[], "").await;
        answer.status == 503 && answer.body.contains("rating cannot read ratings/0")
    })
    .await;
    let listed = done(&setup, &["consumers", "list"]);
    assert!(listed.contains("unreadable"), "{listed}");

    damage.mend();
    eventually(PATIENCE, "it is ready", async || {
        raw::request(&admin, "GET /readyz", &[], "").await.status == 200
    })
    .await;
    // What is no event is a dead letter: it was read.
    eventually(PATIENCE, "the record is dealt with", async || {
        done(&setup, &["messages", "list"]).contains("ratings")
    })
    .await;
    let log = host.log();
    let errors = log.matches("cannot be read, and stands still").count();
    assert_eq!(errors, 1, "{log}");
    assert!(log.contains("the partition can be read again"), "{log}");
}
