//! How often clients may ask, through HTTP: each has what the manifest gives it, and nobody has more by pretending.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marquee_testkit::eventually;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    api::users::Guarded,
    grpc,
    host::{Host, Setup},
    http2::Raw,
    manifests,
    raw::{self, Answer},
    releases::guest,
};

/// A component with these lines in its `tool.marquee` table.
async fn with(folder: &Path, component: &str, lines: &str) -> Setup {
    let manifest = folder.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2
[application]
name = \"rates\"
[[trigger.http]]
route = \"/...\"
component = \"{component}\"
[component.{component}]
source = {:?}
[component.{component}.tool.marquee]
{lines}
",
        guest(component)
    );
    fs::write(&manifest, text).expect("a manifest");
    Setup::application(manifest, &[]).await
}

async fn ask(host: &Host, line: &str, headers: &[&str]) -> Answer {
    raw::request(host.address(), line, headers, "").await
}

/// The statuses of one request after another.
async fn statuses<const N: usize>(host: &Host, line: &str, headers: &[&str]) -> [u16; N] {
    let mut statuses = [0; N];
    for status in &mut statuses {
        *status = ask(host, line, headers).await.status;
    }
    statuses
}

fn header(answer: &Answer, name: &str) -> Option<u64> {
    let head = answer.head.to_ascii_lowercase();
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")))?;
    Some(value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_passes_then_429_says_when_to_come_again_and_then_it_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "rates = [{ class = \"all\", client = { rate = \"12/m\", burst = 3 } }]";
    let setup = with(folder.path(), "hello", lines).await;
    let host = setup.start().await;
    for remaining in [2, 1, 0] {
        let answer = ask(&host, "GET /Ada", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(header(&answer, "ratelimit-limit"), Some(3));
        assert_eq!(header(&answer, "ratelimit-remaining"), Some(remaining));
        let reset = header(&answer, "ratelimit-reset");
        assert_eq!(reset, Some(5 * (3 - remaining)));
        assert_eq!(header(&answer, "retry-after"), None);
    }
    let refused = ask(&host, "GET /Ada", &[]).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(
        refused.head.contains("application/problem+json"),
        "{refused:?}"
    );
    assert!(refused.head.contains("x-request-id"), "{refused:?}");
    assert_eq!(refused.json()["type"], "/problems/too-many-requests");
    assert_eq!(header(&refused, "ratelimit-limit"), Some(3));
    assert_eq!(header(&refused, "ratelimit-remaining"), Some(0));
    let wait = header(&refused, "retry-after");
    assert!(matches!(wait, Some(1..=5)), "{refused:?}");
    eventually(Duration::from_secs(20), "it may ask again", async || {
        ask(&host, "GET /Ada", &[]).await.status == 200
    })
    .await;
    // Those who watch over the host are not clients.
    for _ in 0..5 {
        let admin = host.admin.trim_start_matches("http://");
        let health = raw::request(admin, "GET /readyz", &[], "").await;
        assert_eq!(health.status, 200, "{health:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_an_http_2_connection_are_one_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "rates = [{ class = \"all\", client = { rate = \"2/h\" } }]";
    let setup = with(folder.path(), "hello", lines).await;
    let host = setup.start().await;
    let stream = TcpStream::connect(host.address())
        .await
        .expect("it listens");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("it speaks HTTP/2");
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    for expected in [200, 200, 429] {
        let request = Request::get(format!("{}/Ada", host.url)).body(Empty::<Bytes>::new());
        let request = request.expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{answer:?}");
        assert_eq!(answer.headers()["ratelimit-limit"], "2");
        assert_eq!(
            answer.headers().contains_key("retry-after"),
            expected == 429
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_count_apart_and_another_spelling_leads_out_of_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "rates = [
        { class = \"log-in\", methods = [\"POST\"], paths = [\"/sessions\"], client = { rate = \"1/h\" } },
        { class = \"reads\", methods = [\"GET\", \"HEAD\"], client = { rate = \"2/h\" } },
        { class = \"writes\", client = { rate = \"3/h\" } },
    ]";
    let setup = with(folder.path(), "hello", lines).await;
    let host = setup.start().await;
    assert_eq!(statuses(&host, "GET /Ada", &[]).await, [200, 200, 429]);
    assert_eq!(statuses(&host, "POST /sessions", &[]).await, [200, 429]);
    for spelling in ["//sessions", "/%73essions", "/./sessions", "/sessions/"] {
        let answer = ask(&host, &format!("POST {spelling}"), &[]).await;
        assert_eq!(answer.status, 429, "{spelling}: {answer:?}");
    }
    let writes = statuses(&host, "PUT /Ada", &[]).await;
    assert_eq!(writes, [200, 200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_are_apart_and_what_they_say_of_themselves_is_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "rates = [{ class = \"all\", client = { rate = \"2/h\" } }]";
    let setup = with(folder.path(), "hello", lines).await;
    let setup = setup.with("MARQUEE_TRUSTED_PROXIES", "1");
    let host = setup.start().await;
    let one = ["x-forwarded-for: 192.0.2.1"];
    assert_eq!(statuses(&host, "GET /Ada", &one).await, [200, 200, 429]);
    let other = ["x-forwarded-for: 192.0.2.2"];
    assert_eq!(statuses(&host, "GET /Ada", &other).await, [200, 200, 429]);
    // The proxy adds to the list what it was sent.
    let spoofed = ["x-forwarded-for: 192.0.2.3", "x-forwarded-for: 192.0.2.1"];
    assert_eq!(statuses(&host, "GET /Ada", &spoofed).await, [429]);
    let spoofed = [
        "x-forwarded-for: 192.0.2.4, 192.0.2.2",
        "forwarded: for=192.0.2.5",
    ];
    assert_eq!(statuses(&host, "GET /Ada", &spoofed).await, [429]);
    // A customer with a /64 has addresses without end.
    let six = |host_part: &str| format!("x-forwarded-for: 2001:db8:1:2:{host_part}");
    assert_eq!(
        statuses(&host, "GET /Ada", &[&six("a::1")]).await,
        [200, 200]
    );
    assert_eq!(statuses(&host, "GET /Ada", &[&six("b::2")]).await, [429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trusted_proxy_x_forwarded_for_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "rates = [{ class = \"all\", client = { rate = \"2/h\" } }]";
    let setup = with(folder.path(), "hello", lines).await;
    let host = setup.start().await;
    assert_eq!(statuses(&host, "GET /Ada", &[]).await, [200, 200, 429]);
    let spoofed = ["x-forwarded-for: 192.0.2.1"];
    assert_eq!(statuses(&host, "GET /Ada", &spoofed).await, [429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_have_buckets_of_their_own_until_the_component_says_whose_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "subject_header = \"who\"
        rates = [{ class = \"all\", client = { rate = \"100/h\" }, subject = { rate = \"2/h\" } }]";
    let setup = with(folder.path(), "subject", lines).await;
    let setup = setup.with("MARQUEE_LOG", "info,marquee_triggers=debug");
    let host = setup.start().await;
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let get = async |token: &str| ask(&host, "GET /", &[&bearer(token)]).await;

    let first = get("ann-1").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(header(&first, "ratelimit-remaining"), Some(1));
    let head = first.head.to_ascii_lowercase();
    assert!(!head.contains("who:"), "a subject stays inside: {head}");
    assert_eq!(get("bob-1").await.status, 200, "another token");
    // The second token of ann's is known as hers after its first answer.
    assert_eq!(get("ann-2").await.status, 200);
    assert_eq!(get("ann-2").await.status, 200);
    assert_eq!(get("ann-1").await.status, 200);
    for token in ["ann-1", "ann-2"] {
        let refused = get(token).await;
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(header(&refused, "ratelimit-limit"), Some(2));
        assert_eq!(
            ask(&host, "GET /", &[&format!("authorization: bearer {token}")])
                .await
                .status,
            429,
            "in whatever case the scheme is"
        );
    }
    assert_eq!(statuses(&host, "GET /", &[]).await, [200; 5], "no token");
    let log = host.log();
    assert!(log.contains("a request was refused by a rate"), "{log}");
    assert!(!log.contains("ann-1"), "tokens are in no log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_movie_system_has_one_rate_whichever_of_their_tokens_they_show() {
    let own = "subject = { rate = \"100/s\", burst = 1000 }";
    let (_folder, manifest) = manifests::movies(|text| {
        assert!(text.contains(own), "{text}");
        text.replace(own, "subject = { rate = \"3/h\" }")
    });
    let names = ["METADATA", "RATING", "USERS", "BUS"];
    let setup = Setup::application(manifest, &names).await;
    let system = Guarded::on(setup.with("SPIN_VARIABLE_AUTH", "required")).await;
    let (ann, bob) = (system.member("ann").await, system.member("bob").await);
    let login = json!({"login": "ann", "password": "a quiet harbour"});
    let second = system.ask("POST /v1/sessions", None, &login).await.json();
    let second = second["access_token"].as_str().expect("a token");
    let me = async |token: &str| {
        let line = "GET /v1/users/me";
        system.ask(line, Some(token), &Value::Null).await.status
    };
    // Each is known as hers after its first answer.
    assert_eq!(me(second).await, 200);
    assert_eq!(me(&ann.access).await, 200);
    let mut left = 4;
    while me(&ann.access).await != 429 {
        left -= 1;
        assert!(left > 0, "three in an hour");
    }
    assert_eq!(me(second).await, 429, "it is hers too");
    assert_eq!(me(&bob.access).await, 200, "he has his own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_names_calls_of_grpc_by_their_paths_and_its_refusal_is_a_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "rates = [{ class = \"submit\", methods = [\"POST\"], paths = [\"/MetadataService/SubmitMetadata\"], client = { rate = \"2/h\" } }]";
    let setup = with(folder.path(), "hello", lines).await;
    let host = setup.start().await;
    let mut raw = Raw::to(host.address()).await;
    let submit = format!("{}/MetadataService/SubmitMetadata", host.url);
    // The component speaks no gRPC; the host's refusal does.
    for _ in 0..2 {
        let passed = raw.call(&submit, grpc::framed(0, b"")).await;
        assert_eq!(passed.code(), None, "{passed:?}");
    }
    let refused = raw.call(&submit, grpc::framed(0, b"")).await;
    assert_eq!(
        (refused.status, refused.code()),
        (200, Some("8")),
        "{refused:?}"
    );
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert!(refused.headers.contains_key("grpc-message"), "{refused:?}");
    let other = format!("{}/MetadataService/GetMetadata", host.url);
    let other = raw.call(&other, grpc::framed(0, b"")).await;
    assert_eq!(other.code(), None, "{other:?}");
}
