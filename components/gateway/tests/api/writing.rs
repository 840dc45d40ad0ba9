//! What is written: movies and ratings.

use gateway::upstream::Failure;
use serde_json::json as value;

use crate::double::{Double, FRESH, KNOWN, NOW_US, UNKNOWN, assert_problem, json, send, send_json};

const MOVIE: &str = r#"{"title": " Playtime ", "description": "", "director": "Jacques Tati"}"#;

#[test]
fn a_movie_is_kept_by_both_of_its_paths() {
    let original = MOVIE.replace('{', r#"{"id": "", "record_type": "movie", "#);
    let without_description = original.replace(r#""description": "", "#, "");
    for (target, body) in [
        ("/v1/movies", MOVIE),
        ("/v1/submit-metadata", &original),
        ("/v1/submit-metadata", &without_description),
    ] {
        let double = Double::default();
        let response = send_json(&double, "POST", target, body);
        assert_eq!(response.status, 201);
        assert_eq!(
            response.header("location"),
            Some(format!("/v1/movies/{KNOWN}").as_str())
        );
        let body = json(&response);
        assert_eq!(body["id"], KNOWN);
        let original = target == "/v1/submit-metadata";
        assert_eq!(body.get("record_type").is_some(), original);
        assert_eq!(
            *double.calls.borrow(),
            [r#"submit "Playtime" "" "Jacques Tati""#]
        );
    }
}

#[test]
fn a_taken_title_is_409_and_names_the_movie_that_has_it() {
    let body = r#"{"title": "Taken", "description": "", "director": "x"}"#;
    let response = send_json(&Double::default(), "POST", "/v1/movies", body);
    let problem = assert_problem(&response, 409, "title-taken");
    assert_eq!(problem["existing_id"], KNOWN);
}

#[test]
fn a_movie_that_its_owner_refuses_is_422() {
    let double = Double {
        metadata_fails: Some(Failure::Invalid("title must be short".into())),
        ..Double::default()
    };
    let problem = assert_problem(
        &send_json(&double, "POST", "/v1/movies", MOVIE),
        422,
        "out-of-bounds",
    );
    assert_eq!(problem["detail"], "title must be short");
}

#[test]
fn a_movie_that_cannot_be_kept_now_is_503() {
    let double = Double {
        metadata_fails: Some(Failure::unavailable("down".into())),
        ..Double::default()
    };
    let response = send_json(&double, "POST", "/v1/movies", MOVIE);
    assert_problem(&response, 503, "unavailable");
    assert_eq!(response.header("retry-after"), Some("2"));
}

/// The three ways to change a rating: method, target, body, and the change as it is published.
fn changes() -> Vec<(&'static str, String, String, String)> {
    let target = format!("/v1/movies/{}/ratings/ana", KNOWN.to_uppercase());
    let event = |change: &str| {
        format!(
            r#"{{"event_id":"{FRESH}","record_id":"{KNOWN}","record_type":"movie","user_id":"ana",{change},"occurred_at_us":{NOW_US},"record_exists":true}}"#
        )
    };
    let submit = format!(
        r#"{{"record_id": "{KNOWN}", "record_type": "movie", "user_id": "ana", "value": 7}}"#
    );
    vec![
        (
            "PUT",
            target.clone(),
            r#"{"value": 7}"#.into(),
            event(r#""change":"put","value":7"#),
        ),
        (
            "DELETE",
            target,
            String::new(),
            event(r#""change":"delete""#),
        ),
        (
            "POST",
            "/v1/submit-rating".into(),
            submit,
            event(r#""change":"put","value":7"#),
        ),
    ]
}

#[test]
fn a_rating_goes_to_the_bus_and_no_further() {
    for (method, target, body, event) in changes() {
        let double = Double::default();
        let response = send_json(&double, method, &target, body);
        assert_eq!(response.status, 202, "{method}");
        assert_eq!(
            json(&response),
            value!({"status": "accepted", "event_id": FRESH, "detail": "applied soon"})
        );
        assert_eq!(
            *double.calls.borrow(),
            [format!("movie {KNOWN}"), format!("publish {event}")],
            "{method}"
        );
    }
}

#[test]
fn a_rating_that_the_bus_does_not_take_goes_to_the_rating_component_under_the_same_event_id() {
    for failure in [
        Failure::unavailable("no brokers".into()),
        Failure::unavailable("deadline".into()),
        Failure::Other("refused: topic not granted".into()),
    ] {
        for (method, target, body, event) in changes() {
            let double = Double {
                bus_fails: Some(failure.clone()),
                ..Double::default()
            };
            let response = send_json(&double, method, &target, &body);
            assert_eq!(response.status, 202);
            assert_eq!(
                json(&response),
                value!({"status": "accepted", "event_id": FRESH, "detail": "applied"})
            );
            assert_eq!(
                *double.calls.borrow(),
                [
                    format!("movie {KNOWN}"),
                    format!("publish {event}"),
                    format!("apply {event}")
                ]
            );
        }
    }
}

#[test]
fn a_rating_of_a_movie_that_nobody_has_is_404_and_goes_nowhere() {
    for (method, target, body, _) in changes() {
        let double = Double::default();
        let of_unknown = |text: &str| {
            text.replace(&KNOWN.to_uppercase(), UNKNOWN)
                .replace(KNOWN, UNKNOWN)
        };
        let response = send_json(&double, method, &of_unknown(&target), of_unknown(&body));
        assert_problem(&response, 404, "unknown-movie");
        assert_eq!(*double.calls.borrow(), [format!("movie {UNKNOWN}")]);
    }
}

#[test]
fn a_rating_is_not_taken_while_nobody_can_say_whether_there_is_such_a_movie() {
    for (method, target, body, _) in changes() {
        let double = Double {
            metadata_fails: Some(Failure::unavailable("down".into())),
            ..Double::default()
        };
        let response = send_json(&double, method, &target, &body);
        assert_problem(&response, 503, "unavailable");
        assert_eq!(*double.calls.borrow(), [format!("movie {KNOWN}")]);
    }
}

#[test]
fn only_when_the_bus_and_the_rating_component_both_fail_is_a_rating_503() {
    for rating in [
        Failure::unavailable("down".into()),
        Failure::unavailable("deadline".into()),
        Failure::Other("x".into()),
    ] {
        for (method, target, body, _) in changes() {
            let double = Double {
                bus_fails: Some(Failure::unavailable("no brokers".into())),
                rating_fails: Some(rating.clone()),
                ..Double::default()
            };
            let response = send_json(&double, method, &target, body);
            assert_problem(&response, 503, "unavailable");
            assert_eq!(response.header("retry-after"), Some("2"));
        }
    }
}

#[test]
fn a_rating_written_as_a_whole_float_is_an_integer() {
    for text in ["5", "5.0", "5e0", "50E-1"] {
        let double = Double::default();
        let target = format!("/v1/movies/{KNOWN}/ratings/ana");
        let response = send_json(&double, "PUT", &target, format!("{{\"value\": {text}}}"));
        assert_eq!(response.status, 202, "{text}");
        assert!(double.calls.borrow()[1].contains("\"value\":5,"), "{text}");
    }
}

#[test]
fn unusual_texts_come_through_as_they_are() {
    for title in [
        "a'b\"c\\d",
        "100%_$1; drop table movies; --",
        "line\nbreak\r\n\u{1b}[31mred",
        "👩‍👩‍👧‍👦",
        "\u{202e}gnitfihs",
        "e\u{301}",
        "é",
        "__proto__",
    ] {
        let double = Double::default();
        let body = value!({"title": title, "description": title, "director": title}).to_string();
        assert_eq!(
            send_json(&double, "POST", "/v1/movies", body).status,
            201,
            "{title:?}"
        );
        assert_eq!(
            *double.calls.borrow(),
            [format!("submit {title:?} {title:?} {title:?}")]
        );
    }
}

#[test]
fn the_largest_movie_fits_into_a_body() {
    let clef = "\\ud834\\udd1e";
    let body = format!(
        r#"{{"title":"{}","description":"{}","director":"{}"}}"#,
        clef.repeat(200),
        clef.repeat(4_000),
        clef.repeat(200)
    );
    assert!(body.len() <= gateway::http::BODY_MAX_BYTES);
    assert_eq!(
        send_json(&Double::default(), "POST", "/v1/movies", body).status,
        201
    );
}

#[test]
fn a_content_type_with_charset_utf_8_is_taken() {
    let headers = [
        ("content-type", "application/json; charset=UTF-8"),
        ("content-encoding", "identity"),
    ];
    let response = send(
        &Double::default(),
        "POST",
        "/v1/movies",
        &headers,
        MOVIE.as_bytes(),
    );
    assert_eq!(response.status, 201);
}
