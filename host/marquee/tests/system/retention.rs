//! What a consumer finds when the bus's retention has passed it.

use marquee_testkit::{broker, eventually};
use serde_json::Value;

use crate::{
    bus::{PATIENCE, client, film, served},
    host::Setup,
    releases::{done, refused},
};

/// What the audit counts as lost, and its findings.
fn audited(setup: &Setup) -> (i64, String) {
    let output = setup.verb(&["audit", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let databases = report["databases"].as_array().expect("a list");
    let accounts = databases
        .iter()
        .flat_map(|database| database["accounts"].as_array().expect("a list"));
    let lost = accounts
        .filter_map(|account| account["lost"].as_i64())
        .sum();
    let findings = databases
        .iter()
        .map(|database| database["findings"].to_string());
    (lost, findings.collect())
}

fn lag(setup: &Setup) -> i64 {
    let output = setup.verb(&["consumers", "list", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut all = all.as_array().expect("a list").iter();
    let of = all.find(|it| it["consumer"] == "rating" && it["topic"] == "ratings");
    of.and_then(|it| it["lag"].as_i64()).unwrap_or_default()
}

/// Messages that the bus has of the topic.
fn kept(setup: &Setup) -> i64 {
    let output = setup.verb(&["topics", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut all = all.as_array().expect("a list").iter();
    let of = all.find(|it| it["topic"] == "ratings");
    of.and_then(|it| it["messages"].as_i64()).expect("a number")
}

/// Five ratings wait while the consumer is paused; `passes` drops all that the topic has, while no host runs.
async fn what_is_lost_is_counted_and_said(setup: &Setup, passes: impl AsyncFnOnce()) -> String {
    let host = setup.start().await;
    let first = client(&host.url);
    let movie = first.keep(&film("Vertigo")).await.expect("kept");
    first.rate(movie.id(), "ann", 8).await.expect("accepted");
    served(&first, movie.id(), 1, 8.0).await;
    done(setup, &["consumers", "pause", "rating", "ratings"]);
    for user in 0..5 {
        let user = format!("user-{user}");
        first.rate(movie.id(), &user, 1).await.expect("accepted");
    }
    eventually(PATIENCE, "they wait", async || lag(setup) == 5).await;
    let (status, _) = host.stop("TERM").await;
    assert!(status.success());
    passes().await;

    let host = setup.start().await;
    eventually(PATIENCE, "they are dropped", async || kept(setup) == 0).await;
    done(setup, &["consumers", "resume", "rating", "ratings"]);
    eventually(PATIENCE, "each is counted", async || audited(setup).0 == 5).await;
    let (_, findings) = audited(setup);
    assert!(
        findings.contains("the bus's retention dropped"),
        "{findings}"
    );
    let second = client(&host.url);
    second.rate(movie.id(), "bob", 6).await.expect("accepted");
    served(&second, movie.id(), 2, 7.0).await;
    let (status, log) = host.stop("TERM").await;
    assert!(status.success());
    assert!(
        log.contains("ERROR") && log.contains("before the consumer read them"),
        "{log}"
    );

    // A consumer that comes only now has lost nothing, but does not have everything either.
    let rating = setup.connect("RATING").await;
    let forget = "delete from marquee.positions where topic = 'ratings'";
    rating.batch_execute(forget).await.expect("forgotten");
    let host = setup.start().await;
    let third = client(&host.url);
    third.rate(movie.id(), "cid", 4).await.expect("accepted");
    served(&third, movie.id(), 3, 6.0).await;
    assert_eq!(audited(setup).0, 0);
    let (_, newest) = host.stop("TERM").await;
    assert!(newest.contains("the consumer is new;"), "{newest}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_embedded_bus_dropped_before_it_was_read_is_counted_and_said() {
    let setup = Setup::databases()
        .await
        .with("MARQUEE_BUS_RETENTION", "1day");
    let log = what_is_lost_is_counted_and_said(&setup, async || {
        let bus = setup.connect("BUS").await;
        let sql = "do $$ declare day date := (now() at time zone 'UTC')::date - 3; begin
                execute format('create table marquee_bus.records_%s partition of marquee_bus.records
                    for values from (%L) to (%L)', to_char(day, 'YYYYMMDD'), day, day + 1);
                update marquee_bus.records r set day = (now() at time zone 'UTC')::date - 3
                from marquee_bus.topics t where t.id = r.topic_id and t.name = 'ratings';
            end $$";
        bus.batch_execute(sql).await.expect("three days ago");
    })
    .await;
    assert!(
        log.contains(
            "5 messages of ratings that group movies.rating.ratings has not read are dropped"
        ),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_dropped_before_it_was_read_is_counted_and_said() {
    let kafka = broker().await;
    let setup = Setup::kafka(kafka.brokers()).await;
    what_is_lost_is_counted_and_said(&setup, async || kafka.drop_records("ratings").await).await;
}

#[test]
fn a_retention_that_would_not_be_kept_is_refused() {
    let config = |value: &str| Setup::nothing().with("MARQUEE_BUS_RETENTION", value);
    let said = done(&config("30days"), &["config"]);
    assert!(
        said.contains("bus retention") && said.contains("30days"),
        "{said}"
    );
    for (setup, expected) in [
        (config("1h"), "is not between a day and a hundred years"),
        (config("soon"), "is not a duration"),
        (
            config("30days").with("KAFKA_BROKERS", "127.0.0.1:1"),
            "is for nobody",
        ),
    ] {
        let said = refused(&setup, &["config"]);
        assert!(said.contains(expected), "{said}");
    }
}
