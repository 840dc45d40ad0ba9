//! What becomes of a consumer's messages when a release is no good, a delivery is slow, or something has to come first.
//! The consumer is the counter of `examples/counter`, with a manifest of the test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use marquee_testkit::{broker, eventually, kafka_server::Server};
use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    admin::ask,
    host::Setup,
    raw,
    releases::{done, guest, refused, remade, versions},
};

/// Kafka takes some seconds to share out partitions, and a message that failed may wait for as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counter, with these lines about the component and these about its subscription.
pub(crate) fn manifest(folder: &Path, component: &str, subscription: &str) -> PathBuf {
    let name = "0001_counter.sql";
    let migrations = folder.join("migrations");
    fs::create_dir_all(&migrations).expect("a folder");
    let own = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/counter/migrations"
    );
    fs::copy(Path::new(own).join(name), migrations.join(name)).expect("copied");
    let manifest = folder.join("spin.toml");
    let text = format!(
        r#"spin_manifest_version = 2
[application]
name = "counter"
[[trigger.http]]
route = "/..."
component = "counter"
[component.counter]
source = {:?}
[component.counter.tool.marquee]
database = {{ name = "counter", migrations = "migrations", pool = 4 }}
variables = {{ counter_database_url = "marquee:counter" }}
publish = ["numbers"]
{component}
{subscription}
"#,
        guest("counter")
    );
    fs::write(&manifest, text).expect("a manifest");
    manifest
}

/// The lines of a subscription.
pub(crate) fn subscribed(lines: &str) -> String {
    let of = "[[component.counter.tool.marquee.subscriptions]]\ntopic = \"numbers\"";
    format!("{of}\n{lines}")
}

/// On the embedded bus.
pub(crate) async fn embedded(manifest: PathBuf) -> Setup {
    Setup::application(manifest, &["COUNTER", "BUS"]).await
}

/// On a broker.
pub(crate) async fn on(kafka: &Server, manifest: PathBuf) -> Setup {
    let setup = Setup::application(manifest, &["COUNTER"]).await;
    setup.with("KAFKA_BROKERS", kafka.brokers())
}

/// Publish so many messages, each with a key of its own: `NAME-0` and so on.
pub(crate) async fn publish(database: &Client, name: &str, tag: &str, amount: i64) {
    let sql = "select marquee.publish('numbers', $1 || '-' || n, '{}',
            convert_to(jsonb_build_array($2::text, 1)::text, 'utf8'))
        from generate_series(0, $3::bigint - 1) as n";
    let published = database.execute(sql, &[&name, &tag, &amount]).await;
    published.expect("published");
}

pub(crate) async fn count(database: &Client, sql: &str) -> i64 {
    database.query_one(sql, &[]).await.expect("a count").get(0)
}

pub(crate) async fn seen(database: &Client) -> i64 {
    count(database, "select count(*) from seen").await
}

async fn parked(database: &Client) -> i64 {
    count(database, "select count(*) from marquee.parked").await
}

/// What the versions of the counter have had: calls, and errors among them.
fn calls(setup: &Setup) -> (u64, u64) {
    let sum = |field: &str| {
        let versions = versions(setup, "counter");
        versions.iter().filter_map(|one| one[field].as_u64()).sum()
    };
    (sum("calls"), sum("errors"))
}

fn consumer(setup: &Setup) -> Value {
    let said = done(setup, &["consumers", "list", "--json"]);
    let all: Value = serde_json::from_str(&said).expect("JSON");
    all[0].clone()
}

