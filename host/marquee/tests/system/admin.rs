//! The admin API: on its socket, over TCP with a token, and what becomes of requests that are not right.

use std::fs;

use serde_json::{Value, json};

use crate::{
    host::{Host, Setup},
    raw::{self, Answer},
    releases::{done, guest, hello, refused, remade, versions},
};

/// A request on the socket.
pub(crate) async fn ask(setup: &Setup, method: &str, path: &str, body: &str) -> Answer {
    ask_with(setup, method, path, "application/json", body.as_bytes()).await
}

async fn ask_with(setup: &Setup, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    raw::send_to_file(&setup.data().join("admin.sock"), &request).await
}

/// A request over TCP.
async fn over_tcp(host: &Host, line: &str, headers: &[&str]) -> Answer {
    let address = host.admin.trim_start_matches("http://");
    raw::request(address, line, headers, "").await
}

fn is_a_problem(answer: &Answer, kind: &str) -> bool {
    let problem = answer.head.contains("application/problem+json");
    problem && answer.json()["type"] == format!("/problems/{kind}")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_what_its_document_says_and_its_errors_are_problems() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let document = ask(&setup, "GET", "/admin/v1/openapi.json", "")
        .await
        .json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 27);
    for (path, operations) in paths {
        let path = path
            .replace("{component}", "rating")
            .replace("{version}", "unheard-of")
            .replace("{database}", "rating")
            .replace("{number}", "1")
            .replace("{consumer}", "rating")
            .replace("{topic}", "metadata")
            .replace("{label}", "unheard-of")
            .replace("{trace}", "0000");
        for method in ["get", "post", "put", "delete"] {
            // An empty body is not what any operation that changes something takes.
            let answer = ask(&setup, &method.to_uppercase(), &path, "").await;
            let is_there = operations.get(method).is_some();
            assert_eq!(
                answer.status != 405,
                is_there,
                "{method} {path}: {answer:?}"
            );
            let status = answer.status.to_string();
            let said = operations[method]["responses"].get(&status).is_some();
            // What a request that is not one gets is the same everywhere.
            let malformed = [400, 415].contains(&answer.status);
            assert!(
                said || malformed || !is_there,
                "{method} {path}: {answer:?}"
            );
            if answer.status >= 400 {
                assert!(
                    answer.head.contains("application/problem+json"),
                    "{method} {path}: {answer:?}"
                );
                assert_eq!(answer.json()["status"], answer.status);
            }
        }
    }
    let deploy = "/admin/v1/components/rating/versions";
    for (method, path, body, status, kind) in [
        ("GET", "/admin/v2/components", "", 404, "no-such-resource"),
        (
            "GET",
            "/admin/v1/history?limit=many",
            "",
            400,
            "invalid-request",
        ),
        (
            "GET",
            "/admin/v1/history?colour=red",
            "",
            400,
            "invalid-request",
        ),
        (
            "POST",
            &format!("{deploy}?weight=200%25"),
            "",
            400,
            "invalid-request",
        ),
        ("POST", deploy, "", 422, "version-refused"),
        (
            "POST",
            "/admin/v1/components/rating/promote",
            "{\"version\": 1}",
            422,
            "invalid-request",
        ),
        (
            "POST",
            "/admin/v1/components/rating/promote",
            "{\"version\": \"x\", \"y\": 1}",
            422,
            "invalid-request",
        ),
        (
            "POST",
            "/admin/v1/components/rating/rollback",
            "",
            409,
            "conflict",
        ),
        (
            "GET",
            "/admin/v1/messages/nowhere/1",
            "",
            404,
            "no-such-resource",
        ),
        (
            "POST",
            "/admin/v1/consumers/nobody/topics/ratings/pause",
            "",
            404,
            "no-such-resource",
        ),
        (
            "POST",
            "/admin/v1/consumers/rating/topics/ratings/replay?from=yesterday",
            "",
            400,
            "invalid-request",
        ),
        (
            "GET",
            "/admin/v1/messages?after=seventeen",
            "",
            400,
            "invalid-request",
        ),
        (
            "POST",
            "/admin/v1/messages/discard?database=nowhere",
            "",
            404,
            "no-such-resource",
        ),
        (
            "GET",
            "/admin/v1/messages/rating/one",
            "",
            400,
            "invalid-request",
        ),
    ] {
        let answer = ask(&setup, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(
            is_a_problem(&answer, kind),
            "{method} {path}: {kind}: {answer:?}"
        );
    }
    let mode = fs::metadata(setup.data().join("admin.sock")).expect("a socket");
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o777, 0o600, "others cannot use it");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_of_every_part_that_must_work() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let health = ask(&setup, "GET", "/admin/v1/health", "").await.json();
    let ready = |name| json!({ "name": name, "ready": true, "detail": null });
    let parts = [
        "database metadata",
        "database rating",
        "database users",
        "bus",
        "releases",
        "components",
        "events",
        "triggers",
        "tasks",
    ];
    assert_eq!(health, json!({ "ready": true, "parts": parts.map(ready) }));
    for path in ["/healthz", "/readyz", "/problems/version-refused"] {
        assert_eq!(ask(&setup, "GET", path, "").await.status, 200, "{path}");
    }
    let unknown = ask(&setup, "GET", "/problems/nothing", "").await;
    assert!(is_a_problem(&unknown, "no-such-resource"), "{unknown:?}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_it_is_there_only_for_who_has_the_token_that_the_host_was_given() {
    const TOKEN: &str = "8f14e45fceea167a5a36dedd4bea2543";
    let components = "GET /admin/v1/components";
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    assert_eq!(over_tcp(&host, "GET /readyz", &[]).await.status, 200);
    let right = format!("authorization: Bearer {TOKEN}");
    for headers in [&[][..], &[right.as_str()]] {
        let answer = over_tcp(&host, components, headers).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(is_a_problem(&answer, "forbidden"), "{answer:?}");
    }
    drop(host);

    let setup = setup.with("MARQUEE_ADMIN_TOKEN", TOKEN);
    let host = setup.start().await;
    assert!(!host.log().contains(TOKEN), "secrets are not logged");
    assert_eq!(over_tcp(&host, "GET /readyz", &[]).await.status, 200);
    for headers in [
        &[][..],
        &["authorization: Bearer 00000000000000000000000000000000"],
        &["authorization: Basic OGYxNGU0NWY="],
    ] {
        for line in [components, "POST /admin/v1/components/hello/rollback"] {
            let answer = over_tcp(&host, line, headers).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(is_a_problem(&answer, "unauthorized"), "{answer:?}");
            let challenge = answer.head.to_ascii_lowercase();
            assert!(
                challenge.contains("www-authenticate: bearer"),
                "{challenge}"
            );
        }
    }
    let answer = over_tcp(&host, components, &[&right]).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    // The command line does with it all that it does on the socket, from anywhere.
    let other = remade("hello", "v2", folder.path());
    let elsewhere = Setup::application(folder.path().join("spin.toml"), &[])
        .await
        .with("MARQUEE_ADMIN", &host.admin);
    let said = refused(&elsewhere, &["versions"]);
    assert!(said.contains("send the host's token"), "{said}");
    let elsewhere = elsewhere.with("MARQUEE_ADMIN_TOKEN", TOKEN);
    done(&elsewhere, &["deploy", "hello", &other, "--label", "v2"]);
    assert_eq!(versions(&setup, "hello")[0]["labels"], json!(["v2"]));
    let history = done(&setup, &["history", "hello"]);
    assert!(history.contains("token holder at 127.0.0.1"), "{history}");
    // What was refused at the door is no change, but is in the log.
    assert_eq!(host.log().matches("had not the token").count(), 7);
    drop(host);

    let weak = setup.with("MARQUEE_ADMIN_TOKEN", "secret");
    let said = refused(
        &weak,
        &[
            "up",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
    );
    assert!(
        said.contains("MARQUEE_ADMIN_TOKEN") && !said.contains("\"secret\""),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_may_be_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("admin-token");
    fs::write(&file, "8f14e45fceea167a5a36dedd4bea2543\n").expect("written");
    let named = file.to_str().expect("a path");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let setup = setup.with("MARQUEE_ADMIN_TOKEN_FILE", named);
    let host = setup.start().await;
    let elsewhere = Setup::application(folder.path().join("spin.toml"), &[])
        .await
        .with("MARQUEE_ADMIN", &host.admin);
    refused(&elsewhere, &["versions"]);
    let elsewhere = elsewhere.with("MARQUEE_ADMIN_TOKEN_FILE", named);
    done(&elsewhere, &["versions"]);
    let config = done(&setup, &["config"]);
    assert!(
        config.contains(named) && !config.contains("8f14e45f"),
        "{config}"
    );
    drop(host);

    let two = elsewhere.with("MARQUEE_ADMIN_TOKEN", "8f14e45fceea167a5a36dedd4bea2543");
    let said = refused(&two, &["versions"]);
    assert!(said.contains("are both set"), "{said}");
    fs::remove_file(&file).expect("removed");
    let said = refused(&setup, &["versions"]);
    assert!(
        said.contains("admin-token of MARQUEE_ADMIN_TOKEN_FILE cannot be read"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_twice_are_one_version_and_who_brought_them_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let bytes = fs::read(remade("hello", "v2", folder.path())).expect("read");
    let path = "/admin/v1/components/hello/versions?label=v2";
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = ask_with(&setup, "POST", path, "application/wasm", &bytes).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answers.push(answer.json());
    }
    let of = |answer: &Value, field| answer["versions"][0][field].clone();
    for field in ["version", "stored_at_ms", "by", "size_bytes", "labels"] {
        assert_eq!(of(&answers[0], field), of(&answers[1], field), "{field}");
    }
    assert_eq!(answers[0]["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(answers[1]["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(of(&answers[0], "size_bytes"), bytes.len());
    // As the system calls the user that these tests run as.
    let user = std::process::Command::new("id").arg("-un").output();
    let user = String::from_utf8(user.expect("id").stdout).expect("text");
    assert_eq!(of(&answers[0], "by"), user.trim());
    assert_eq!(answers[0]["versions"][1]["by"], "manifest");
    let history = done(&setup, &["history", "hello"]);
    assert_eq!(history.matches(user.trim()).count(), 2, "{history}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_too_large_or_breaks_off_is_no_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let path = "/admin/v1/components/hello/versions";
    // Without its length said before, so that the bytes are counted as they come.
    let piece = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let socket = setup.data().join("admin.sock");
    let large = format!("{head}{}0\r\n\r\n", piece.repeat(33));
    let answer = raw::send_to_file(&socket, large.as_bytes()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(is_a_problem(&answer, "body-too-large"), "{answer:?}");
    raw::break_off(&socket, format!("{head}{piece}").as_bytes()).await;

    marquee_testkit::eventually(
        std::time::Duration::from_secs(20),
        "both attempts stand in the history",
        async || {
            done(&setup, &["history", "hello"])
                .matches("refused: ")
                .count()
                == 2
        },
    )
    .await;
    let stored = done(&setup, &["versions", "hello", "--json"]);
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    assert_eq!(stored[0]["versions"].as_array().map(Vec::len), Some(1));
    // Nothing is left of them, and there is room for the next.
    let names = fs::read_dir(setup.data().join("versions")).expect("a store");
    let begun = names.filter(|name| {
        let name = name.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with(".tmp")
    });
    assert_eq!(begun.count(), 0);
    let file = guest("hello");
    done(&setup, &["deploy", "hello", file.to_str().expect("text")]);
    drop(host);
}
