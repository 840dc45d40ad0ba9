//! The console: its page and what lets a browser in; and, where there is a browser, a person who uses it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use marquee_testkit::eventually;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    admin::ask,
    host::{Host, Setup},
    raw::{self, Answer},
    releases::{done, hello, refused},
    tools,
};

fn address(host: &Host) -> &str {
    host.admin.trim_start_matches("http://")
}

async fn over_tcp(host: &Host, line: &str, headers: &[&str]) -> Answer {
    raw::request(address(host), line, headers, "").await
}

/// The header that shows a session, from the link that the command prints.
fn session(setup: &Setup, arguments: &[&str]) -> String {
    let link = done(setup, &[&["console"], arguments].concat());
    let (_, secret) = link.trim().split_once('#').expect("a link with a secret");
    format!("authorization: Bearer {secret}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_everybody_holds_nothing_and_may_run_only_its_own_scripts() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let setup = setup.with("MARQUEE_KEEP_TRACES", "false");
    let host = setup.start().await;
    let root = over_tcp(&host, "GET /", &[]).await;
    assert_eq!(
        (root.status, root.header("location")),
        (307, Some("/console/"))
    );
    let page = over_tcp(&host, "GET /console/", &[]).await;
    assert_eq!(page.status, 200, "{page:?}");
    let policy = page.header("content-security-policy").expect("a policy");
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        !page.body.contains("hello"),
        "it says nothing of the application"
    );
    for (file, kind) in [
        ("app.js", "text/javascript"),
        ("style.css", "text/css"),
        ("pages/overview.js", "text/javascript"),
        ("vendor/lit-html.js", "text/javascript"),
    ] {
        let answer = over_tcp(&host, &format!("GET /console/{file}"), &[]).await;
        let told = answer.header("content-type").expect("a kind");
        assert!(answer.status == 200 && told.starts_with(kind), "{answer:?}");
    }
    let none = over_tcp(&host, "GET /console/../../../etc/passwd", &[]).await;
    assert_eq!(none.status, 404, "{none:?}");
    for line in [
        "GET /admin/v1/components",
        "POST /admin/v1/components/hello/rollback",
    ] {
        assert_eq!(over_tcp(&host, line, &[]).await.status, 403, "{line}");
    }
    let said = done(&setup, &["traces"]);
    assert!(said.contains("MARQUEE_KEEP_TRACES=false"), "{said}");
    let none = ask(&setup, "GET", "/admin/v1/traces/0000", "").await;
    assert_eq!(none.status, 404, "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lets_a_browser_in_by_its_link_until_it_is_ended_and_may_be_for_looking_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let (changes, looks) = (session(&setup, &[]), session(&setup, &["--read-only"]));
    let link = done(&setup, &["console"]);
    assert!(
        link.starts_with(&format!("{}/console/#mqs_", host.admin)),
        "{link}"
    );
    let me = over_tcp(&host, "GET /admin/v1/session", &[&looks])
        .await
        .json();
    assert_eq!(me["may"], "look");
    assert!(me.get("secret").is_none(), "a secret is told once");

    // No token, no way around: what a session may not do, and what nobody's does.
    let pin = "PUT /admin/v1/components/hello/pin";
    let pinned = async |headers: &[&str]| {
        let headers = [&["content-type: application/json"], headers].concat();
        raw::request(address(&host), pin, &headers, "{\"pinned\":true}").await
    };
    assert_eq!(pinned(&[&looks]).await.status, 403);
    assert_eq!(pinned(&["authorization: Bearer mqs_00"]).await.status, 401);
    let unlabel = "DELETE /admin/v1/components/hello/labels/session";
    assert_eq!(over_tcp(&host, unlabel, &[&looks]).await.status, 403);
    assert_eq!(over_tcp(&host, unlabel, &[&changes]).await.status, 404);
    let opened = over_tcp(&host, "POST /admin/v1/sessions", &[&changes]).await;
    assert_eq!(opened.status, 403, "a session opens no other one");
    // A page of another site, though its browser should show what opens the API.
    for foreign in ["sec-fetch-site: cross-site", "origin: http://evil.example"] {
        assert_eq!(pinned(&[&changes, foreign]).await.status, 403, "{foreign}");
    }
    // One whose name leads here shows nothing: what a browser keeps is kept for the page's own name.
    let rebound = "GET /admin/v1/components HTTP/1.1\r\nhost: evil.example:3001\r\nconnection: close\r\n\
        origin: http://evil.example:3001\r\nsec-fetch-site: same-origin\r\n\r\n";
    let rebound = raw::send(address(&host), rebound.as_bytes()).await;
    assert_eq!(rebound.status, 403, "{rebound:?}");
    let own = format!("origin: {}", host.admin);
    assert_eq!(
        pinned(&[&changes, &own, "sec-fetch-site: same-origin"])
            .await
            .status,
        200
    );
    let history = done(&setup, &["history", "hello"]);
    assert!(history.contains("by the console at 127.0.0.1"), "{history}");

    let ended = over_tcp(&host, "DELETE /admin/v1/session", &[&looks]).await;
    assert_eq!(ended.status, 204, "{ended:?}");
    let after = over_tcp(&host, "GET /admin/v1/session", &[&looks]).await;
    assert_eq!(after.status, 401, "{after:?}");
    assert!(!host.log().contains("mqs_"), "secrets are not logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_did_lately_is_kept_and_sent_on_to_who_looks_on() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let session = session(&setup, &[]);
    let mut looks_on = TcpStream::connect(address(&host))
        .await
        .expect("it listens");
    let request = format!(
        "GET /admin/v1/samples HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n{session}\r\n\r\n",
        address(&host)
    );
    looks_on.write_all(request.as_bytes()).await.expect("sent");
    assert_eq!(raw::status(host.address(), "GET /v1/movies").await, 200);
    let samples = async || ask(&setup, "GET", "/admin/v1/samples", "").await.json();
    let gateway = |samples: &Value| {
        let all = samples.as_array().expect("samples").iter();
        let work = all.flat_map(|sample| sample["work"].as_array().expect("work"));
        let calls = work.filter(|it| it["component"] == "gateway");
        calls.filter_map(|it| it["calls"].as_u64()).sum::<u64>()
    };
    eventually(PATIENCE, "the request is in a sample", async || {
        gateway(&samples().await) > 0
    })
    .await;
    let all = samples().await;
    assert!(
        all[0]["consumers"]
            .as_array()
            .is_some_and(|all| all.len() == 3),
        "{all}"
    );

    let top = done(&setup, &["top", "--every", "1s", "--looks", "1"]);
    for line in ["gateway", "rating    metadata"] {
        assert!(top.contains(line), "{top}");
    }

    let wanted = "/admin/v1/traces?component=metadata&newest=true";
    let listed = ask(&setup, "GET", wanted, "").await.json();
    let trace = { listed["traces"].as_array().expect("traces").iter() }
        .find(|it| it["name"] == "GET /v1/movies")
        .expect("that request");
    assert_eq!(
        (&trace["status"], &trace["failed"]),
        (&json!(200), &json!(false))
    );
    let trace = trace["trace"].as_str().expect("its id");
    let shown = done(&setup, &["traces", &trace[..16]]);
    let depths = ["GET /v1/movies", "metadata", "SELECT"].map(|part| {
        let line = shown.lines().skip(1).find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("no {part} in\n{shown}"));
        line.find(part)
    });
    assert!(
        depths.is_sorted(),
        "what led to what is to the left: {shown}"
    );
    let none = refused(&setup, &["traces", "ffffffffffffffff"]);
    assert!(none.contains("no such trace is kept"), "{none}");

    let mut sent = String::new();
    while !sent.contains("event: sample") {
        let mut piece = [0; 4_096];
        let length = looks_on.read(&mut piece).await.expect("it goes on");
        assert!(length > 0, "it ended: {sent}");
        sent.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    // Who looks on does not hold up a host that is to stop.
    let begun = std::time::Instant::now();
    host.stop("TERM").await;
    assert!(begun.elapsed() < PATIENCE);
    let mut rest = Vec::new();
    looks_on.read_to_end(&mut rest).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_and_interfaces_are_told_of() {
    let setup = Setup::databases().await;
    let _host = setup.start().await;
    let databases = ask(&setup, "GET", "/admin/v1/databases", "").await.json();
    let names: Vec<&Value> = databases
        .as_array()
        .expect("all")
        .iter()
        .map(|it| &it["database"])
        .collect();
    assert_eq!(names, ["metadata", "rating", "users"]);
    for it in databases.as_array().expect("all") {
        assert_eq!(it["error"], Value::Null, "{it}");
        assert!(it["activity"]["size_bytes"].as_i64() > Some(0), "{it}");
    }
    let version = &ask(&setup, "GET", "/admin/v1/components/rating", "")
        .await
        .json()["versions"][0];
    let version = version["version"].as_str().expect("its name");
    let path = format!("/admin/v1/components/rating/versions/{version}/wit");
    let shown = ask(&setup, "GET", &path, "").await;
    assert_eq!(shown.status, 200, "{shown:?}");
    assert!(
        shown.body.contains("marquee:messaging/consumer@"),
        "{}",
        shown.body
    );
}

/// As scripts/console gets them, if they can be had here.
fn driver() -> Option<PathBuf> {
    let own = tools::folder().join("console");
    if own.join("node_modules").exists() && tools::has("chromium") && tools::has("node") {
        return Some(own);
    }
    tools::not_tried(&tools::fetched("browser with what drives it"));
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_releases_versions_and_mends_a_message_in_a_browser() {
    let Some(tools) = driver() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let metadata = setup.connect("METADATA").await;
    for number in 0..2 {
        let publish = "select marquee.publish('metadata', $1, '{}', convert_to('{\"type\": \"movie.created\"}', 'utf8'))";
        metadata
            .execute(publish, &[&format!("film-{number}")])
            .await
            .expect("published");
    }
    let dead = async || {
        let all = ask(&setup, "GET", "/admin/v1/messages?state=dead", "")
            .await
            .json();
        all.as_array().map(Vec::len)
    };
    eventually(PATIENCE, "both are dead", async || dead().await == Some(2)).await;
    let bytes = std::fs::read("../../target/wasm32-wasip2/guest/rating.wasm")
        .expect("run scripts/components");
    let file = folder.path().join("rating-next.wasm");
    std::fs::write(&file, [&bytes[..], &[0, 5, 4], b"next"].concat()).expect("written");
    let mended = json!({
        "type": "movie.created", "id": "01a21fb4-6969-76b3-a9e8-5ea60fcce4c1", "title": "Mended", "year": 1957,
        "description": "", "director": "Ann", "version": 1,
    });
    assert_eq!(raw::status(host.address(), "GET /v1/movies").await, 200);
    let links = json!({
        "link": done(&setup, &["console"]).trim(),
        "readOnly": done(&setup, &["console", "--read-only"]).trim(),
        "file": file, "mended": mended, "profile": folder.path().join("browser"),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/console/person.mjs");
    let run = tokio::process::Command::new("node")
        .arg(script)
        .arg(&tools)
        .arg(links.to_string())
        .output();
    let run = tokio::time::timeout(PERSON, run)
        .await
        .expect("in time")
        .expect("it runs");
    let said = [run.stdout, run.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(run.status.success(), "{said}\n{}", host.log());
    // What it saw is so.
    let rating = ask(&setup, "GET", "/admin/v1/components/rating", "")
        .await
        .json();
    let states: Vec<&Value> = rating["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|it| &it["state"])
        .collect();
    assert_eq!(states, ["stable", "stored"], "{rating}");
    assert_eq!(dead().await, Some(0));
    let audit = ask(&setup, "GET", "/admin/v1/audit", "").await.json();
    assert_eq!(audit["sound"], true, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_in_the_repository_is_the_one_that_the_lock_file_names() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/console");
    let run = tokio::process::Command::new(script).arg("check").output();
    let run = run.await.expect("it runs");
    let said = String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(77) {
        tools::not_tried(&format!("library of the console to compare with: {said}"));
        return;
    }
    assert!(run.status.success(), "{said}");
}

const PATIENCE: Duration = Duration::from_secs(30);
/// A person, and a slow machine.
const PERSON: Duration = Duration::from_secs(240);