/// A path to a release that is no good.
fn unfit() -> String {
    guest("unfit").to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_at_everything_parks_few_messages_and_all_are_applied_after_it() {
    const MESSAGES: i64 = 500;
    let folder = tempfile::tempdir().expect("a folder");
    let subscription = subscribed("partitions = 1\nretry = \"1s\"");
    let setup = embedded(manifest(folder.path(), "", &subscription)).await;
    let host = setup.start().await;
    done(&setup, &["deploy", "counter", &unfit(), "--label", "unfit"]);
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "trap", MESSAGES).await;
    eventually(
        PATIENCE,
        "it is tried with one after the other",
        async || parked(&database).await > 6,
    )
    .await;
    let log = host.log();
    assert!(log.contains("the component is to blame"), "{log}");
    assert_eq!(consumer(&setup)["here"]["0"], "breaker-open");
    assert!(parked(&database).await < 12, "five, and one a pause");
    // The batch, its halves, and each parked message at most eight times.
    let (calls, errors) = calls(&setup);
    assert!(calls < 100 && errors == calls, "{errors} of {calls}");

    done(&setup, &["rollback", "counter"]);
    eventually(PATIENCE, "everything is applied", async || {
        seen(&database).await == MESSAGES && parked(&database).await == 0
    })
    .await;
    assert!(host.log().contains("the partition goes on as usual"));
}

/// A guard that judges after ten calls, of which each has one message.
const GUARDED: &str = "guard = { calls = 10 }";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_canary_wants_to_see_again_later_does_not_speak_against_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let subscription = subscribed("batch = 1\nretry = \"1h\"");
    let setup = embedded(manifest(folder.path(), GUARDED, &subscription)).await;
    let host = setup.start().await;
    let canary = remade("counter", "next", folder.path());
    done(&setup, &["deploy", "counter", &canary, "--weight", "50%"]);
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "later-on", 100).await;
    eventually(PATIENCE, "all are parked", async || {
        parked(&database).await == 100
    })
    .await;
    let versions = versions(&setup, "counter");
    let canary = versions.iter().find(|one| one["state"] == "canary");
    let canary = canary.expect("it is still tried");
    assert!(canary["calls"].as_u64() > Some(20), "{canary}");
    assert_eq!(calls(&setup), (100, 0));
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_rejects_everything_is_taken_back_though_its_keys_bring_few_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let guard = "guard = { calls = 100 }";
    let setup = embedded(manifest(folder.path(), guard, &subscribed("batch = 1"))).await;
    let host = setup.start().await;
    done(&setup, &["deploy", "counter", &unfit(), "--weight", "50%"]);
    let database = setup.connect("COUNTER").await;
    // Some 12 of them are the canary's; what follows under their keys waits behind them.
    for _ in 0..10 {
        publish(&database, "key", "first", 24).await;
    }
    eventually(PATIENCE, "it is rolled back", async || {
        let versions = versions(&setup, "counter");
        versions.iter().all(|version| version["state"] != "canary")
    })
    .await;
    let history = done(&setup, &["history", "counter"]);
    assert!(
        history.contains("calls failed, of the old one's 0"),
        "{history}"
    );
    // What it blocked is a person's to retry, all at once.
    assert!(consumer(&setup)["blocked_keys"].as_i64() > Some(4));
    done(&setup, &["messages", "retry", "--all", "--state", "dead"]);
    eventually(PATIENCE, "nothing was lost", async || {
        seen(&database).await == 240 && parked(&database).await == 0
    })
    .await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_of_the_partitions_that_there_are_and_it_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = subscribed("partitions = 2");
    let setup = embedded(manifest(folder.path(), "", &two)).await;
    let (status, log) = setup.start().await.stop("TERM").await;
    assert!(status.success(), "{log}");
    // The topic stays as it was made.
    manifest(folder.path(), "", &subscribed("partitions = 8\nbatch = 1"));
    let host = setup.start().await;
    let canary = remade("counter", "next", folder.path());
    let said = done(&setup, &["deploy", "counter", &canary, "--weight", "50%"]);
    let share = "the canary of counter gets the messages of 1 of 2 partitions of numbers";
    assert!(said.contains(share), "{said}");
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "counts", 40).await;
    eventually(PATIENCE, "all are applied", async || {
        seen(&database).await == 40
    })
    .await;
    for version in &versions(&setup, "counter")[..2] {
        assert!(version["calls"].as_u64() > Some(5), "{version}");
    }
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_person_retries_waits_for_no_interval() {
    let folder = tempfile::tempdir().expect("a folder");
    let subscription = subscribed("retry = \"1h\"");
    let setup = embedded(manifest(folder.path(), "", &subscription)).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "later-on", 1).await;
    let listed = || -> Value {
        let said = done(&setup, &["messages", "list", "--json"]);
        serde_json::from_str(&said).expect("JSON")
    };
    eventually(PATIENCE, "it is parked", async || {
        listed()[0]["kept"]["state"] == "parked"
    })
    .await;
    let id = listed()[0]["message"]
        .as_str()
        .expect("its name")
        .to_owned();
    let failed = async || {
        let sql = "select last_failed_at from marquee.parked";
        let row = database.query_one(sql, &[]).await.expect("it is parked");
        row.get::<_, std::time::SystemTime>(0)
    };
    let first = failed().await;
    done(&setup, &["messages", "retry", &id]);
    eventually(PATIENCE, "it was tried again", async || {
        failed().await > first
    })
    .await;
    let payload = folder.path().join("payload");
    fs::write(&payload, "[\"now\", 1]").expect("written");
    let payload = payload.to_str().expect("text");
    done(&setup, &["messages", "retry", &id, "--payload", payload]);
    eventually(PATIENCE, "it is applied", async || {
        seen(&database).await == 1
    })
    .await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_for_another_one_is_applied_when_that_has_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let subscription = subscribed("retry = \"1h\"");
    let setup = embedded(manifest(folder.path(), "", &subscription)).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, "waiting", "later-on", 1).await;
    // It waits for two.
    for attempts in 1..=2 {
        eventually(PATIENCE, "it waits", async || {
            let sql = "select count(*) from marquee.parked where claim is null and attempts = ";
            count(&database, &format!("{sql}{attempts}")).await == 1
        })
        .await;
        publish(&database, "other", "wakes-waiting-0", 1).await;
    }
    eventually(PATIENCE, "all three are applied", async || {
        seen(&database).await == 3 && parked(&database).await == 0
    })
    .await;
    drop(host);
}

