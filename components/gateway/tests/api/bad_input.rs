//! Bad input of every class: which status and which problem it gets, and that nobody behind the gateway hears
//! of it. `cargo test -p gateway --test api -- --nocapture bad_input` prints the table.

use std::time::{Duration, Instant};

use gateway::http::{BODY_MAX_BYTES, Broken};

use crate::double::{Double, KNOWN, Pieces, assert_problem, send, send_pieces};

const JSON: (&str, &str) = ("content-type", "application/json");

struct Case {
    what: String,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    problem: &'static str,
    field: Option<&'static str>,
}

#[track_caller]
fn check(class: &str, cases: Vec<Case>) {
    for case in cases {
        let double = Double::default();
        let began = Instant::now();
        let response = send(
            &double,
            case.method,
            &case.target,
            &case.headers,
            &case.body,
        );
        let took = began.elapsed();
        println!(
            "| {class} | {} | {} {} |",
            case.what, response.status, case.problem
        );
        let body = assert_problem(&response, case.status, case.problem);
        assert_eq!(body["field"].as_str(), case.field, "{}", case.what);
        assert!(
            double.calls.borrow().is_empty(),
            "{}: {:?}",
            case.what,
            double.calls.borrow()
        );
        assert!(took < Duration::from_millis(500), "{}: {took:?}", case.what);
        assert_eq!(
            response.header("allow").is_some(),
            case.status == 405,
            "{}",
            case.what
        );
    }
}

/// The same wrong bytes sent to each route that takes a body.
fn bodies(what: &str, body: impl AsRef<[u8]>, problem: &'static str) -> Vec<Case> {
    let put = format!("/v1/movies/{KNOWN}/ratings/ana");
    [
        ("POST", "/v1/movies".to_owned()),
        ("POST", "/v1/submit-metadata".to_owned()),
        ("POST", "/v1/submit-rating".to_owned()),
        ("PUT", put),
    ]
    .into_iter()
    .map(|(method, target)| Case {
        what: what.to_owned(),
        method,
        target,
        headers: vec![JSON],
        body: body.as_ref().to_vec(),
        status: 400,
        problem,
        field: None,
    })
    .collect()
}

fn url(
    what: &str,
    method: &'static str,
    target: impl Into<String>,
    field: Option<&'static str>,
) -> Case {
    Case {
        what: what.to_owned(),
        method,
        target: target.into(),
        headers: vec![JSON],
        body: br#"{"value": 7}"#.to_vec(),
        status: 400,
        problem: "invalid-parameter",
        field,
    }
}

fn movie(
    what: &str,
    body: impl Into<Vec<u8>>,
    status: u16,
    problem: &'static str,
    field: Option<&'static str>,
) -> Case {
    Case {
        what: what.to_owned(),
        method: "POST",
        target: "/v1/movies".to_owned(),
        headers: vec![JSON],
        body: body.into(),
        status,
        problem,
        field,
    }
}

/// A rating whose value is this JSON text.
fn rating(value: &str, status: u16) -> Vec<Case> {
    let problem = if status == 422 {
        "out-of-bounds"
    } else {
        "wrong-shape"
    };
    let case = |method, target: String, body: String| Case {
        what: format!("value {value}"),
        method,
        target,
        headers: vec![JSON],
        body: body.into_bytes(),
        status,
        problem,
        field: Some("value"),
    };
    vec![
        case(
            "PUT",
            format!("/v1/movies/{KNOWN}/ratings/ana"),
            format!("{{\"value\": {value}}}"),
        ),
        case(
            "POST",
            "/v1/submit-rating".into(),
            submission(&format!("\"{KNOWN}\""), "\"movie\"", "\"ana\"", value),
        ),
    ]
}

fn submission(record_id: &str, record_type: &str, user_id: &str, value: &str) -> String {
    format!(
        r#"{{"record_id": {record_id}, "record_type": {record_type}, "user_id": {user_id}, "value": {value}}}"#
    )
}

fn submit(what: &str, body: String, status: u16, field: &'static str) -> Case {
    Case {
        target: "/v1/submit-rating".to_owned(),
        ..movie(
            what,
            body,
            status,
            if status == 422 {
                "out-of-bounds"
            } else {
                "wrong-shape"
            },
            Some(field),
        )
    }
}

