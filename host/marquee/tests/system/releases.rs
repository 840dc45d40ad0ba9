//! Versions change while the system is in use, and what must not become live does not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use marquee_import::api::Client;
use marquee_registry::Digest;
use marquee_testkit::eventually;
use serde_json::Value;

use crate::{
    bus::{client, film, nothing_is_left_over, served},
    host::{Host, Setup},
    raw,
};

pub(crate) fn guest(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/wasm32-wasip2/guest"
    ))
    .join(format!("{name}.wasm"))
}

/// The same component as another version: with a custom section that says `mark`.
pub(crate) fn remade(name: &str, mark: &str, folder: &Path) -> String {
    let mut bytes = fs::read(guest(name)).expect("run scripts/components --tests");
    let length = |n: usize| u8::try_from(n).expect("short");
    // Section 0 is custom: its size, then its name.
    bytes.extend([0, length(mark.len() + 1), length(mark.len())]);
    bytes.extend(mark.as_bytes());
    let path = folder.join(format!("{name}-{mark}.wasm"));
    fs::write(&path, bytes).expect("written");
    path.to_str().expect("text").to_owned()
}

/// What a verb prints; it must succeed.
pub(crate) fn done(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.verb(arguments);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        said(&output.stderr)
    );
    said(&output.stdout)
}

