//! A version gets copies of calls: what it does otherwise is seen, and nothing of it reaches anybody.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use marquee_testkit::{broker, eventually};
use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    host::{Host, Setup},
    raw,
    releases::{done, guest, hello, refused, remade, versions},
};

const PATIENCE: Duration = Duration::from_secs(60);
const NUMBERS: i64 = 12;

/// `counter` with other logic: it watches instead of counting, publishes the negative of what it is told, and notes nothing of
/// what it sees.
fn otherwise(folder: &Path) -> String {
    let mut bytes = fs::read(guest("counter")).expect("run scripts/components --tests");
    for (own, other) in [
        (" counted, ", " watched, "),
        ("$2::text, $3::bigint)", "$2::text,-$3::bigint)"),
        ("from batch order by place", "from batch limit 0       "),
    ] {
        assert_eq!(own.len(), other.len());
        let at = bytes.windows(own.len()).position(|it| it == own.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{own:?} is in the code"));
        bytes[at..at + own.len()].copy_from_slice(other.as_bytes());
    }
    let path = folder.join("otherwise.wasm");
    fs::write(&path, bytes).expect("written");
    path.to_str().expect("text").to_owned()
}

fn compared(setup: &Setup, component: &str) -> Value {
    let text = done(setup, &["diff", "--live", component, "--json"]);
    serde_json::from_str(&text).expect("JSON")
}

/// Wait until no copy waits, and so many were compared.
async fn all_compared(setup: &Setup, component: &str, least: u64) -> Value {
    let mut known = Value::Null;
    eventually(PATIENCE, "the copies are compared", async || {
        known = compared(setup, component);
        let of = |name: &str| known[name].as_u64().expect("a number");
        of("compared") >= least && of("compared") + of("dropped") == of("copied")
    })
    .await;
    known
}

async fn number(database: &Client, sql: &str) -> i64 {
    database.query_one(sql, &[]).await.expect("a row").get(0)
}

async fn status(host: &Host, line: &str) -> u16 {
    raw::request(host.address(), line, &[], "").await.status
}

/// The differences at a path.
fn at<'a>(known: &'a Value, asked: &str, path: &str) -> Option<&'a Value> {
    let all = known["differences"].as_array().expect("a list");
    let of = all.iter().filter(|one| {
        let name = one["asked"].as_str().expect("text");
        name.contains(asked)
    });
    of.flat_map(|one| one["differs"].as_array().expect("a list"))
        .find(|one| one["path"] == path)
}