#[test]
fn what_is_not_json_is_400() {
    let utf_16: Vec<u8> = "\u{feff}{\"value\":7}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: [(&str, Vec<u8>); 20] = [
        ("empty body", b"".to_vec()),
        ("blank body", b" \n".to_vec()),
        ("`{`", b"{".to_vec()),
        ("`{\"`", b"{\"".to_vec()),
        ("trailing comma", b"{\"value\": 7,}".to_vec()),
        ("NaN", b"{\"value\": NaN}".to_vec()),
        ("Infinity", b"{\"value\": -Infinity}".to_vec()),
        ("BOM", b"\xEF\xBB\xBF{\"value\": 7}".to_vec()),
        ("comment", b"/* x */{\"value\": 7}".to_vec()),
        ("single quotes", b"{'value': 7}".to_vec()),
        ("UTF-16", utf_16),
        ("invalid UTF-8", b"{\"\xff\": 7}".to_vec()),
        ("overlong UTF-8", b"{\"\xc0\xaf\": 7}".to_vec()),
        ("lone surrogate", br#"{"\ud800": 7}"#.to_vec()),
        ("reversed surrogates", br#"{"\udc00\ud800": 7}"#.to_vec()),
        ("raw newline in a string", b"{\"a\nb\": 7}".to_vec()),
        ("raw NUL byte", b"{\"\0\": 7}".to_vec()),
        ("a form", b"title=x&director=y".to_vec()),
        ("HTML", b"<html>".to_vec()),
        ("arrays 10,000 deep", "[".repeat(10_000).into_bytes()),
    ];
    for (what, body) in cases {
        // An array that goes on is refused at its first bracket: it is no object.
        let problem = if what.starts_with("arrays") {
            "wrong-shape"
        } else {
            "malformed-body"
        };
        check("JSON syntax", bodies(what, body, problem));
    }
    check(
        "JSON syntax",
        vec![
            movie(
                "1e400 as a title",
                br#"{"title": 1e400}"#,
                400,
                "malformed-body",
                None,
            ),
            movie(
                "two documents",
                br#"{"title":"a","description":"","director":"b"}{}"#,
                400,
                "malformed-body",
                None,
            ),
            movie(
                "text after the document",
                br#"{"title":"a","description":"","director":"b"}x"#,
                400,
                "malformed-body",
                None,
            ),
            movie(
                "lone surrogate in a title",
                br#"{"title":"\ud800","description":"","director":"b"}"#,
                400,
                "malformed-body",
                None,
            ),
            movie(
                "a title 10,000 deep",
                format!("{{\"title\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)),
                400,
                "malformed-body",
                None,
            ),
        ],
    );
}

#[test]
fn json_of_another_shape_is_400() {
    let many: String = (0..5_000).map(|at| format!("\"k{at}\":1,")).collect();
    for (what, body) in [
        ("array for object", "[]".to_owned()),
        (
            "array with the fields' values",
            r#"["a", "b", "c"]"#.to_owned(),
        ),
        ("null", "null".to_owned()),
        ("number", "7".to_owned()),
        ("string", "\"x\"".to_owned()),
        ("unknown field", r#"{"extra": 1}"#.to_owned()),
        (
            "`__proto__`",
            r#"{"__proto__": {"admin": true}}"#.to_owned(),
        ),
        ("5,000 keys", format!("{{{many}\"x\":1}}")),
        (
            "field in capitals",
            r#"{"VALUE": 7, "TITLE": "x"}"#.to_owned(),
        ),
        ("NUL in a field's name", "{\"value\\u0000\": 7}".to_owned()),
    ] {
        check("JSON shape", bodies(what, body, "wrong-shape"));
    }
    check(
        "JSON shape",
        vec![
            movie(
                "missing field",
                r#"{"title":"a","description":""}"#,
                400,
                "wrong-shape",
                Some("director"),
            ),
            movie("empty object", "{}", 400, "wrong-shape", Some("title")),
            movie(
                "null for required",
                r#"{"title":null,"description":"","director":"b"}"#,
                400,
                "wrong-shape",
                Some("title"),
            ),
            movie(
                "number for string",
                r#"{"title":1,"description":"","director":"b"}"#,
                400,
                "wrong-shape",
                Some("title"),
            ),
            movie(
                "object for string",
                r#"{"title":{"a":[1]},"description":"","director":"b"}"#,
                400,
                "wrong-shape",
                Some("title"),
            ),
            movie(
                "duplicate key",
                r#"{"title":"a","title":"b","description":"","director":"b"}"#,
                400,
                "wrong-shape",
                Some("title"),
            ),
            movie(
                "a field that only answers have",
                format!(
                    "{{\"id\":\"{KNOWN}\",\"title\":\"a\",\"description\":\"\",\"director\":\"b\"}}"
                ),
                400,
                "wrong-shape",
                None,
            ),
            submit(
                "rating as a string",
                submission(&format!("\"{KNOWN}\""), "\"movie\"", "\"ana\"", "\"5\""),
                400,
                "value",
            ),
            submit(
                "user as a number",
                submission(&format!("\"{KNOWN}\""), "\"movie\"", "7", "5"),
                400,
                "user_id",
            ),
            submit(
                "record as null",
                submission("null", "\"movie\"", "\"ana\"", "5"),
                400,
                "record_id",
            ),
        ],
    );
}

#[test]
fn nul_is_400_wherever_it_stands() {
    check(
        "NUL",
        vec![
            movie(
                "in title",
                r#"{"title":"a\u0000","description":"","director":"b"}"#,
                400,
                "wrong-shape",
                Some("title"),
            ),
            movie(
                "in description",
                r#"{"title":"a","description":"\u0000","director":"b"}"#,
                400,
                "wrong-shape",
                Some("description"),
            ),
            movie(
                "in director",
                r#"{"title":"a","description":"","director":"x\u0000y"}"#,
                400,
                "wrong-shape",
                Some("director"),
            ),
            submit(
                "in user_id",
                submission(&format!("\"{KNOWN}\""), "\"movie\"", "\"a\\u0000\"", "5"),
                400,
                "user_id",
            ),
            submit(
                "in record_id",
                submission("\"\\u0000\"", "\"movie\"", "\"a\"", "5"),
                400,
                "record_id",
            ),
            submit(
                "in record_type",
                submission(&format!("\"{KNOWN}\""), "\"movie\\u0000\"", "\"a\"", "5"),
                400,
                "record_type",
            ),
            url("%00 in an id", "GET", "/v1/movies/%00", None),
            url(
                "%00 in a user",
                "PUT",
                format!("/v1/movies/{KNOWN}/ratings/a%00b"),
                None,
            ),
            url(
                "%00 in a user, DELETE",
                "DELETE",
                format!("/v1/movies/{KNOWN}/ratings/a%00b"),
                None,
            ),
            url("%00 in a query", "GET", "/v1/movies?prefix=a%00", None),
            url("%00 in a cursor", "GET", "/v1/movies?after=%00", None),
            url(
                "%00 in an id in a query",
                "GET",
                "/v1/get-metadata?id=%00",
                None,
            ),
        ],
    );
}

#[test]
fn a_rating_that_is_no_integer_is_400_and_one_out_of_range_422() {
    for value in [
        "-1",
        "0",
        "-0",
        "0.0",
        "11",
        "256",
        "257",
        "2147483648",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551617",
        "1e300",
        "-1e300",
    ] {
        check("numbers", rating(value, 422));
    }
    for value in [
        "0.5", "10.0001", "5.5", "\"5\"", "true", "null", "[5]", "{}",
    ] {
        check("numbers", rating(value, 400));
    }
}

#[test]
fn a_text_outside_its_bounds_is_422() {
    let field = |field: &'static str, what: &str, text: &str| {
        let mut object = serde_json::json!({"title": "a", "description": "", "director": "b"});
        object[field] = text.into();
        movie(
            &format!("{field} {what}"),
            object.to_string(),
            422,
            "out-of-bounds",
            Some(field),
        )
    };
    let user = |what: &str, text: &str| {
        let text = serde_json::Value::from(text).to_string();
        submit(
            what,
            submission(&format!("\"{KNOWN}\""), "\"movie\"", &text, "5"),
            422,
            "user_id",
        )
    };
    check(
        "strings",
        vec![
            field("title", "empty", ""),
            field("title", "blank", " \t\u{a0}\n"),
            field("title", "of 201 characters", &"x".repeat(201)),
            field("title", "of 201 emoji", &"🎬".repeat(201)),
            field(
                "title",
                "of 1,000 combining marks",
                &"\u{301}".repeat(1_000),
            ),
            field("description", "of 4,001 characters", &"x".repeat(4_001)),
            field("director", "empty", ""),
            field("director", "of 201 characters", &"x".repeat(201)),
            user("user empty", ""),
            user("user blank", "  "),
            user("user with an outer blank", "ana "),
            user("user of 129 bytes", &"x".repeat(129)),
            user("user of 65 two-byte characters", &"é".repeat(65)),
            user("user with a newline", "a\nb"),
            user("user with an ANSI escape", "\u{1b}[2J"),
            submit(
                "another record type",
                submission(&format!("\"{KNOWN}\""), "\"book\"", "\"ana\"", "5"),
                422,
                "record_type",
            ),
            submit(
                "record type in capitals",
                submission(&format!("\"{KNOWN}\""), "\"Movie\"", "\"ana\"", "5"),
                422,
                "record_type",
            ),
            submit(
                "record type empty",
                submission(&format!("\"{KNOWN}\""), "\"\"", "\"ana\"", "5"),
                422,
                "record_type",
            ),
        ],
    );
}

#[test]
fn what_is_not_an_id_is_400() {
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
        let shown: String = id.chars().take(50).collect();
        check(
            "ids",
            vec![
                url(&shown, "GET", format!("/v1/movies/{id}"), Some("id")),
                url(
                    &shown,
                    "GET",
                    format!("/v1/movies/{id}/details"),
                    Some("id"),
                ),
                url(
                    &shown,
                    "GET",
                    format!("/v1/get-metadata?id={id}"),
                    Some("id"),
                ),
                url(
                    &shown,
                    "GET",
                    format!("/v1/get-movie-details?id={id}"),
                    Some("id"),
                ),
                url(
                    &shown,
                    "PUT",
                    format!("/v1/movies/{id}/ratings/ana"),
                    Some("id"),
                ),
                url(
                    &shown,
                    "DELETE",
                    format!("/v1/movies/{id}/ratings/ana"),
                    Some("id"),
                ),
            ],
        );
        if !id.contains('%') {
            check(
                "ids",
                vec![submit(
                    &shown,
                    submission(&format!("\"{id}\""), "\"movie\"", "\"ana\"", "5"),
                    400,
                    "record_id",
                )],
            );
        }
    }
    let user = "x".repeat(129);
    check(
        "ids",
        vec![
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
                "user of 129 bytes",
                "PUT",
                format!("/v1/movies/{KNOWN}/ratings/{user}"),
                Some("user"),
            ),
            url(
                "user with a newline",
                "DELETE",
                format!("/v1/movies/{KNOWN}/ratings/a%0ab"),
                Some("user"),
            ),
            url("user blank", "GET", "/v1/users/%20/ratings", Some("user")),
        ],
    );
}