/// Messages that were there before the consumer are passed over, and each later one is applied.
async fn begins_with_what_comes(bus: impl AsyncFnOnce(PathBuf) -> Setup) {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = bus(manifest(folder.path(), "", "")).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "before", 40).await;
    eventually(PATIENCE, "the bus has them", async || {
        count(&database, "select count(*) from marquee.outbox").await == 0
    })
    .await;
    let (status, log) = host.stop("TERM").await;
    assert!(status.success(), "{log}");

    manifest(folder.path(), "", &subscribed("from = \"latest\""));
    let host = setup.start().await;
    eventually(PATIENCE, "it has begun everywhere", async || {
        let begun = "select count(*) from marquee.positions where began is not null";
        count(&database, begun).await == 8
    })
    .await;
    publish(&database, "key", "after", 40).await;
    eventually(PATIENCE, "what comes is applied", async || {
        let after = "select count(*) from seen where tag = 'after'";
        count(&database, after).await == 40
    })
    .await;
    assert_eq!(seen(&database).await, 40);
    let audit = setup.verb(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_from_the_latest_begins_with_what_comes_over_the_embedded_bus() {
    begins_with_what_comes(embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_from_the_latest_begins_with_what_comes_over_kafka() {
    let kafka = broker().await;
    begins_with_what_comes(async |manifest| on(&kafka, manifest).await).await;
}

/// The server ends a session that has worked for two seconds: at a statement of the component, or behind it, when what
/// came of its messages is written.
const ENDS: &str = "
create function works_long() returns trigger language plpgsql as $$ begin
    perform pg_sleep(2), set_config('counter.ends', new.tag, true);
    return new;
end $$;
create function ends() returns trigger language plpgsql as $$ begin
    perform pg_terminate_backend(pg_backend_pid());
    return new;
end $$;
create trigger a before insert on seen for each row when (new.tag like 'ends-%') execute function works_long();
create trigger b before insert on seen for each row when (new.tag = 'ends-now') execute function ends();
create trigger c before insert or update on marquee.key_state for each row
    when (current_setting('counter.ends', true) = 'ends-later') execute function ends()";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_sessions_the_server_ends_is_parked_and_not_tried_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let subscription = subscribed("partitions = 1\ndeadline = \"3s\"\nretry = \"1h\"");
    let setup = embedded(manifest(folder.path(), "", &subscription)).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    database.batch_execute(ENDS).await.expect("made");
    publish(&database, "before", "counts", 2).await;
    publish(&database, "now", "ends-now", 1).await;
    publish(&database, "later", "ends-later", 1).await;
    publish(&database, "after", "counts", 2).await;
    eventually(PATIENCE, "all others are applied", async || {
        seen(&database).await == 4 && parked(&database).await == 2
    })
    .await;
    let why = "select count(*) from marquee.parked
        where key in ('now-0', 'later-0') and error like '%lost its session after 2.%'";
    assert_eq!(count(&database, why).await, 2);
    drop(host);
}

/// What hangs does so for longer than a test.
const HANGS: &str = "deadline = \"120s\"";

/// Deliveries that the component is not done with.
async fn hanging(database: &Client) -> i64 {
    let sql = "select count(*) from pg_stat_activity
        where datname = current_database() and state = 'idle in transaction'
            and state_change < clock_timestamp() - interval '1 second'";
    count(database, sql).await
}

/// Partitions of which not everything is dealt with.
fn behind(setup: &Setup) -> usize {
    let partitions = consumer(setup)["partitions"].clone();
    let partitions = partitions.as_array().expect("a list");
    let behind = partitions.iter().filter(|one| one["lag"] != 0);
    behind.count()
}

/// A delivery hangs. All other partitions go on, and go over to a host that comes.
async fn one_is_slow(bus: impl AsyncFnOnce(PathBuf) -> Setup) {
    const KEYS: i64 = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = manifest(folder.path(), "", &subscribed(HANGS));
    let setup = bus(manifest.clone()).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, "slow", "hangs", 1).await;
    eventually(PATIENCE, "it hangs", async || hanging(&database).await == 1).await;
    let go_on = async |name: &str| {
        let before = seen(&database).await;
        publish(&database, name, "counts", KEYS).await;
        eventually(PATIENCE, "all but one go on", async || {
            seen(&database).await > before + KEYS / 2 && behind(&setup) == 1
        })
        .await;
    };
    go_on("first").await;
    let second = setup.release(manifest.to_str().expect("text"));
    let beside = second.start().await;
    eventually(PATIENCE, "some go over to another host", async || {
        let here = consumer(&second)["here"].clone();
        here.as_object().is_some_and(|here| here.len() >= 3)
    })
    .await;
    go_on("second").await;
    drop((host, beside));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_partition_holds_up_no_other_and_no_rebalance_over_the_embedded_bus() {
    one_is_slow(embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_partition_holds_up_no_other_and_no_rebalance_over_kafka() {
    let kafka = broker().await;
    one_is_slow(async |manifest| on(&kafka, manifest).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_hang_leave_connections_to_requests_and_readiness() {
    const KEYS: i64 = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let setup = embedded(manifest(folder.path(), "", &subscribed(HANGS))).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "hangs", KEYS).await;
    eventually(PATIENCE, "deliveries hang in all partitions", async || {
        hanging(&database).await > 1 && behind(&setup) == 8
    })
    .await;
    let admin = host.admin.trim_start_matches("http://");
    for _ in 0..30 {
        let read = raw::status(host.address(), "GET /key-0").await;
        let written = raw::status(host.address(), "PUT /key-0/more/1").await;
        let ready = raw::status(admin, "GET /readyz").await;
        assert_eq!((read, written, ready), (200, 202, 200));
    }
    assert!(hanging(&database).await > 1, "they hang all the while");
    drop(host);
}

/// The same component by another name.
fn renamed(folder: &Path, component: &str, subscription: &str) -> PathBuf {
    let manifest = manifest(folder, component, subscription);
    let text = fs::read_to_string(&manifest).expect("read");
    let text = text
        .replace("component.counter", "component.scores")
        .replace("component = \"counter\"", "component = \"scores\"");
    fs::write(&manifest, text).expect("written");
    manifest
}

const UP: [&str; 5] = [
    "up",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_component_does_not_begin_anew_until_the_manifest_says_which_consumer_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = subscribed("partitions = 2");
    let setup = embedded(manifest(folder.path(), "", &lines)).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    publish(&database, "key", "first", 5).await;
    let all = async |amount| {
        eventually(PATIENCE, "each is applied", async || {
            seen(&database).await == amount
        })
        .await;
    };
    all(5).await;
    drop(host.stop("TERM").await);

    renamed(folder.path(), "", &lines);
    let said = refused(&setup, &UP);
    for way in ["`consumer = \"counter\"`", "`consumer = \"scores\"`"] {
        assert!(said.contains(way), "{said}");
    }
    assert_eq!(seen(&database).await, 5);

    // It goes on where it was.
    renamed(folder.path(), "consumer = \"counter\"", &lines);
    let host = setup.start().await;
    publish(&database, "key", "second", 5).await;
    all(10).await;
    drop(host.stop("TERM").await);

    // It is another one, to which all of it is new.
    renamed(folder.path(), "consumer = \"scores\"", &lines);
    let host = setup.start().await;
    all(20).await;
    drop(host.stop("TERM").await);
    // From now on it need not be said.
    renamed(folder.path(), "", &lines);
    let host = setup.start().await;
    publish(&database, "key", "third", 5).await;
    all(25).await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_consumer_that_no_component_is_is_told_and_goes_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = subscribed("partitions = 1\nretry = \"1h\"\nfrom = \"latest\"");
    let setup = embedded(manifest(folder.path(), "", &lines)).await;
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    eventually(PATIENCE, "it has begun", async || {
        let begun = "select count(*) from marquee.positions where began is not null";
        count(&database, begun).await == 1
    })
    .await;
    publish(&database, "key", "later-on", 2).await;
    eventually(PATIENCE, "both are parked", async || {
        parked(&database).await == 2
    })
    .await;
    drop(host.stop("TERM").await);

    renamed(folder.path(), "consumer = \"scores\"", &lines);
    let host = setup.start().await;
    let admin = host.admin.trim_start_matches("http://").to_owned();
    let waits = "no component is consumer counter of numbers: 2 parked and 0 dead messages";
    eventually(PATIENCE, "the host has noticed by itself", async || {
        host.log().contains(waits)
    })
    .await;
    let audit = setup.verb(&["audit"]);
    assert_eq!(audit.status.code(), Some(1), "{audit:?}");
    assert!(String::from_utf8_lossy(&audit.stdout).contains(waits));
    let listed = done(&setup, &["consumers", "list"]);
    assert!(listed.contains("no consumer; 2 messages wait"), "{listed}");
    // It is for a person to know, and no reason not to serve.
    let ready = raw::status(&admin, "GET /readyz").await;
    assert_eq!(ready, 200);
    let health = ask(&setup, "GET", "/admin/v1/health", "").await.json();
    let parts = health["parts"].as_array().expect("parts");
    let events = parts.iter().find(|part| part["name"] == "events");
    let events = events.expect("the part of events");
    assert_eq!(events["ready"], true);
    let detail = events["detail"].as_str().expect("what to know");
    assert!(detail.contains(waits), "{detail}");

    let sql = "select 'counter/' || min(id) from marquee.parked";
    let row = database.query_one(sql, &[]).await.expect("it is parked");
    let id: String = row.get(0);
    for retry in [
        &["messages", "retry", &id][..],
        &["messages", "retry", "--all"],
    ] {
        let output = setup.verb(retry);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("nobody would deliver"), "{said}");
    }
    let delete = ["consumers", "delete", "counter", "numbers"];
    let planned = done(&setup, &[&delete[..], &["--dry-run"]].concat());
    assert!(planned.contains("nothing is changed"), "{planned}");
    assert_eq!(parked(&database).await, 2);
    done(&setup, &delete);
    assert_eq!(parked(&database).await, 0);
    let audit = setup.verb(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
    let listed = done(&setup, &["consumers", "list"]);
    assert!(!listed.contains("no consumer"), "{listed}");
    let history = done(&setup, &["messages", "history"]);
    assert!(history.contains("delete"), "{history}");
    let said = refused(&setup, &delete);
    assert!(said.contains("there is nothing of a consumer"), "{said}");
    let said = refused(&setup, &["consumers", "delete", "scores", "numbers"]);
    assert!(said.contains("only what no component is"), "{said}");
    drop(host);
}