/// What a verb says when it fails.
pub(crate) fn refused(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.verb(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a host says of a component, as JSON.
fn report(setup: &Setup, component: &str) -> Value {
    let text = done(setup, &["versions", component, "--json"]);
    let reports: Value = serde_json::from_str(&text).expect("JSON");
    reports[0].clone()
}

/// The versions of a component.
pub(crate) fn versions(setup: &Setup, component: &str) -> Vec<Value> {
    let report = report(setup, component);
    report["versions"].as_array().expect("a list").clone()
}

/// The live one: its labels and weight.
fn stable(setup: &Setup, component: &str) -> Value {
    versions(setup, component).remove(0)
}

/// An application of one component, `hello`.
pub(crate) fn hello(folder: &Path, more: &str) -> PathBuf {
    let manifest = folder.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2
[application]
name = \"hello\"
[[trigger.http]]
route = \"/...\"
component = \"hello\"
[component.hello]
source = {:?}
{more}",
        guest("hello")
    );
    fs::write(&manifest, text).expect("a manifest");
    manifest
}

async fn status(host: &Host, headers: &[&str]) -> u16 {
    raw::request(host.address(), "GET /", headers, "")
        .await
        .status
}

/// Users rate all movies and look at them, until they are told to stop. How many there were.
async fn load_until(client: Arc<Client>, movies: Vec<String>, stop: Arc<AtomicBool>) -> usize {
    let users = futures::stream::iter(0_usize..).take_while(|_| {
        let go_on = !stop.load(Ordering::Relaxed);
        async move { go_on }
    });
    let sends = users.map(async |user| {
        for movie in &movies {
            client
                .rate(movie, &format!("user-{user}"), value(user))
                .await
                .expect("accepted");
            client.aggregate(movie).await.expect("served");
        }
    });
    sends.buffer_unordered(8).count().await
}

fn value(user: usize) -> i64 {
    i64::try_from(1 + user % 10).expect("small")
}

/// Every component changes its version, back and forth, while ratings come in and are read and applied.
async fn swaps_under_load(setup: &Setup) {
    const ROUNDS: usize = 8;
    let host = setup.start().await;
    let client = Arc::new(client(&host.url));
    let mut movies = Vec::new();
    for title in ["Amarcord", "Badlands", "Cabaret"] {
        let kept = client.keep(&film(title)).await.expect("kept");
        movies.push(kept.id().to_owned());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let components = ["gateway", "metadata", "rating"];
    for component in components {
        let file = remade(component, "v2", folder.path());
        let same = guest(component);
        done(setup, &["deploy", component, &file, "--label", "v2"]);
        let same = same.to_str().expect("text");
        done(setup, &["deploy", component, same, "--label", "v1"]);
    }

    let swapped = Arc::new(AtomicBool::new(false));
    let mut load = tokio::task::JoinSet::new();
    load.spawn(load_until(
        Arc::clone(&client),
        movies.clone(),
        Arc::clone(&swapped),
    ));
    // The verbs wait for their host.
    tokio::task::block_in_place(|| {
        for round in 0..ROUNDS {
            let label = ["v2", "v1"][round % 2];
            for component in components {
                done(setup, &["promote", component, label]);
            }
            if round % 4 == 3 {
                for component in components {
                    done(setup, &["rollback", component]);
                    done(setup, &["promote", component, label]);
                }
            }
        }
    });
    swapped.store(true, Ordering::Relaxed);
    let users = load.join_next().await.expect("it runs").expect("no panic");

    assert_eq!(client.retries(), 0, "no request failed");
    assert!(users > 0);
    let sum: i64 = (0..users).map(value).sum();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let average = sum as f64 / users as f64;
    let count = u64::try_from(users).expect("small");
    for movie in &movies {
        served(&client, movie, count, average).await;
    }
    nothing_is_left_over(setup).await;
    let log = host.log();
    assert!(!log.contains("partition revoked"), "no rebalance: {log}");
    for component in components {
        assert_eq!(
            stable(setup, component)["labels"],
            serde_json::json!(["v1"])
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_under_load_lose_no_rating_over_the_embedded_bus() {
    swaps_under_load(&Setup::databases().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_under_load_lose_no_rating_over_kafka() {
    let kafka = tokio::task::spawn_blocking(marquee_testkit::kafka_server::start)
        .await
        .expect("Kafka");
    swaps_under_load(&Setup::kafka(kafka.brokers()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_swaps_in_a_row_grow_neither_memory_nor_handles() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    for mark in ["v1", "v2"] {
        let file = remade("hello", mark, folder.path());
        done(&setup, &["deploy", "hello", &file, "--label", mark]);
    }
    let socket = setup.data().join("admin.sock");
    let step = async |step: &str, body: &str| {
        let request = format!(
            "POST /admin/v1/components/hello/{step} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw::send_to_file(&socket, request.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let swaps = async |count: usize| {
        for n in 0..count {
            let label = ["v1", "v2"][n % 2];
            step("promote", &format!("{{\"version\": {label:?}}}")).await;
            assert_eq!(status(&host, &[]).await, 200);
            if n % 10 == 9 {
                step("rollback", "").await;
            }
        }
    };
    // What the first ones leave behind is kept for the next: pools of memory and stacks.
    swaps(200).await;
    let before = host.footprint();
    swaps(1_000).await;
    let drained = async || {
        versions(&setup, "hello")
            .iter()
            .all(|v| v["state"] != "draining")
    };
    eventually(Duration::from_secs(20), "all are drained", drained).await;
    let after = host.footprint();
    // Of each version that stayed there would be a megabyte.
    assert!(after.0 < before.0 + (24 << 10), "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 4, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_live_is_refused_at_its_step_and_nothing_changes() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let whole = fs::read(guest("rating")).expect("run scripts/components");
    let named = |name: &str| guest(name).to_str().expect("text").to_owned();
    let before: Vec<_> = ["gateway", "metadata", "rating"]
        .map(|component| stable(&setup, component)["version"].clone())
        .into();
    for (component, file, reason) in [
        (
            "rating",
            write("text", b"hello"),
            "step compile: it cannot be compiled: it is not WebAssembly",
        ),
        (
            "rating",
            write("core", b"\0asm\x01\0\0\0"),
            "it is a core WebAssembly module",
        ),
        (
            "rating",
            write("half", &whole[..whole.len() / 2]),
            "step compile",
        ),
        (
            "rating",
            named("hello"),
            "step WIT check: component rating does not export marquee:messaging/consumer@0.1.0",
        ),
        (
            "metadata",
            named("rating"),
            "step WIT check: component gateway imports movie:metadata/commands@0.3.0 from component metadata: it is not exported",
        ),
        (
            "gateway",
            named("orders-api"),
            "step WIT check: component gateway imports shop:orders/ledger@0.1.0, which neither the host",
        ),
        (
            "rating",
            write("50MB", &vec![0; 50 << 20]),
            "has 50 MiB; a component has at most 32",
        ),
        ("nobody", named("hello"), "there is no component nobody"),
    ] {
        let said = refused(&setup, &["deploy", component, &file]);
        assert!(said.contains(reason), "{component}, {file}: {said}");
    }
    let said = refused(&setup, &["promote", "rating", "never-heard-of"]);
    assert!(said.contains("no version is called"), "{said}");
    let after: Vec<_> = ["gateway", "metadata", "rating"]
        .map(|component| stable(&setup, component)["version"].clone())
        .into();
    assert_eq!(before, after);
    let history = done(&setup, &["history", "rating"]);
    // Four deployments and a promotion; what is too large is not even sent.
    assert_eq!(history.matches("refused: ").count(), 5, "{history}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_or_is_native_or_not_granted_never_gets_a_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let native = folder.path().join("native");
    let compiled = Command::new(env!("CARGO_BIN_EXE_marquee"))
        .arg("compile")
        .stdin(fs::File::open(guest("hello")).expect("run scripts/components --tests"))
        .output()
        .expect("the binary runs");
    fs::write(&native, compiled.stdout).expect("written");
    for (file, reason) in [
        (
            guest("stillborn"),
            "step instantiate: component hello cannot be instantiated",
        ),
        (
            native,
            "step compile: it cannot be compiled: it is native code that was compiled before",
        ),
        (
            guest("orders-ledger"),
            "step grants: component hello imports spin:postgres/postgres@4.2.0",
        ),
    ] {
        let file = file.to_str().expect("text");
        let said = refused(&setup, &["deploy", "hello", file, "--weight", "50%"]);
        assert!(said.contains(reason), "{file}: {said}");
        for _ in 0..10 {
            assert_eq!(status(&host, &[]).await, 200);
        }
    }
    // What was never ready is not offered.
    assert_eq!(versions(&setup, "hello").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_does_worse_is_taken_back_by_the_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = "[component.hello.tool.marquee]\nguard = { calls = 20 }\nlimits = { deadline = \"1s\" }\n\
                canary = { label_header = \"x-version\", key_header = \"x-user\" }\n";
    let setup = Setup::application(hello(folder.path(), more), &[]).await;
    let host = setup.start().await;
    let good = stable(&setup, "hello")["version"].clone();
    let faulty = guest("faulty");
    let faulty = faulty.to_str().expect("text");
    let ramp = ["--ramp", "10%,100%", "--every", "10m", "--label", "next"];
    done(
        &setup,
        &[&["deploy", "hello", faulty][..], &ramp[..]].concat(),
    );
    assert_eq!(versions(&setup, "hello").len(), 2);
    assert!(report(&setup, "hello")["rising"].is_object());
    // Whoever asks for it by its label gets it.
    assert_eq!(status(&host, &["x-version: next"]).await, 500);
    // One answer is fine: had it only errors, it would be gone too soon for what follows.
    let fine = raw::request(host.address(), "GET /faulty/fine", &["x-version: next"], "");
    assert_eq!(fine.await.status, 200);
    // A user always meets the same version.
    for user in 0..20 {
        let user = format!("x-user: user-{user}");
        let first = status(&host, &[&user]).await;
        for _ in 0..3 {
            assert_eq!(status(&host, &[&user]).await, first, "{user}");
        }
    }
    eventually(Duration::from_secs(60), "it is rolled back", async || {
        status(&host, &[]).await;
        versions(&setup, "hello")
            .iter()
            .all(|version| version["state"] != "canary")
    })
    .await;
    assert_eq!(stable(&setup, "hello")["version"], good);
    for _ in 0..50 {
        assert_eq!(status(&host, &[]).await, 200);
    }
    assert!(
        report(&setup, "hello")["rising"].is_null(),
        "nor does it rise"
    );
    let log = host.log();
    let told = "a new version does worse than the old one and is rolled back";
    let told = log.lines().find(|line| line.contains(told));
    assert!(
        told.is_some_and(|line| line.contains("\"level\":\"WARN\"")),
        "{log}"
    );
    let history = done(&setup, &["history", "hello"]);
    assert!(history.contains("host, since "), "{history}");
    let said = refused(&setup, &["rollback", "hello"]);
    assert!(said.contains("nothing to go back to"), "{said}");

    // Once more, and called by clients alone who do not send what they say they do. The guard looks meanwhile.
    let again = ["--weight", "1%", "--label", "next"];
    done(
        &setup,
        &[&["deploy", "hello", faulty][..], &again[..]].concat(),
    );
    let promise = "POST /faulty/read HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-version: next\r\n\
                   content-length: 100000\r\n\r\nx";
    for _ in 0..2 {
        let calls = (0..30).map(|_| raw::send(host.address(), promise.as_bytes()));
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.status, 408, "{answer:?}");
        }
    }
    let next = &versions(&setup, "hello")[1];
    assert_eq!(
        (&next["state"], &next["errors"]),
        (&"canary".into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_remembered_the_guard_and_a_person_roll_back_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let good = stable(&setup, "hello")["version"].clone();
    let other = remade("hello", "v2", folder.path());
    done(&setup, &["deploy", "hello", &other]);
    let faulty = guest("faulty");
    let faulty = faulty.to_str().expect("text");
    done(&setup, &["deploy", "hello", faulty, "--weight", "50%"]);

    // A folder in the place of a file refuses everybody, root too.
    let live = setup.data().join("versions/live.json");
    let aside = setup.data().join("versions/aside.json");
    fs::rename(&live, &aside).expect("moved");
    fs::create_dir(&live).expect("a folder");
    let third = remade("hello", "v3", folder.path());
    let said = refused(&setup, &["deploy", "hello", &third]);
    assert!(said.contains("cannot be written"), "{said}");
    eventually(
        Duration::from_secs(30),
        "the guard takes it back",
        async || {
            status(&host, &[]).await;
            versions(&setup, "hello")
                .iter()
                .all(|version| version["state"] != "canary")
        },
    )
    .await;
    let said = done(&setup, &["rollback", "hello"]);
    assert!(said.contains("not remembered yet"), "{said}");
    assert_eq!(stable(&setup, "hello")["version"], good);
    assert_eq!(status(&host, &[]).await, 200);
    let history = done(&setup, &["history", "hello"]);
    assert_eq!(history.matches(" rollback ").count(), 2, "{history}");

    fs::remove_dir(&live).expect("removed");
    eventually(Duration::from_secs(20), "it is remembered", async || {
        !done(&setup, &["versions", "hello"]).contains("not remembered yet")
    })
    .await;
    host.kill();
    let host = setup.start().await;
    assert_eq!(stable(&setup, "hello")["version"], good);
    assert_eq!(done(&setup, &["history", "hello"]), history);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_survives_a_restart_until_the_manifests_file_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let other = remade("hello", "v2", folder.path());
    done(&setup, &["deploy", "hello", &other, "--label", "v2"]);
    let third = remade("hello", "v3", folder.path());
    done(
        &setup,
        &[
            "deploy", "hello", &third, "--label", "v3", "--weight", "30%",
        ],
    );
    let before = versions(&setup, "hello");
    host.kill();

    let host = setup.start().await;
    let after = versions(&setup, "hello");
    for field in ["version", "labels", "state", "weight"] {
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before[field], after[field], "{field}");
        }
    }
    assert_eq!(before[1]["weight"], "30%");
    // Two on one folder: the second serves what is live, and changes nothing.
    let second = setup.start().await;
    assert_eq!(status(&second, &[]).await, 200);
    assert!(second.log().contains("another host uses this data folder"));
    drop((host, second));

    // Who builds the manifest's file anew means it to run.
    let rebuilt = fs::read(remade("hello", "v4", folder.path())).expect("read");
    let source = folder.path().join("hello.wasm");
    fs::write(&source, rebuilt).expect("written");
    let manifest = folder.path().join("spin.toml");
    let text = fs::read_to_string(&manifest).expect("read");
    let text = text.replace(&format!("{:?}", guest("hello")), &format!("{source:?}"));
    fs::write(&manifest, text).expect("written");
    let host = setup.start().await;
    let now = versions(&setup, "hello");
    assert_eq!(now[0]["labels"], serde_json::json!([]));
    assert_eq!(now.iter().filter(|v| v["state"] == "canary").count(), 0);
    // And one step back is what was live before, without what was tried beside it.
    done(&setup, &["rollback", "hello"]);
    let back = versions(&setup, "hello");
    assert_eq!(back[0]["labels"], serde_json::json!(["v2"]));
    assert_eq!(back.iter().filter(|v| v["state"] == "canary").count(), 0);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_is_built_and_goes_live_and_a_build_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("hello.wasm");
    fs::copy(guest("hello"), &source).expect("copied");
    let from = folder.path().join("src");
    fs::create_dir(&from).expect("a folder");
    let build =
        "[component.hello.build]\ncommand = \"cp src/new.wasm hello.wasm\"\nwatch = [\"src/*\"]\n";
    let manifest = hello(folder.path(), build);
    let text = fs::read_to_string(&manifest).expect("read");
    let text = text.replace(&format!("{:?}", guest("hello")), "\"hello.wasm\"");
    fs::write(&manifest, text).expect("written");
    let setup = Setup::application(manifest, &[]).await;
    let host = setup.start().await;
    let before = stable(&setup, "hello")["version"].clone();
    let mut watch = setup.going_on(&["watch"]);
    watch.until("watching hello");
    fs::write(from.join("other"), "not what the build needs").expect("written");
    watch.until("the build failed");
    assert_eq!(stable(&setup, "hello")["version"], before);
    let new = remade("hello", "saved", folder.path());
    fs::copy(new, from.join("new.wasm")).expect("saved");
    let said = watch.until("is live");
    let now = stable(&setup, "hello")["version"].clone();
    assert!(
        now != before && said.contains(&now.as_str().expect("text")[..12]),
        "{said}"
    );
    assert_eq!(status(&host, &[]).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_version_imports_and_exports_can_be_seen_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let rating = guest("rating");
    let shown = Command::new(env!("CARGO_BIN_EXE_marquee"))
        .arg("inspect")
        .arg(rating)
        .output()
        .expect("the binary runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("exports\n  marquee:messaging/consumer@0.1.0\n")
            && shown.contains("package movie:rating@0.1.0;"),
        "{shown}"
    );
    let other = remade("hello", "other", folder.path());
    done(&setup, &["deploy", "hello", &other, "--label", "other"]);
    let old = versions(&setup, "hello")[1]["version"].clone();
    let old = &old.as_str().expect("text")[..12];
    let diff = done(&setup, &["diff", "hello", old, "other"]);
    assert!(
        diff.contains("-version ") && diff.contains("+size "),
        "{diff}"
    );
    assert!(!diff.contains("+  wasi:"), "only what differs: {diff}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_removed_but_none_that_is_needed_and_one_goes_back_by_name_and_by_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let setup = setup.with("MARQUEE_KEEP_VERSIONS", "1");
    let host = setup.start().await;
    for mark in ["labelled", "gone", "previous", "live"] {
        let file = remade("hello", mark, folder.path());
        let label: &[&str] = if mark == "labelled" {
            &["--label", mark]
        } else {
            &[]
        };
        done(&setup, &[&["deploy", "hello", &file][..], label].concat());
    }
    let stored = fs::read_dir(setup.data().join("versions")).expect("a store");
    let stored = stored.filter(|entry| entry.as_ref().expect("an entry").path().is_dir());
    assert_eq!(stored.count(), 3);
    let live = stable(&setup, "hello")["version"].clone();
    done(&setup, &["promote", "hello", "labelled"]);

    // One whose file is gone, and whose code is not.
    let bytes = fs::read(remade("hello", "live", folder.path())).expect("read");
    let file = format!("versions/{:#}/component.wasm", Digest::of(&bytes));
    fs::remove_file(setup.data().join(file)).expect("removed");
    refused(&setup, &["rollback", "hello"]);
    done(&setup, &["rollback", "hello", "--force"]);
    assert_eq!(stable(&setup, "hello")["version"], live);
    done(&setup, &["rollback", "hello", "--to", "labelled"]);
    let back = stable(&setup, "hello");
    assert_eq!(back["labels"], serde_json::json!(["labelled"]));
    let history = done(&setup, &["history", "hello"]);
    assert!(history.contains("forced rollback"), "{history}");

    done(&setup, &["unlabel", "hello", "labelled"]);
    let unnamed = stable(&setup, "hello");
    assert_eq!(unnamed["version"], back["version"]);
    assert_eq!(unnamed["labels"], serde_json::json!([]));
    let said = refused(&setup, &["unlabel", "hello", "labelled"]);
    assert!(said.contains("no version is called"), "{said}");
    drop(host);
}