#[test]
fn a_query_that_is_not_the_routes_is_400() {
    let limits = [
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
    ];
    for limit in limits {
        check(
            "paging",
            vec![
                url(
                    &format!("limit {limit}"),
                    "GET",
                    format!("/v1/movies?limit={limit}"),
                    Some("limit"),
                ),
                url(
                    &format!("limit {limit}"),
                    "GET",
                    format!("/v1/users/ana/ratings?limit={limit}"),
                    Some("limit"),
                ),
            ],
        );
    }
    let long = "x".repeat(2_049);
    check(
        "paging",
        vec![
            url("cursor empty", "GET", "/v1/movies?after=", Some("after")),
            url(
                "cursor of 2,049 bytes",
                "GET",
                format!("/v1/movies?after={long}"),
                Some("after"),
            ),
            url(
                "cursor of 2,049 bytes",
                "GET",
                format!("/v1/users/ana/ratings?after={long}"),
                Some("after"),
            ),
            url(
                "limit twice",
                "GET",
                "/v1/movies?limit=1&limit=1",
                Some("limit"),
            ),
        ],
    );
    check(
        "query",
        vec![
            url("unknown parameter", "GET", "/v1/movies?page=1", None),
            url(
                "unknown parameter",
                "GET",
                format!("/v1/movies/{KNOWN}?id={KNOWN}"),
                None,
            ),
            url(
                "parameter in capitals",
                "GET",
                format!("/v1/get-metadata?ID={KNOWN}"),
                None,
            ),
            url(
                "id twice",
                "GET",
                format!("/v1/get-metadata?id={KNOWN}&id={KNOWN}"),
                Some("id"),
            ),
            url(
                "a query where none is taken",
                "PUT",
                format!("/v1/movies/{KNOWN}/ratings/ana?x"),
                None,
            ),
            url(
                "a query where none is taken",
                "POST",
                "/v1/submit-rating?debug=1",
                None,
            ),
        ],
    );
    check(
        "search",
        vec![
            url(
                "10,000 characters",
                "GET",
                format!("/v1/movies?prefix={}", "x".repeat(10_000)),
                Some("prefix"),
            ),
            url(
                "201 characters",
                "GET",
                format!("/v1/movies?prefix={}", "%C3%A9".repeat(201)),
                Some("prefix"),
            ),
        ],
    );
    check(
        "escapes",
        [
            "/v1/movies/%",
            "/v1/movies/%4",
            "/v1/movies/%zz",
            "/v1/movies/%ff",
            "/v1/movies/%c0%af",
            "/v1/movies?prefix=%",
            "/v1/movies?%ff=1",
        ]
        .into_iter()
        .map(|target| url(target, "GET", target, None))
        .collect(),
    );
}

