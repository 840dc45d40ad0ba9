//! Bad input of every class: which status and which problem it gets, and that nothing comes of it. What can be wrong with
//! any body is in `bad_bodies`.

use serde_json::json;

use super::{Api, JSON, PLAYTIME, UNKNOWN, assert_problem};
use crate::raw;

/// What is sent, and what comes back.
#[derive(Clone)]
struct Case {
    what: String,
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
    status: u16,
    problem: &'static str,
    field: Option<&'static str>,
}

/// Sends each case, and looks that there is one movie still and no rating.
async fn check(api: &Api, cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let headers: Vec<&str> = case.headers.iter().map(String::as_str).collect();
        let answer = api.ask(&case.line, &headers, &case.body).await;
        let what = format!("{}: {}", case.what, case.line);
        let problem = assert_problem(&what, &answer, case.status, case.problem);
        assert_eq!(
            problem["field"].as_str(),
            case.field,
            "{what:.200}: {problem}"
        );
        assert_eq!(
            answer.header("allow").is_some(),
            case.status == 405,
            "{what:.200}: {answer:?}"
        );
    }
    assert_eq!(api.ratings("ana").await, [] as [serde_json::Value; 0]);
    let movies = api.get("/v1/movies").await.json();
    assert_eq!(
        movies["movies"].as_array().map(Vec::len),
        Some(1),
        "{movies}"
    );
}

/// A request with a good body whose URL is bad.
fn url(what: &str, method: &str, target: impl AsRef<str>, field: Option<&'static str>) -> Case {
    Case {
        what: what.to_owned(),
        line: format!("{method} {}", target.as_ref()),
        headers: vec![JSON.to_owned()],
        body: if method == "GET" {
            Vec::new()
        } else {
            br#"{"value": 7}"#.to_vec()
        },
        status: 400,
        problem: "invalid-parameter",
        field,
    }
}

/// A body for `POST /v1/movies`.
fn movie(
    what: &str,
    body: impl AsRef<[u8]>,
    status: u16,
    problem: &'static str,
    field: Option<&'static str>,
) -> Case {
    Case {
        body: body.as_ref().to_vec(),
        status,
        problem,
        ..url(what, "POST", "/v1/movies", field)
    }
}

fn shape(status: u16) -> &'static str {
    if status == 422 {
        "out-of-bounds"
    } else {
        "wrong-shape"
    }
}

/// A field of the original's rating with another value.
fn submit(
    api: &Api,
    what: &str,
    field: &'static str,
    value: serde_json::Value,
    status: u16,
) -> Case {
    let mut body =
        json!({"record_id": api.known, "record_type": "movie", "user_id": "ana", "value": 5});
    body[field] = value;
    Case {
        line: "POST /v1/submit-rating".to_owned(),
        ..movie(what, body.to_string(), status, shape(status), Some(field))
    }
}