async fn is_compared_and_reaches_nobody(setup: &Setup) {
    let host = setup.start().await;
    let database = setup.connect("COUNTER").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = otherwise(folder.path());
    done(
        setup,
        &[
            "deploy", "counter", &file, "--label", "next", "--shadow", "100%",
        ],
    );
    let live = versions(setup, "counter");
    assert_eq!(live[0]["state"], "stable");
    assert_eq!(
        (&live[1]["state"], &live[1]["weight"]),
        (&"shadow".into(), &"100%".into())
    );

    for n in 0..NUMBERS {
        assert_eq!(
            status(&host, &format!("PUT /key-{n}/tag-{n}/{}", n + 1)).await,
            202
        );
        // Past the outbox, on the bus itself.
        assert_eq!(
            status(&host, &format!("POST /straight-{n}/tag/1")).await,
            202
        );
    }
    let seen = "select count(*) from seen";
    eventually(PATIENCE, "all is applied", async || {
        number(&database, seen).await >= 2 * NUMBERS
    })
    .await;
    let answer = raw::request(host.address(), "GET /key-3", &[], "").await;
    assert_eq!(answer.body, "1 counted, 4 in all\n");
    let requests = 2 * u64::try_from(NUMBERS).expect("small") + 1;
    let known = all_compared(setup, "counter", requests).await;

    // What is different is seen,
    let get = at(&known, "GET /key-3", "answer.body").expect("it answers otherwise");
    assert_eq!(get["live"], "1 counted, 4 in all\n");
    assert_eq!(get["shadow"], "1 watched, 4 in all\n");
    let put = at(&known, "PUT /key-", "effects.published[0].value[1]").expect("it publishes");
    let value = |name: &str| put[name].as_i64().expect("a number");
    assert_eq!(value("shadow"), -value("live"), "{put}");
    let seen_rows = at(&known, "topic numbers", "effects.written.public.seen");
    let seen_rows = seen_rows.expect("it notes nothing");
    assert!(
        seen_rows["live"]["inserted"].as_i64() >= Some(1),
        "{seen_rows}"
    );
    // and what is not is not.
    assert!(at(&known, "POST /straight-", "answer.status").is_none());
    assert_eq!(known["failed"], 0, "{known:#}");
    let text = done(setup, &["diff", "--live", "counter"]);
    for line in ["in the shadow of", "GET /key-3", "    shadow  \"1 watched"] {
        assert!(text.contains(line), "{text}");
    }

    // The database and the topic have what was asked for, once.
    eventually(PATIENCE, "the outbox is empty", async || {
        number(&database, "select count(*) from marquee.outbox").await == 0
    })
    .await;
    for (sql, expected) in [
        (seen, 2 * NUMBERS),
        ("select count(distinct key) from seen", 2 * NUMBERS),
        ("select count(*) from published", NUMBERS),
        (
            "select count(*) from published where number <> 1 or value < 1",
            0,
        ),
        ("select sum(total)::bigint from counters", 2 * NUMBERS),
        (
            "select sum(sum)::bigint from counters",
            NUMBERS * (NUMBERS + 1) / 2 + NUMBERS,
        ),
        ("select sum(last_seq)::bigint from marquee.keys", NUMBERS),
        ("select count(*) from marquee.parked", 0),
    ] {
        assert_eq!(number(&database, sql).await, expected, "{sql}");
    }
    let audit = setup.verb(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
    let stable = &versions(setup, "counter")[0];
    assert_eq!(stable["errors"], 0, "{stable}");

    done(setup, &["unshadow", "counter"]);
    let none = refused(setup, &["diff", "--live", "counter"]);
    assert!(none.contains("it has no shadow"), "{none}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_nothing_of_it_reaches_anybody_over_the_embedded_bus() {
    let setup = Setup::application("examples/counter/spin.toml", &["COUNTER", "BUS"]).await;
    is_compared_and_reaches_nobody(&setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_nothing_of_it_reaches_anybody_over_kafka() {
    let kafka = broker().await;
    let setup = Setup::application("examples/counter/spin.toml", &["COUNTER"]).await;
    is_compared_and_reaches_nobody(&setup.with("KAFKA_BROKERS", kafka.brokers())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_of_the_same_logic_has_no_difference() {
    let setup = Setup::application("examples/counter/spin.toml", &["COUNTER", "BUS"]).await;
    let host = setup.start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let same = remade("counter", "same", folder.path());
    done(&setup, &["deploy", "counter", &same, "--shadow", "100%"]);
    for n in 0..NUMBERS {
        assert_eq!(status(&host, &format!("PUT /one/tag-{n}/1")).await, 202);
        assert_eq!(status(&host, &format!("POST /one/more-{n}/1")).await, 202);
    }
    let known = all_compared(
        &setup,
        "counter",
        u64::try_from(2 * NUMBERS).expect("small"),
    )
    .await;
    assert_eq!(known["different"], 0, "{known:#}");
    assert!(known["equal"].as_u64() > Some(0), "{known:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_traps_hangs_or_takes_all_memory_is_counted_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let faulty = guest("faulty");
    let faulty = faulty.to_str().expect("text");
    done(
        &setup,
        &["deploy", "hello", faulty, "--shadow", "100%", "--widen"],
    );
    let deeds = ["trap", "spin", "wait", "grow"];
    let mut asked = 0_u64;
    for (deed, outcome) in deeds
        .into_iter()
        .zip(["trapped", "late", "late", "trapped"])
    {
        // A run has a second: on a busy machine one may be late that would have trapped.
        eventually(PATIENCE, deed, async || {
            let begun = Instant::now();
            assert_eq!(status(&host, &format!("GET /faulty/{deed}")).await, 404);
            assert!(begun.elapsed() < Duration::from_millis(900), "{deed}");
            asked += 1;
            let known = all_compared(&setup, "hello", asked).await;
            let told = at(&known, deed, "outcome").unwrap_or_else(|| panic!("{deed}: {known:#}"));
            assert_eq!(told["live"], "answered", "{deed}");
            assert!(
                ["late", outcome].iter().any(|one| told["shadow"] == *one),
                "{told}"
            );
            told["shadow"] == outcome
        })
        .await;
    }
    let known = compared(&setup, "hello");
    assert_eq!(
        (&known["different"], &known["failed"]),
        (&asked.into(), &asked.into())
    );
    let stable = &versions(&setup, "hello")[0];
    assert_eq!(
        (&stable["calls"], &stable["errors"]),
        (&asked.into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_survives_a_restart_and_is_on_every_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = hello(folder.path(), "");
    let first = Setup::application(&manifest, &["RELEASES"]).await;
    let second = first.release(manifest.to_str().expect("text"));
    let (one, two) = (first.start().await, second.start().await);
    let same = remade("hello", "next", folder.path());
    done(&first, &["deploy", "hello", &same, "--shadow", "100%"]);
    let shadow = |setup: &Setup| versions(setup, "hello")[1].clone();
    eventually(PATIENCE, "the other one has it", async || {
        shadow(&second)["state"] == "shadow"
    })
    .await;
    assert_eq!(status(&two, "GET /ann").await, 200);
    let known = all_compared(&second, "hello", 1).await;
    assert_eq!(known["equal"], 1, "{known:#}");
    assert_eq!(
        compared(&first, "hello")["copied"],
        0,
        "each tells of itself"
    );

    let (ended, log) = one.stop("TERM").await;
    assert!(ended.success(), "{log}");
    let _one = first.start().await;
    let again = shadow(&first);
    assert_eq!(
        (&again["state"], &again["weight"]),
        (&"shadow".into(), &"100%".into())
    );
    let history = done(&first, &["history", "hello"]);
    assert!(
        history.contains("100% of the calls are copied to"),
        "{history}"
    );
    done(
        &first,
        &["promote", "hello", again["version"].as_str().expect("text")],
    );
    assert_eq!(versions(&second, "hello")[0]["version"], again["version"]);
    assert_ne!(shadow(&second)["state"], "shadow", "it gets calls now");
}