#[test]
fn a_cursor_that_its_owner_did_not_make_is_400() {
    for target in [
        "/v1/movies?after=forged",
        "/v1/users/ana/ratings?after=forged",
    ] {
        let response = send(&Double::default(), "GET", target, &[], b"");
        assert_problem(&response, 400, "invalid-parameter");
    }
}

#[test]
fn a_path_that_is_not_there_is_404() {
    for target in [
        "/",
        "",
        "*",
        "//",
        "/v1",
        "/v1/",
        "/v1/movies/",
        "//v1/movies",
        "/v1//movies",
        "/v1/./movies",
        "/v1/x/../movies",
        "/v1/movies/..",
        "/V1/movies",
        "/v1/movies/x/y",
        "/v1/movies//details",
        "/v1/movies/x/details/",
        "/v1/movies/x/ratings",
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
    ] {
        if target == "/v1/movies/.." {
            // A dot segment is a segment like any other, here an id that is none.
            check("paths", vec![url(target, "GET", target, Some("id"))]);
            continue;
        }
        check(
            "paths",
            vec![Case {
                status: 404,
                problem: "no-such-resource",
                ..url(target, "GET", target, None)
            }],
        );
    }
}

#[test]
fn a_method_that_a_path_does_not_have_is_405_and_allow_says_which_it_has() {
    for (target, has) in [
        ("/v1/get-metadata", "GET, HEAD, OPTIONS"),
        ("/v1/get-movie-details", "GET, HEAD, OPTIONS"),
        ("/v1/submit-metadata", "POST, OPTIONS"),
        ("/v1/submit-rating", "POST, OPTIONS"),
        ("/v1/movies", "GET, POST, HEAD, OPTIONS"),
        ("/v1/movies/x", "GET, HEAD, OPTIONS"),
        ("/v1/movies/x/details", "GET, HEAD, OPTIONS"),
        ("/v1/movies/x/ratings/ana", "PUT, DELETE, OPTIONS"),
        ("/v1/users/ana/ratings", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/problems/internal", "GET, HEAD, OPTIONS"),
    ] {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "Post",
            "BREW", "",
        ] {
            if has.split(", ").any(|own| own == method) {
                continue;
            }
            let response = send(&Double::default(), method, target, &[], b"");
            assert_eq!(
                (response.status, response.header("allow")),
                (405, Some(has)),
                "{method} {target}"
            );
            if method != "HEAD" {
                assert_problem(&response, 405, "method-not-allowed");
            }
        }
    }
    println!("| methods | TRACE, PATCH, CONNECT, lower case, made up | 405 method-not-allowed |");
}

