//! What is read: movies, details, a user's ratings; and what every answer has.

use gateway::upstream::Failure;
use serde_json::json as value;

use crate::double::{Double, FRESH, KNOWN, UNKNOWN, assert_problem, get, json, send};

#[test]
fn a_movie_is_answered_by_both_of_its_paths_in_the_fields_of_each() {
    let movie = value!({
        "id": KNOWN, "title": "Playtime", "description": "A day in a city of glass.", "director": "Jacques Tati"
    });
    let mut original = movie.clone();
    original["record_type"] = "movie".into();
    for (target, wanted) in [
        (format!("/v1/movies/{KNOWN}"), movie),
        (format!("/v1/get-metadata?id={KNOWN}"), original),
    ] {
        let response = get(&Double::default(), &target);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(json(&response), wanted, "{target}");
    }
}

#[test]
fn details_ask_both_components_at_once_and_come_in_the_fields_of_their_path() {
    let double = Double::default();
    let body = json(&get(&double, &format!("/v1/movies/{KNOWN}/details")));
    assert_eq!(body["metadata"]["id"], KNOWN);
    assert_eq!(body["rating"], value!({"average": 8.5, "count": 2}));
    assert_eq!(double.most_in_flight.get(), 2);

    let double = Double::default();
    let body = json(&get(&double, &format!("/v1/get-movie-details?id={KNOWN}")));
    assert_eq!(body["metadata"]["record_type"], "movie");
    assert_eq!(
        (&body["rating"], &body["amount_ratings"]),
        (&value!(8.5), &value!(2))
    );
    assert_eq!(double.most_in_flight.get(), 2);
}

#[test]
fn a_movie_without_ratings_has_average_null_and_count_0() {
    let double = Double {
        unrated: true,
        ..Double::default()
    };
    let body = json(&get(&double, &format!("/v1/movies/{KNOWN}/details")));
    assert_eq!(body["rating"], value!({"average": null, "count": 0}));
    // The original has a number there.
    let body = json(&get(&double, &format!("/v1/get-movie-details?id={KNOWN}")));
    assert_eq!(
        (&body["rating"], &body["amount_ratings"]),
        (&value!(0.0), &value!(0))
    );
}

#[test]
fn an_unknown_movie_is_404_wherever_it_is_asked_for() {
    for target in [
        format!("/v1/get-metadata?id={UNKNOWN}"),
        format!("/v1/get-movie-details?id={UNKNOWN}"),
        format!("/v1/movies/{UNKNOWN}"),
        format!("/v1/movies/{UNKNOWN}/details"),
        "/v1/movies/00000000-0000-0000-0000-000000000000".to_owned(),
    ] {
        assert_problem(&get(&Double::default(), &target), 404, "unknown-movie");
    }
}

#[test]
fn an_id_of_any_letter_case_is_asked_for_in_lower_case() {
    let double = Double::default();
    let response = get(&double, &format!("/v1/movies/{}", KNOWN.to_uppercase()));
    assert_eq!(response.status, 200);
    assert_eq!(*double.calls.borrow(), [format!("movie {KNOWN}")]);
}

#[test]
fn a_page_of_movies_has_what_was_asked() {
    let check = |target: &str, call: &str| {
        let double = Double::default();
        let response = get(&double, target);
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(*double.calls.borrow(), [call], "{target}");
        json(&response)
    };
    let body = check("/v1/movies", "movies None None 20");
    assert_eq!(body["movies"][0]["title"], "Playtime");
    assert_eq!(body["next"], "c1");
    check(
        "/v1/movies?limit=100&after=c1",
        "movies None Some(\"c1\") 100",
    );
    check(
        "/v1/movies?prefix=Play+%26+%C3%89t%25_",
        "movies Some(\"Play & Ét%_\") None 20",
    );
    check("/v1/movies?prefix=", "movies None None 20");
    check("/v1/movies?", "movies None None 20");
}