/// A field of the original's movie with another value.
fn submit_movie(what: &str, field: &'static str, value: serde_json::Value, status: u16) -> Case {
    let mut body =
        json!({"id": "", "title": "a", "description": "", "director": "b", "record_type": "movie"});
    body[field] = value;
    Case {
        line: "POST /v1/submit-metadata".to_owned(),
        ..movie(what, body.to_string(), status, shape(status), Some(field))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json_or_of_another_shape_is_400() {
    let api = Api::start().await;
    let whole = r#"{"title":"a","description":"","director":"b"}"#;
    let malformed = |what, body: &str| movie(what, body, 400, "malformed-body", None);
    let deep = format!("{{\"title\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        malformed("1e400 as a title", r#"{"title": 1e400}"#),
        malformed("two documents", &format!("{whole}{{}}")),
        malformed("text after the document", &format!("{whole}x")),
        malformed(
            "lone surrogate in a title",
            &whole.replace("\"a\"", "\"\\ud800\""),
        ),
        malformed("a title 10,000 deep", &deep),
    ];
    check(&api, cases).await;
    let wrong = |what, body: &str, field| movie(what, body, 400, "wrong-shape", field);
    let cases = [
        wrong(
            "missing field",
            r#"{"title":"a","description":""}"#,
            Some("director"),
        ),
        wrong("empty object", "{}", Some("title")),
        wrong(
            "null for required",
            r#"{"title":null,"description":"","director":"b"}"#,
            Some("title"),
        ),
        wrong(
            "number for string",
            r#"{"title":1,"description":"","director":"b"}"#,
            Some("title"),
        ),
        wrong(
            "object for string",
            r#"{"title":{"a":[1]},"description":"","director":"b"}"#,
            Some("title"),
        ),
        wrong(
            "duplicate key",
            r#"{"title":"a","title":"b","description":"","director":"b"}"#,
            Some("title"),
        ),
        wrong(
            "a field that only answers have",
            r#"{"id":"x","title":"a","description":"","director":"b"}"#,
            None,
        ),
        wrong(
            "the original's field",
            r#"{"title":"a","description":"","director":"b","record_type":"movie"}"#,
            None,
        ),
        submit(&api, "rating as a string", "value", json!("5"), 400),
        submit(&api, "user as a number", "user_id", json!(7), 400),
        submit(&api, "record as null", "record_id", json!(null), 400),
        submit(
            &api,
            "record type as a list",
            "record_type",
            json!(["movie"]),
            400,
        ),
        submit_movie("id as a number", "id", json!(1), 400),
        submit_movie("description as null", "description", json!(null), 400),
        submit_movie("record type as null", "record_type", json!(null), 400),
    ];
    check(&api, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_is_400_wherever_it_stands() {
    let api = Api::start().await;
    let rating = format!("/v1/movies/{}/ratings/a%00b", api.known);
    let in_movie = |field: &'static str| {
        let mut body = json!({"title": "a", "description": "", "director": "b"});
        body[field] = "x\0y".into();
        movie("NUL", body.to_string(), 400, "wrong-shape", Some(field))
    };
    let cases = [
        in_movie("title"),
        in_movie("description"),
        in_movie("director"),
        submit(&api, "NUL", "user_id", json!("a\0"), 400),
        submit(&api, "NUL", "record_id", json!("\0"), 400),
        submit(&api, "NUL", "record_type", json!("movie\0"), 400),
        submit_movie("NUL", "id", json!("\0"), 400),
        submit_movie("NUL", "title", json!("\0"), 400),
        submit_movie("NUL", "record_type", json!("movie\0"), 400),
        url("%00 in an id", "GET", "/v1/movies/%00", None),
        url("%00 in a user", "PUT", &rating, None),
        url("%00 in a user", "DELETE", &rating, None),
        url("%00 in a query", "GET", "/v1/movies?prefix=a%00", None),
        url("%00 in a cursor", "GET", "/v1/movies?after=%00", None),
        url(
            "%00 in an id in a query",
            "GET",
            "/v1/get-metadata?id=%00",
            None,
        ),
        url(
            "%00 in a parameter that nobody knows",
            "GET",
            "/v1/movies?x=%00",
            None,
        ),
    ];
    check(&api, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_that_is_no_integer_is_400_and_one_out_of_range_422() {
    let api = Api::start().await;
    let out_of_range = [
        "-1",
        "0",
        "-0",
        "0.0",
        "11",
        "256",
        "257",
        "2147483648",
        "4294967296",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551617",
        "1e300",
        "-1e300",
    ];
    let no_integer = [
        "0.5", "10.0001", "5.5", "\"5\"", "true", "null", "[5]", "{}",
    ];
    let values = out_of_range
        .map(|value| (value, 422))
        .into_iter()
        .chain(no_integer.map(|value| (value, 400)));
    for (value, status) in values {
        let what = format!("value {value}");
        let known = &api.known;
        let submission = format!(
            r#"{{"record_id": "{known}", "record_type": "movie", "user_id": "ana", "value": {value}}}"#
        );
        let cases = [
            (
                format!("PUT /v1/movies/{known}/ratings/ana"),
                format!("{{\"value\": {value}}}"),
            ),
            ("POST /v1/submit-rating".to_owned(), submission),
        ]
        .map(|(line, body)| Case {
            line,
            ..movie(&what, body, status, shape(status), Some("value"))
        });
        check(&api, cases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_outside_its_bounds_is_422() {
    let api = Api::start().await;
    for (field, what, text) in [
        ("title", "empty", String::new()),
        ("title", "blank", " \t\u{a0}\n".to_owned()),
        ("title", "of 201 characters", "x".repeat(201)),
        (
            "title",
            "of 201 characters between blanks",
            format!(" {} ", "x".repeat(201)),
        ),
        ("title", "of 201 emoji", "🎬".repeat(201)),
        ("title", "of 1,000 combining marks", "\u{301}".repeat(1_000)),
        ("description", "of 4,001 characters", "x".repeat(4_001)),
        ("director", "empty", String::new()),
        ("director", "of 201 characters", "x".repeat(201)),
    ] {
        let mut body = json!({"title": "a", "description": "", "director": "b"});
        body[field] = text.clone().into();
        let cases = [
            movie(what, body.to_string(), 422, "out-of-bounds", Some(field)),
            submit_movie(what, field, text.into(), 422),
        ];
        check(&api, cases).await;
    }
    let mut cases = Vec::new();
    for (what, text) in [
        ("empty", String::new()),
        ("blank", "  ".to_owned()),
        ("with an outer blank", "ana ".to_owned()),
        ("of 129 bytes", "x".repeat(129)),
        ("of 65 two-byte characters", "é".repeat(65)),
        ("with a newline", "a\nb".to_owned()),
        ("with an ANSI escape", "\u{1b}[2J".to_owned()),
    ] {
        cases.push(submit(&api, what, "user_id", text.into(), 422));
    }
    for text in ["book", "Movie", "", " movie"] {
        cases.push(submit(
            &api,
            "another record type",
            "record_type",
            text.into(),
            422,
        ));
        cases.push(submit_movie(
            "another record type",
            "record_type",
            text.into(),
            422,
        ));
    }
    cases.push(submit_movie("an id", "id", UNKNOWN.into(), 422));
    check(&api, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_id_is_400() {
    let api = Api::start().await;
    let long = "a".repeat(3_000);
    for id in [
        "x",
        "-1",
        "%20",
        "%7B0192f0c1-2345-7abc-8def-0123456789ab%7D",
        "urn:uuid:0192f0c1-2345-7abc-8def-0123456789ab",
        "0192f0c123457abc8def0123456789ab",
        "0192f0c1-2345-7abc-8def-0123456789ab%20",
        "..%2f..%2fetc%2fpasswd",
        "%27%20or%201=1--",
        "%F0%9F%8E%AC",
        &long,
    ] {
        let mut cases = [
            ("GET", format!("/v1/movies/{id}")),
            ("GET", format!("/v1/movies/{id}/details")),
            ("GET", format!("/v1/get-metadata?id={id}")),
            ("GET", format!("/v1/get-movie-details?id={id}")),
            ("PUT", format!("/v1/movies/{id}/ratings/ana")),
            ("DELETE", format!("/v1/movies/{id}/ratings/ana")),
        ]
        .map(|(method, target)| url("no id", method, target, Some("id")))
        .to_vec();
        if !id.contains('%') {
            cases.push(submit(&api, "no id", "record_id", id.into(), 400));
        }
        check(&api, cases).await;
    }
    let rating = |user: &str| format!("/v1/movies/{}/ratings/{user}", api.known);
    let cases = [
        url("id missing", "GET", "/v1/get-metadata", Some("id")),
        url("id missing", "GET", "/v1/get-movie-details", Some("id")),
        url("id empty", "GET", "/v1/get-metadata?id=", Some("id")),
        url(
            "id without a value",
            "GET",
            "/v1/get-metadata?id",
            Some("id"),
        ),
        url(
            "id in capitals",
            "GET",
            format!("/v1/get-metadata?ID={}", api.known),
            Some("id"),
        ),
        url(
            "user of 129 bytes",
            "PUT",
            rating(&"x".repeat(129)),
            Some("user"),
        ),
        url(
            "user with a newline",
            "DELETE",
            rating("a%0ab"),
            Some("user"),
        ),
        url("user blank", "GET", "/v1/users/%20/ratings", Some("user")),
    ];
    check(&api, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_not_the_routes_is_400() {
    let api = Api::start().await;
    for limit in [
        "0",
        "-1",
        "1000000000",
        "99999999999999999999",
        "101",
        "1.5",
        "1e1",
        "ten",
        "",
        "%2B5",
        "0x10",
    ] {
        let cases = ["/v1/movies", "/v1/users/ana/ratings"].map(|path| {
            url(
                "limit",
                "GET",
                format!("{path}?limit={limit}"),
                Some("limit"),
            )
        });
        check(&api, cases).await;
    }
    let (long, known) = ("x".repeat(2_049), &api.known);
    for after in ["", "forged", &long] {
        let cases = ["/v1/movies", "/v1/users/ana/ratings"].map(|path| {
            url(
                "cursor",
                "GET",
                format!("{path}?after={after}"),
                Some("after"),
            )
        });
        check(&api, cases).await;
    }
    let cases = [
        url(
            "limit twice",
            "GET",
            "/v1/movies?limit=1&limit=1",
            Some("limit"),
        ),
        url(
            "id twice",
            "GET",
            format!("/v1/get-metadata?id={known}&id={known}"),
            Some("id"),
        ),
        url(
            "prefix of 201 characters",
            "GET",
            format!("/v1/movies?prefix={}", "%C3%A9".repeat(201)),
            Some("prefix"),
        ),
        Case {
            status: 414,
            problem: "uri-too-long",
            ..url(
                "10,000 characters",
                "GET",
                format!("/v1/movies?prefix={}", "x".repeat(10_000)),
                None,
            )
        },
    ];
    check(&api, cases).await;
    let escapes = [
        "/v1/movies/%",
        "/v1/movies/%4",
        "/v1/movies/%zz",
        "/v1/movies/%ff",
        "/v1/movies/%c0%af",
        "/%",
    ];
    let queries = [
        "/v1/movies?prefix=%",
        "/v1/movies?prefix=%ff",
        "/v1/movies?%ff=1",
    ];
    check(
        &api,
        escapes
            .into_iter()
            .chain(queries)
            .map(|target| url("escapes", "GET", target, None)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_there_is_404() {
    let api = Api::start().await;
    let targets = [
        "*",
        "//",
        "/v1",
        "/v1/",
        "/v1/movies/",
        "//v1/movies",
        "/v1//movies",
        "/v1/./movies",
        "/v1/x/../movies",
        "/V1/movies",
        "/v1/movies/x/y",
        "/v1/movies//details",
        "/v1/movies/x/details/",
        "/v1/movies/x/ratings/",
        "/v1/users//ratings",
        "/v1/users/ana",
        "/v1%2Fmovies",
        "/docs/",
        "/openapi",
        "/problems",
        "/problems/",
        "/problems/none",
        "/admin",
        "/.env",
        "/v1/nowhere?id=1",
    ];
    let nothing = |target| Case {
        status: 404,
        problem: "no-such-resource",
        ..url("path", "GET", target, None)
    };
    check(&api, targets.map(nothing)).await;
    // A dot segment is a segment like any other, here an id that is none.
    check(&api, [url("dots", "GET", "/v1/movies/..", Some("id"))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_path_does_not_have_is_405_and_allow_says_which_it_has() {
    let api = Api::start().await;
    for (target, has) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/v1/get-metadata", "GET, HEAD, OPTIONS"),
        ("/v1/get-movie-details", "GET, HEAD, OPTIONS"),
        ("/v1/submit-metadata", "POST, OPTIONS"),
        ("/v1/submit-rating", "POST, OPTIONS"),
        ("/v1/movies", "GET, HEAD, POST, OPTIONS"),
        ("/v1/movies/x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/v1/movies/batch", "POST, OPTIONS"),
        ("/v1/movies/x/details", "GET, HEAD, OPTIONS"),
        ("/v1/movies/x/ratings", "GET, HEAD, OPTIONS"),
        (
            "/v1/movies/x/ratings/ana",
            "GET, HEAD, PUT, DELETE, OPTIONS",
        ),
        ("/v1/ratings/batch", "POST, OPTIONS"),
        ("/v1/events/x", "GET, HEAD, OPTIONS"),
        ("/v1/users/ana/ratings", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/problems/internal", "GET, HEAD, OPTIONS"),
    ] {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "get", "Post", "BREW",
        ] {
            if has.split(", ").any(|own| own == method) {
                continue;
            }
            let answer = api.ask(&format!("{method} {target}"), &[], "").await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some(has)),
                "{method} {target}"
            );
            if method != "HEAD" {
                assert_problem(method, &answer, 405, "method-not-allowed");
            }
        }
    }
    // What no path has, the host refuses before it asks anybody.
    let answer = api.ask("TRACE /v1/movies", &[], "").await;
    assert_problem("TRACE", &answer, 405, "method-not-allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_said_to_be_plain_json_is_415_and_one_that_is_too_large_413() {
    let api = Api::start().await;
    let whole = r#"{"title":"a","description":"","director":"b"}"#;
    for headers in [
        [].as_slice(),
        &["content-type: text/plain"],
        &["content-type: application/x-www-form-urlencoded"],
        &["content-type: application/json-patch+json"],
        &["content-type: application/json; charset=utf-16"],
        &["content-type: application/json; charset=iso-8859-1"],
        &["content-type: application/json; version=2"],
        &["content-type: ;;;"],
        &[JSON, JSON],
        &[JSON, "content-encoding: gzip"],
        &[JSON, "content-encoding: deflate, gzip"],
        &[JSON, "content-encoding: unknown"],
        &[JSON, "content-encoding: identity", "content-encoding: br"],
    ] {
        let headers: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
        let what = format!("{headers:?}");
        check(
            &api,
            [Case {
                headers,
                ..movie(&what, whole, 415, "unsupported-media-type", None)
            }],
        )
        .await;
    }
    let large = |what, size| movie(what, " ".repeat(size), 413, "body-too-large", None);
    check(
        &api,
        [
            large("one byte more", 64 * 1024 + 1),
            large("for the host too", 2_000_000),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_accept_what_is_sent_gets_406_before_anything_happens() {
    let api = Api::start().await;
    let known = &api.known;
    for accept in [
        "image/png",
        "text/plain",
        "application/json;q=0",
        "text/*, image/*",
        "*/*;q=0",
    ] {
        let cases = [
            ("GET", format!("/v1/movies/{known}")),
            ("GET", "/v1/movies/x?limit=no".to_owned()),
            ("PUT", format!("/v1/movies/{known}/ratings/ana")),
            ("POST", "/v1/movies".to_owned()),
        ]
        .map(|(method, target)| Case {
            headers: vec![JSON.to_owned(), format!("accept: {accept}")],
            status: 406,
            problem: "not-acceptable",
            ..url(accept, method, target, None)
        });
        check(&api, cases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_that_is_there_is_refused_as_a_conflict() {
    let api = Api::start().await;
    let case = movie(
        "taken",
        PLAYTIME.replace("Playtime", "PLAYTIME"),
        409,
        "title-taken",
        None,
    );
    check(&api, [case]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_requests_are_refused_by_the_server_itself() {
    let api = Api::start().await;
    let address = api.host.address();
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
    // A body that turns out to be none, and one that is too large without saying so.
    for (what, body, status) in [
        (
            "a broken chunk",
            "5\r\n{\"tit\r\nnonsense\r\n".to_owned(),
            [400, 0].as_slice(),
        ),
        (
            "many chunks",
            format!(
                "{}0\r\n\r\n",
                format!("2000\r\n{}\r\n", " ".repeat(0x2000)).repeat(16)
            ),
            &[413],
        ),
    ] {
        let head = format!(
            "POST /v1/movies HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let answer = raw::send(address, format!("{head}{body}").as_bytes()).await;
        assert!(status.contains(&answer.status), "{what}: {answer:?}");
    }
    // A client that sends half a head, or half a body, is let go, and others are served meanwhile.
    let slow = raw::send(address, b"GET / HTTP/1.1\r\nhost:");
    let half =
        format!("POST /v1/movies HTTP/1.1\r\nhost: a\r\n{JSON}\r\ncontent-length: 99\r\n\r\n{{");
    let half = raw::send(address, half.as_bytes());
    let served = raw::request(address, "GET /v1/movies", &[], "");
    let (slow, half, served) = futures::join!(slow, half, served);
    assert_eq!(served.status, 200, "{served:?}");
    assert_eq!(slow.status, 0, "{slow:?}");
    assert_eq!(half.status, 408, "{half:?}");
    assert_eq!(half.json()["type"], "/problems/body-too-slow");
}
