//! The limits that a manifest sets, through HTTP: what passes one is an error of that call, and the others go on.

use std::{fs, path::Path, time::Duration};

use marquee_testkit::eventually;

use crate::{
    host::{Host, Setup},
    lines,
    raw::{self, Answer},
    releases::{guest, versions},
};

/// `hello`, and beside it a component that misbehaves within these limits.
async fn beside_faulty(folder: &Path, limits: &str) -> Setup {
    within(folder, limits, "").await
}

/// The same, with bounds of what clients do.
async fn within(folder: &Path, limits: &str, http: &str) -> Setup {
    let manifest = folder.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2
[application]
name = \"limits\"
tool.marquee.http = {{ {http} }}
[[trigger.http]]
route = \"/...\"
component = \"hello\"
[[trigger.http]]
route = \"/faulty/...\"
component = \"faulty\"
[component.hello]
source = {:?}
[component.faulty]
source = {:?}
[component.faulty.tool.marquee]
limits = {{ {limits} }}
",
        guest("hello"),
        guest("faulty")
    );
    fs::write(&manifest, text).expect("a manifest");
    Setup::application(manifest, &[]).await
}

async fn get(host: &Host, path: &str) -> Answer {
    raw::request(host.address(), &format!("GET {path}"), &[], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_misdeed_is_an_error_of_its_own_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "deadline = \"1s\", memory = \"16MiB\", handles = 100";
    let setup = beside_faulty(folder.path(), limits).await;
    // What goes wrong has its line, however few others have.
    let setup = setup.with("MARQUEE_ACCESS_LOG", "sampled");
    let setup = setup.with("MARQUEE_ACCESS_LOG_RATE", "1");
    let host = setup.start().await;
    let misdeeds = [
        ("error", 500),
        ("trap", 500),
        ("recurse", 500),
        ("grow", 500),
        ("handles", 500),
        ("huge", 500),
        ("spin", 504),
        ("wait", 504),
        ("yield", 504),
    ];
    for (misdeed, status) in misdeeds {
        let path = format!("/faulty/{misdeed}");
        let (bad, good) = tokio::join!(get(&host, &path), get(&host, "/Ada"));
        assert_eq!(bad.status, status, "{misdeed}: {bad:?}");
        assert_eq!((good.status, good.body.as_str()), (200, "Hello, Ada!\n"));
        if misdeed != "error" {
            assert!(bad.head.contains("application/problem+json"), "{bad:?}");
            for inside in ["wasm", "trap", "memory", "faulty"] {
                let said = bad.json()["detail"].to_string();
                assert!(!said.contains(inside), "nothing of what is inside: {said}");
            }
        }
    }
    let log = host.log();
    let mut failures = log.lines().filter(|line| line.contains("a request failed"));
    assert!(
        failures.next().is_some() && failures.all(|line| line.contains("\"request_id\":")),
        "a person finds the request: {log}"
    );
    let counted = &versions(&setup, "faulty")[0];
    assert_eq!(
        (&counted["calls"], &counted["errors"]),
        (&9.into(), &9.into())
    );
    assert_eq!(counted["in_flight"], 0, "nothing goes on");
    for (misdeed, status) in misdeeds {
        let path = format!("/faulty/{misdeed}");
        let found = lines::until(&host, |line| line["path"] == path.as_str()).await;
        assert_eq!(found["status"], status, "{found}");
        assert_eq!(found["component"], "faulty", "{found}");
        assert_eq!(found["route"], "/faulty/...", "it names none: {found}");
    }
    let (status, _) = host.stop("TERM").await;
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_those_that_may_be_at_once_and_wait_are_told_to_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "deadline = \"5s\", concurrent_calls = 1, queue = 1";
    let setup = beside_faulty(folder.path(), limits).await;
    let host = setup.start().await;
    let (first, ()) = tokio::join!(get(&host, "/faulty/wait"), async {
        eventually(
            Duration::from_secs(4),
            "the first is under way",
            async || versions(&setup, "faulty")[0]["in_flight"] == 1,
        )
        .await;
        let (one, two) = tokio::join!(get(&host, "/faulty/"), get(&host, "/faulty/"));
        for refused in [one, two] {
            assert_eq!(refused.status, 503, "{refused:?}");
            let head = refused.head.to_ascii_lowercase();
            assert!(head.contains("retry-after: 2"), "{head}");
            assert_eq!(refused.json()["type"], "/problems/unavailable");
        }
        assert_eq!(get(&host, "/Ada").await.status, 200, "others go on");
    });
    assert_eq!(first.status, 504, "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_not_all_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "deadline = \"3s\"";
    let setup = within(folder.path(), limits, "client_requests = 2").await;
    let setup = setup.with("MARQUEE_TRUSTED_PROXIES", "1");
    let host = setup.start().await;
    let by = async |client: &str, path: &str| {
        let client = format!("x-forwarded-for: {client}");
        raw::request(host.address(), &format!("GET {path}"), &[&client], "").await
    };
    let wait = "/faulty/wait";
    let ((), ..) = tokio::join!(
        async {
            eventually(Duration::from_secs(2), "two are under way", async || {
                versions(&setup, "faulty")[0]["in_flight"] == 2
            })
            .await;
            // Of the same network.
            let refused = by("2001:db8::3", "/Ada").await;
            assert_eq!(refused.status, 429, "{refused:?}");
            assert_eq!(refused.json()["type"], "/problems/too-many-requests");
            assert_eq!(refused.header("retry-after"), Some("1"));
            assert_eq!(by("2001:db8:0:1::1", "/Ada").await.status, 200);
        },
        by("2001:db8::1", wait),
        by("2001:db8::2", wait),
    );
    assert_eq!(by("2001:db8::3", "/Ada").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_logs_as_many_lines_a_second_as_it_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = beside_faulty(folder.path(), "log_lines = 20").await;
    let host = setup.start().await;
    let lines = || host.log().matches("\"message\":\"line ").count();
    assert_eq!(get(&host, "/faulty/chatter").await.status, 500);
    // It says 10,000 lines in less than a second or two.
    let first = lines();
    assert!((20..200).contains(&first), "{first}");
    eventually(
        Duration::from_secs(20),
        "it says what is missing",
        async || {
            get(&host, "/faulty/chatter").await;
            host.log().contains("lines were left out")
        },
    )
    .await;
    let said = lines::read(&host.lines().all());
    let mut of_guest = said.iter().filter(|line| line["target"] == "guest");
    assert!(
        of_guest.all(|line| line["component"] == "faulty" && line["request_id"] != ""),
        "a person finds the request: {said:?}"
    );
}