#[test]
fn a_body_that_is_not_said_to_be_plain_json_is_415() {
    let body = br#"{"title":"a","description":"","director":"b"}"#;
    let case = |what: &str, headers: &[(&'static str, &'static str)]| Case {
        headers: headers.to_vec(),
        status: 415,
        ..movie(what, body, 415, "unsupported-media-type", None)
    };
    check(
        "Content-Type",
        vec![
            case("none", &[]),
            case("text/plain", &[("content-type", "text/plain")]),
            case(
                "a form",
                &[("content-type", "application/x-www-form-urlencoded")],
            ),
            case(
                "application/json-patch+json",
                &[("content-type", "application/json-patch+json")],
            ),
            case(
                "charset=utf-16",
                &[("content-type", "application/json; charset=utf-16")],
            ),
            case(
                "charset=latin1",
                &[("content-type", "application/json; charset=iso-8859-1")],
            ),
            case(
                "another parameter",
                &[("content-type", "application/json; version=2")],
            ),
            case("two of them", &[JSON, JSON]),
            case("nonsense", &[("content-type", ";;;")]),
        ],
    );
    check(
        "Content-Encoding",
        vec![
            case("gzip", &[JSON, ("content-encoding", "gzip")]),
            case(
                "deflate, gzip",
                &[JSON, ("content-encoding", "deflate, gzip")],
            ),
            case("unknown", &[JSON, ("content-encoding", "unknown")]),
            case(
                "identity, then br",
                &[
                    JSON,
                    ("content-encoding", "identity"),
                    ("content-encoding", "br"),
                ],
            ),
        ],
    );
}

