//! Bad input of every class, and that nothing comes of it.

use std::collections::BTreeSet;

use http::{Request, request::Builder};

use super::client::{ById, Metadata, SubmitMetadata, frame, framed};
use crate::{
    api::{Api, assert_problem},
    http2::{Ending, Raw},
    raw,
};

/// What is sent, and what comes back.
struct Case {
    what: &'static str,
    request: Builder,
    body: Vec<u8>,
    ending: Ending,
    /// Of HTTP.
    status: u16,
    /// Of gRPC, where it is an answer of gRPC.
    code: Option<&'static str>,
}

/// A good call but for what the test changes in it.
fn case(what: &'static str, request: Builder, body: Vec<u8>, code: &'static str) -> Case {
    Case {
        what,
        request: request.header("content-type", "application/grpc"),
        body,
        ending: Ending::AtOnce,
        status: 200,
        code: Some(code),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_the_status_of_its_class_and_nothing_comes_of_it() {
    let api = Api::start().await;
    let mut client = Raw::to(api.host.address()).await;
    let url = |path: &str| format!("{}{path}", api.host.url);
    let post = |path: &str| Request::post(url(path));
    let submit = || post("/MetadataService/SubmitMetadata");
    let movie = Metadata {
        title: "Trafic".to_owned(),
        director: "Jacques Tati".to_owned(),
        ..Metadata::default()
    };
    let good = frame(&SubmitMetadata {
        metadata: Some(movie),
    });
    let (invalid, exhausted, unimplemented) = ("3", "8", "12");
    let http = |what, request: Builder, status| Case {
        status,
        code: None,
        ..case(what, request, good.clone(), "")
    };
    let plain = |what, request: Builder, status| Case {
        request,
        ..http(what, Request::post(url("/")), status)
    };
    let cases = [
        // Not gRPC.
        http(
            "GET",
            Request::get(url("/MetadataService/SubmitMetadata")),
            405,
        ),
        http(
            "PUT",
            Request::put(url("/MetadataService/SubmitMetadata")),
            405,
        ),
        plain("no media type", submit(), 415),
        plain(
            "JSON",
            submit().header("content-type", "application/json"),
            415,
        ),
        plain(
            "gRPC-Web",
            submit().header("content-type", "application/grpc-web+proto"),
            415,
        ),
        plain(
            "gRPC with JSON",
            submit().header("content-type", "application/grpc+json"),
            415,
        ),
        http("a wrong escape", post("/MetadataService/%zz"), 400),
        // Nobody's.
        case(
            "an unknown method",
            post("/MetadataService/Nothing"),
            good.clone(),
            unimplemented,
        ),
        case(
            "no method",
            post("/MetadataService"),
            good.clone(),
            unimplemented,
        ),
        case(
            "a longer path",
            post("/MetadataService/SubmitMetadata/x"),
            good.clone(),
            unimplemented,
        ),
        case(
            "another letter case",
            post("/MetadataService/submitMetadata"),
            good.clone(),
            unimplemented,
        ),
        case(
            "an unknown service",
            post("/Nobody/SubmitMetadata"),
            good.clone(),
            unimplemented,
        ),
        case(
            "a path of REST",
            post("/v1/movies"),
            good.clone(),
            unimplemented,
        ),
        // Compressed.
        case(
            "gzip",
            submit().header("grpc-encoding", "gzip"),
            framed(1, b"\x1f\x8b"),
            unimplemented,
        ),
        case(
            "an unknown encoding",
            submit().header("grpc-encoding", "x"),
            good.clone(),
            unimplemented,
        ),
        case(
            "compressed with nothing",
            submit(),
            framed(1, &good[5..]),
            invalid,
        ),
        // Frames.
        case("no message", submit(), Vec::new(), invalid),
        case("half a header", submit(), vec![0, 0], invalid),
        case(
            "a message that is cut off",
            submit(),
            good[..good.len() - 1].to_vec(),
            invalid,
        ),
        case("an unknown flag", submit(), framed(2, &good[5..]), invalid),
        case("garbage", submit(), framed(0, &[0xff; 12]), invalid),
        case(
            "a text that is not UTF-8",
            submit(),
            framed(0, b"\x0a\x03\x12\x01\xff"),
            invalid,
        ),
        case(
            "a length that is a lie",
            submit(),
            vec![0, 0xff, 0xff, 0xff, 0xff],
            exhausted,
        ),
        case(
            "a large message",
            submit(),
            framed(0, &vec![0; 65_537]),
            exhausted,
        ),
        case(
            "a large body",
            submit().header("content-length", 2 << 20),
            vec![0; 2 << 20],
            exhausted,
        ),
        case(
            "a second message that is none",
            submit(),
            [good.clone(), vec![9; 9]].concat(),
            invalid,
        ),
        // Deadlines.
        case(
            "a deadline of words",
            submit().header("grpc-timeout", "soon"),
            good.clone(),
            invalid,
        ),
        case(
            "a deadline without a unit",
            submit().header("grpc-timeout", "10"),
            good.clone(),
            invalid,
        ),
        case(
            "a deadline that has passed",
            submit().header("grpc-timeout", "0n"),
            good.clone(),
            "4",
        ),
        Case {
            ending: Ending::Never,
            ..case(
                "a stream without an end",
                submit().header("grpc-timeout", "200m"),
                good.clone(),
                "4",
            )
        },
        Case {
            ending: Ending::Never,
            ..case(
                "a message without an end",
                submit().header("grpc-timeout", "200m"),
                good[..9].to_vec(),
                "4",
            )
        },
    ];
    for case in cases {
        let what = case.what;
        let reply = client.send(case.request, case.body, case.ending).await;
        assert_eq!(reply.status, case.status, "{what}: {reply:?}");
        assert_eq!(reply.code(), case.code, "{what}: {reply:?}");
        assert!(
            reply.headers.contains_key("x-request-id"),
            "{what}: {reply:?}"
        );
        let kind = reply.headers["content-type"].to_str().expect("ASCII");
        match case.code {
            Some(_) => {
                assert_eq!(kind, "application/grpc", "{what}: {reply:?}");
                assert!(reply.body.is_empty(), "{what}: {reply:?}");
            }
            None => assert_eq!(kind, "application/problem+json", "{what}: {reply:?}"),
        }
        if case.code == Some(unimplemented) && what.contains("encoding") {
            assert_eq!(
                reply.headers["grpc-accept-encoding"], "identity",
                "{reply:?}"
            );
        }
    }
    let movies = api.get("/v1/movies").await.json();
    assert_eq!(
        movies["movies"].as_array().map(Vec::len),
        Some(1),
        "{movies}"
    );
    // And a good call still passes on the same connection.
    let asked = frame(&ById {
        movie_id: api.known.clone(),
    });
    let reply = client
        .call(&url("/MovieService/GetMovieDetails"), asked)
        .await;
    assert_eq!(reply.code(), Some("0"), "{reply:?}");
    assert!(!reply.headers.contains_key("marquee-route"), "{reply:?}");
    // What a client makes up is no route.
    let admin = api.host.admin.trim_start_matches("http://");
    let metrics = raw::request(admin, "GET /metrics", &[], "").await.body;
    let routes: BTreeSet<&str> = { metrics.lines() }
        .filter_map(|line| line.strip_prefix("marquee_http_requests_total{route=\""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let expected = [
        "/...",
        "/MetadataService/SubmitMetadata",
        "/MovieService/GetMovieDetails",
        "/v1/movies",
    ];
    assert!(expected.iter().all(|it| routes.contains(it)), "{routes:?}");
    for made_up in ["/MetadataService/Nothing", "/Nobody/SubmitMetadata"] {
        assert!(!routes.contains(made_up), "{routes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_http_1_is_told_what_it_needs() {
    let api = Api::start().await;
    let asked = frame(&ById {
        movie_id: api.known.clone(),
    });
    for kind in ["application/grpc", "application/grpc+proto"] {
        let kind = format!("content-type: {kind}");
        let path = "POST /MovieService/GetMovieDetails";
        let refused = api.ask(path, &[&kind, "te: trailers"], &asked).await;
        assert_problem(path, &refused, 505, "http-version-not-supported");
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("HTTP/2"), "{detail}");
    }
}
