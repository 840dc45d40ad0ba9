//! What clients should not send: each gets a problem that says what is wrong, and nothing of what is inside.

use crate::{
    host::{Host, Setup},
    raw::{self, Answer},
};

const JSON: &str = "content-type: application/json";

async fn check(host: &Host, line: &str, headers: &[&str], body: &str, status: u16) -> Answer {
    let answer = raw::request(host.address(), line, headers, body).await;
    assert_eq!(
        answer.status, status,
        "{line} {headers:?} {body:.100}: {answer:?}"
    );
    let head = answer.head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: application/problem+json"),
        "{line}: {answer:?}"
    );
    assert!(head.contains("x-request-id: "), "{line}: {answer:?}");
    let problem = answer.json();
    for member in ["type", "title", "detail", "instance"] {
        assert!(
            problem[member].is_string(),
            "{line}: no {member} in {problem}"
        );
    }
    assert_eq!(problem["status"], status, "{line}: {problem}");
    for inside in [
        "sqlstate", "select ", "insert ", "postgres", "wasm", "panicked", ".rs:",
    ] {
        assert!(
            !answer.body.to_ascii_lowercase().contains(inside),
            "{line}: {inside} in {problem}"
        );
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_input_gets_its_problem() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let movies = "POST /v1/movies";
    let rating = "PUT /v1/movies/018f0000-0000-7000-8000-000000000000/ratings/ann";
    let whole = r#"{"title":"M","description":"","director":"Fritz Lang"}"#;

    for body in [
        "{",
        "nonsense",
        "[]",
        "\u{feff}{}",
        "{} {}",
        r#"{"title":"a\u0000b","description":"","director":"x"}"#,
    ] {
        check(&host, movies, &[JSON], body, 400).await;
    }
    check(
        &host,
        movies,
        &[JSON],
        r#"{"title":"M","description":"","director":"x","extra":1}"#,
        400,
    )
    .await;
    check(
        &host,
        movies,
        &[JSON],
        r#"{"title":"M","title":"N","description":"","director":"x"}"#,
        400,
    )
    .await;
    check(&host, movies, &[JSON], r#"{"title":"M"}"#, 400).await;
    check(
        &host,
        movies,
        &[JSON],
        &format!(
            r#"{{"title":"{}","description":"","director":"x"}}"#,
            "x".repeat(201)
        ),
        422,
    )
    .await;
    check(&host, movies, &["content-type: text/plain"], whole, 415).await;
    check(&host, movies, &[], whole, 415).await;
    check(
        &host,
        movies,
        &[JSON],
        &format!("{{\"title\":\"{}\"}}", "x".repeat(70_000)),
        413,
    )
    .await;
    check(&host, movies, &[JSON], &"x".repeat(2_000_000), 413).await;
    let refused = check(&host, "DELETE /v1/movies", &[], "", 405).await;
    assert!(
        refused.head.to_ascii_lowercase().contains("\r\nallow: "),
        "{refused:?}"
    );
    check(&host, "TRACE /v1/movies", &[], "", 405).await;
    check(&host, "GET /v1/nowhere", &[], "", 404).await;
    check(&host, "GET /v1/get-metadata", &[], "", 400).await;
    check(&host, "GET /v1/get-metadata?id=not-an-id", &[], "", 400).await;
    check(
        &host,
        "GET /v1/get-metadata?id=018f0000-0000-7000-8000-000000000000",
        &[],
        "",
        404,
    )
    .await;
    check(
        &host,
        "GET /v1/movies/018f0000-0000-7000-8000-000000000000/details",
        &[],
        "",
        404,
    )
    .await;
    check(&host, "GET /v1/movies?limit=0", &[], "", 400).await;
    check(&host, "GET /v1/movies?after=forged", &[], "", 400).await;
    check(
        &host,
        &format!("GET /v1/movies?prefix={}", "x".repeat(5_000)),
        &[],
        "",
        414,
    )
    .await;
    for value in ["0", "11", "-1", "4294967296"] {
        check(
            &host,
            rating,
            &[JSON],
            &format!("{{\"value\":{value}}}"),
            422,
        )
        .await;
    }
    for value in ["0.5", "\"5\"", "null", "NaN"] {
        check(
            &host,
            rating,
            &[JSON],
            &format!("{{\"value\":{value}}}"),
            400,
        )
        .await;
    }

    let created = raw::request(host.address(), movies, &[JSON], whole).await;
    assert_eq!(created.status, 201, "{created:?}");
    let again = check(
        &host,
        movies,
        &[JSON],
        &whole.replace("\"M\"", "\" m \""),
        409,
    )
    .await;
    assert_eq!(again.json()["existing_id"], created.json()["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_requests_are_refused_by_the_server_itself() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let address = host.address();
    for (what, request, statuses) in [
        ("no Host", "GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), [400].as_slice()),
        ("two Hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n".to_owned(), &[400]),
        ("no HTTP", "hello\r\n\r\n".to_owned(), &[400, 0]),
        (
            "two lengths",
            "POST /v1/movies HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_owned(),
            &[400],
        ),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100)), &[431]),
        ("large header", format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(40_000)), &[431]),
    ] {
        let answer = raw::send(address, request.as_bytes()).await;
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
    }
    // A client that sends half a head is let go, and others are served meanwhile.
    let slow = raw::send(address, b"GET / HTTP/1.1\r\nhost:");
    let served = raw::request(address, "GET /v1/movies", &[], "");
    let (slow, served) = futures::join!(slow, served);
    assert_eq!(served.status, 200, "{served:?}");
    assert!([408, 400, 0].contains(&slow.status), "{slow:?}");
}