#[test]
fn a_users_ratings_tell_their_times() {
    let double = Double::default();
    let response = get(&double, "/v1/users/ana%2Fb%20c/ratings?limit=1");
    assert_eq!(response.status, 200);
    assert_eq!(*double.calls.borrow(), ["ratings \"ana/b c\" None 1"]);
    assert_eq!(
        json(&response),
        value!({
            "ratings": [{
                "record_id": KNOWN, "record_type": "movie", "user_id": "ana/b c", "value": 9,
                "occurred_at": "2023-11-14T22:13:20.123456Z"
            }],
            "next": null
        })
    );
}

#[test]
fn head_is_get_without_content() {
    for target in [
        format!("/v1/movies/{KNOWN}"),
        format!("/v1/movies/{UNKNOWN}"),
        "/docs".to_owned(),
        "/none".to_owned(),
    ] {
        let get = get(&Double::default(), &target);
        let head = send(&Double::default(), "HEAD", &target, &[], b"");
        assert_eq!(
            (head.status, &head.headers),
            (get.status, &get.headers),
            "{target}"
        );
        assert_eq!(head.body, None, "{target}");
    }
}

#[test]
fn a_part_that_is_down_is_503_and_one_that_is_slow_is_504() {
    let paths = |own: &[&str]| {
        own.iter()
            .map(|path| path.replace("ID", KNOWN))
            .collect::<Vec<_>>()
    };
    let metadata = paths(&[
        "/v1/get-metadata?id=ID",
        "/v1/movies/ID",
        "/v1/movies",
        "/v1/movies/ID/details",
        "/v1/get-movie-details?id=ID",
    ]);
    let rating = paths(&[
        "/v1/get-movie-details?id=ID",
        "/v1/movies/ID/details",
        "/v1/users/u/ratings",
    ]);
    let check = |failure: &Failure, status, name| {
        for target in &metadata {
            let double = Double {
                metadata_fails: Some(failure.clone()),
                ..Double::default()
            };
            check_failure(&get(&double, target), status, name);
        }
        for target in &rating {
            let double = Double {
                rating_fails: Some(failure.clone()),
                ..Double::default()
            };
            check_failure(&get(&double, target), status, name);
        }
    };
    check(
        &Failure::unavailable("connection to 10.0.0.7 refused".into()),
        503,
        "unavailable",
    );
    check(
        &Failure::unavailable("statement timeout at 10.0.0.7".into()),
        504,
        "deadline-passed",
    );
    check(
        &Failure::Other("relation at 10.0.0.7 does not exist".into()),
        500,
        "internal",
    );
}

#[track_caller]
fn check_failure(response: &gateway::http::Response, status: u16, name: &str) {
    let body = assert_problem(response, status, name);
    assert_eq!(response.header("retry-after").is_some(), status != 500);
    assert!(!body.to_string().contains("10.0.0.7"), "{body}");
}

#[test]
fn a_request_id_that_may_be_repeated_is_and_any_other_is_replaced() {
    let check = |sent: &[(&str, &str)]| {
        let response = send(&Double::default(), "GET", "/v1/movies/x", sent, b"");
        let id = response.header("x-request-id").unwrap().to_owned();
        assert_eq!(json(&response)["instance"], id);
        id
    };
    let longest = "x".repeat(64);
    for id in ["a", "0192f0c1-2345", "A.b_C-9", &longest] {
        assert_eq!(check(&[("X-Request-Id", id)]), id);
    }
    let too_long = "x".repeat(65);
    for id in ["", "a b", "a\r\nset-cookie: x", "é", "<b>", &too_long] {
        assert_eq!(check(&[("x-request-id", id)]), FRESH, "{id:?}");
    }
    assert_eq!(check(&[]), FRESH);
    assert_eq!(
        check(&[("x-request-id", "a"), ("x-request-id", "b")]),
        FRESH
    );
}

#[test]
fn options_says_which_methods_a_path_has() {
    for (target, allow) in [
        ("/v1/movies", "GET, POST, HEAD, OPTIONS"),
        ("/v1/submit-rating", "POST, OPTIONS"),
        ("/v1/movies/x/ratings/y", "PUT, DELETE, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ] {
        let response = send(&Double::default(), "OPTIONS", target, &[], b"");
        assert_eq!(
            (response.status, response.header("allow"), &response.body),
            (204, Some(allow), &None)
        );
        assert!(response.header("x-request-id").is_some());
    }
}
