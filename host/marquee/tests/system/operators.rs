//! What an operator sees of events and does about them, with the command line, as one does it.

use std::{process::Output, time::Duration};

use marquee_import::api::Client;
use marquee_testkit::eventually;
use serde_json::Value;

use crate::{
    bus::{client, film, served},
    host::Setup,
    raw,
    releases::done,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn json(setup: &Setup, arguments: &[&str]) -> Value {
    let output = setup.verb(&[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// A movie of which two ratings are counted.
async fn rated(client: &Client) -> String {
    let kept = client.keep(&film("Heat")).await.expect("kept");
    client.rate(kept.id(), "ann", 8).await.expect("accepted");
    client.rate(kept.id(), "bob", 5).await.expect("accepted");
    served(client, kept.id(), 2, 6.5).await;
    kept.id().to_owned()
}

fn consumer(setup: &Setup, topic: &str) -> Value {
    let all = json(setup, &["consumers", "list"]);
    let of = |it: &&Value| it["consumer"] == "rating" && it["topic"] == topic;
    all.as_array()
        .expect("a list")
        .iter()
        .find(of)
        .cloned()
        .expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_stands_and_goes_on_where_it_stood() {
    let setup = Setup::databases().await.with("MARQUEE_HEALTH_LAG", "0");
    let host = setup.start().await;
    let client = client(&host.url);
    let movie = rated(&client).await;
    let topics = done(&setup, &["topics"]);
    assert!(topics.contains("ratings"), "{topics}");

    let said = done(&setup, &["consumers", "pause", "rating", "ratings"]);
    assert!(said.contains("rating of ratings is paused"), "{said}");
    client.rate(&movie, "cid", 5).await.expect("accepted");
    eventually(PATIENCE, "the rating waits on the bus", async || {
        consumer(&setup, "ratings")["lag"] == 1
    })
    .await;
    let listed = done(&setup, &["consumers", "list"]);
    assert!(listed.contains("paused by"), "{listed}");
    let parts = done(&setup, &["consumers", "list", "--partitions"]);
    assert!(parts.contains("paused"), "{parts}");
    // Whoever wants to know by /readyz said so.
    let admin = host.admin.trim_start_matches("http://").to_owned();
    eventually(PATIENCE, "it is behind, and says so", async || {
        let answer = raw::request(&admin, "GET /readyz", &[], "").await;
        answer.status == 503
            && answer
                .body
                .contains("rating of ratings is 1 message behind")
    })
    .await;

    done(&setup, &["consumers", "resume", "rating", "ratings"]);
    served(&client, &movie, 3, 6.0).await;
    eventually(PATIENCE, "it has caught up", async || {
        raw::request(&admin, "GET /readyz", &[], "").await.status == 200
    })
    .await;
    let history = done(&setup, &["messages", "history"]);
    assert!(
        history.contains("pause") && history.contains("resume"),
        "{history}"
    );
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_everything_once_more_and_it_adds_up() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let client = client(&host.url);
    let movie = rated(&client).await;
    let rating = setup.connect("RATING").await;
    // A projection that was spoiled is made anew from the events.
    rating
        .batch_execute(
            "delete from ratings;
            update aggregated_ratings set rating_sum = 0, rating_count = 0",
        )
        .await
        .expect("spoiled");
    assert_eq!(json(&setup, &["audit"])["sound"], true);
    let replay = [
        "consumers",
        "replay",
        "rating",
        "ratings",
        "--from",
        "earliest",
    ];
    let planned = done(&setup, &[&replay[..], &["--dry-run"]].concat());
    assert!(planned.contains("nothing is changed"), "{planned}");
    assert_eq!(consumer(&setup, "ratings")["lag"], 0);
    done(&setup, &replay);
    served(&client, &movie, 2, 6.5).await;
    eventually(PATIENCE, "it is where it was", async || {
        consumer(&setup, "ratings")["lag"] == 0
    })
    .await;
    let audit = json(&setup, &["audit"]);
    assert_eq!(audit["sound"], true, "{audit}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_adds_up_until_somebody_meddles_and_the_host_says_so_by_itself() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    rated(&client(&host.url)).await;
    let sound = setup.verb(&["audit"]);
    assert!(sound.status.success(), "{}", text(&sound));
    assert!(
        text(&sound).contains("everything adds up"),
        "{}",
        text(&sound)
    );

    let rating = setup.connect("RATING").await;
    let meddle = "update marquee.positions set records = records + 7 where topic = 'ratings' and records > 0";
    rating.execute(meddle, &[]).await.expect("meddled");
    let found = setup.verb(&["audit"]);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    assert!(text(&found).contains("not add up"), "{}", text(&found));
    eventually(
        Duration::from_secs(90),
        "the host has noticed",
        async || host.log().contains("the audit finds what does not add up"),
    )
    .await;

    done(&setup, &["audit", "accept"]);
    let sound = setup.verb(&["audit"]);
    assert!(sound.status.success(), "{}", text(&sound));
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_applications_own_audit_finds_is_told_too() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let movie = rated(&client(&host.url)).await;
    let sound = setup.verb(&["audit"]);
    assert!(sound.status.success(), "{}", text(&sound));

    let rating = setup.connect("RATING").await;
    let add = async |more: i64| {
        let sql = "update aggregated_ratings set rating_sum = rating_sum + $2 where record_id = $1";
        rating
            .execute(sql, &[&movie, &more])
            .await
            .expect("changed");
    };
    add(1).await;
    let found = setup.verb(&["audit"]);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    let wanted = format!(
        "rating: migrations/rating/audit.sql: record_type: movie, record_id: {movie}, rating_sum: 14, should_be_sum: 13, "
    );
    assert!(text(&found).contains(&wanted), "{}", text(&found));
    let report = json(&setup, &["audit"]);
    assert_eq!(report["sound"], false, "{report}");
    eventually(
        Duration::from_secs(90),
        "the host has noticed",
        async || {
            host.log()
                .contains("migrations/rating/audit.sql: record_type: movie")
        },
    )
    .await;

    add(-1).await;
    let sound = setup.verb(&["audit"]);
    assert!(sound.status.success(), "{}", text(&sound));
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_are_dealt_with_at_once_and_one_with_another_payload() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let metadata = setup.connect("METADATA").await;
    for number in 0..5 {
        let key = format!("key-{number}");
        let publish =
            "select marquee.publish('metadata', $1, '{}', convert_to('nonsense', 'utf8'))";
        metadata.execute(publish, &[&key]).await.expect("published");
    }
    let dead = || json(&setup, &["messages", "list", "--state", "dead"]);
    eventually(PATIENCE, "all five are dead", async || {
        dead().as_array().map(Vec::len) == Some(5)
    })
    .await;
    let page = json(&setup, &["messages", "list", "--limit", "2"]);
    let last = page[1]["message"].as_str().expect("its name").to_owned();
    let rest = json(&setup, &["messages", "list", "--after", &last]);
    assert_eq!(rest.as_array().map(Vec::len), Some(3));

    let all = ["--all", "--state", "dead", "--reason", "rejected"];
    let planned = done(
        &setup,
        &[&["messages", "discard"], &all[..], &["--dry-run"]].concat(),
    );
    assert!(planned.contains("5 messages would be deleted"), "{planned}");
    let key = page[1]["kept"]["key"].as_str().expect("its key").to_owned();
    let skipped = done(&setup, &["messages", "skip", "--all", "--key", &key]);
    assert!(skipped.contains("1 message is skipped"), "{skipped}");

    // One is mended, the others go.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("still nonsense");
    std::fs::write(&file, "still nonsense").expect("written");
    let id = page[0]["message"].as_str().expect("its name").to_owned();
    let file = file.to_str().expect("text");
    done(&setup, &["messages", "retry", &id, "--payload", file]);
    eventually(PATIENCE, "it was tried, and is dead again", async || {
        let shown = json(&setup, &["messages", "show", &id]);
        shown["kept"]["state"] == "dead" && shown["payload"] == "still nonsense"
    })
    .await;
    let discarded = done(
        &setup,
        &[&["messages", "discard"], &all[..], &["--rate", "2"]].concat(),
    );
    assert!(discarded.contains("4 messages are deleted"), "{discarded}");
    let left = json(&setup, &["messages", "list"]);
    assert_eq!(
        left.as_array().map(Vec::len),
        Some(1),
        "the skipped one: {left}"
    );
    let audit = json(&setup, &["audit"]);
    assert_eq!(audit["sound"], true, "{audit}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_refuses_is_seen_and_goes_when_a_person_says_so() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let metadata = setup.connect("METADATA").await;
    // Nothing makes a topic that the manifest does not name.
    for value in ["first", "second"] {
        let publish = "select marquee.publish('nowhere', 'k', '{}', convert_to($1, 'utf8'))";
        metadata
            .execute(publish, &[&value])
            .await
            .expect("published");
    }
    let outbox = || json(&setup, &["outbox", "list"])[0]["outbox"].clone();
    eventually(
        PATIENCE,
        "the first is refused, the second waits",
        async || {
            let outbox = outbox();
            outbox["aside"] == 2 && outbox["refused"][0]["behind"] == 1
        },
    )
    .await;
    // Everything else goes on.
    rated(&client(&host.url)).await;
    let listed = done(&setup, &["outbox", "list"]);
    assert!(listed.contains("there is no topic nowhere"), "{listed}");
    let id = format!("metadata/{}", outbox()["refused"][0]["id"]);
    let said = done(&setup, &["outbox", "retry", &id]);
    assert!(said.contains("asked again"), "{said}");
    let said = done(&setup, &["outbox", "discard", &id]);
    assert!(said.contains("miss number 1 of key \"k\""), "{said}");
    eventually(PATIENCE, "the second is refused in its turn", async || {
        let outbox = outbox();
        outbox["aside"] == 1 && outbox["refused"][0]["seq"] == 2
    })
    .await;
    eventually(PATIENCE, "each is counted where it went", async || {
        let outbox = outbox();
        let of = |name: &str| outbox["totals"][name].as_i64().expect("a number");
        // The movie of which the ratings are.
        let figures = ["published", "relayed", "waiting", "refused", "discarded"].map(of);
        figures == [3, 1, 1, 1, 1]
    })
    .await;
    let audit = json(&setup, &["audit"]);
    assert_eq!(audit["sound"], true, "{audit}");
    assert_eq!(audit["databases"][0]["outbox"], outbox()["totals"]);
    let gone = setup.verb(&["outbox", "discard", &id]);
    assert_eq!(gone.status.code(), Some(1), "{}", text(&gone));
    let history = done(&setup, &["messages", "history"]);
    assert!(history.contains("outbox-discard"), "{history}");
    drop(host);
}