#[test]
fn a_client_that_does_not_accept_what_is_sent_gets_406_before_anything_happens() {
    for accept in [
        "image/png",
        "text/plain",
        "application/json;q=0",
        "text/*, image/*",
        "*/*;q=0",
    ] {
        for (method, target) in [
            ("GET", format!("/v1/movies/{KNOWN}")),
            ("PUT", format!("/v1/movies/{KNOWN}/ratings/ana")),
        ] {
            check(
                "Accept",
                vec![Case {
                    headers: vec![JSON, ("accept", accept)],
                    status: 406,
                    problem: "not-acceptable",
                    ..url(accept, method, target, None)
                }],
            );
        }
    }
}

#[test]
fn a_body_that_says_it_is_too_large_is_413_before_it_is_read() {
    let mut pieces = Pieces::default();
    let headers = [JSON, ("content-length", "65537")];
    let response = send_pieces(
        &Double::default(),
        "POST",
        "/v1/movies",
        &headers,
        &mut pieces,
    );
    assert_problem(&response, 413, "body-too-large");
    assert_eq!(pieces.asked, 0);
    println!("| body | Content-Length 65,537 | 413 body-too-large, nothing read |");
}

#[test]
fn a_body_that_turns_out_too_large_is_413_as_soon_as_it_is() {
    let mut pieces = Pieces::default();
    pieces
        .pieces
        .extend((0..1_000).map(|_| Ok(vec![b' '; 16_384])));
    let response = send_pieces(
        &Double::default(),
        "POST",
        "/v1/movies",
        &[JSON],
        &mut pieces,
    );
    assert_problem(&response, 413, "body-too-large");
    assert_eq!(pieces.asked, 5);
    println!(
        "| body | 16 MB without Content-Length | 413 body-too-large, 5 pieces of 16 KiB read |"
    );
}

#[test]
fn a_body_of_just_the_limit_is_read() {
    let mut body = br#"{"value": 7}"#.to_vec();
    body.resize(BODY_MAX_BYTES, b' ');
    let target = format!("/v1/movies/{KNOWN}/ratings/ana");
    let response = send(
        &Double::default(),
        "PUT",
        &target,
        &[JSON, ("content-length", "65536")],
        &body,
    );
    assert_eq!(response.status, 202);
}

#[test]
fn a_body_that_breaks_off_is_400() {
    let mut pieces = Pieces::default();
    pieces
        .pieces
        .extend([Ok(br#"{"title":"a","#.to_vec()), Err(Broken)]);
    let double = Double::default();
    let response = send_pieces(&double, "POST", "/v1/movies", &[JSON], &mut pieces);
    assert_problem(&response, 400, "malformed-body");
    assert!(double.calls.borrow().is_empty());
}
