//! What is read: movies, details, a user's ratings; and what every answer has.

use std::{collections::BTreeSet, time::Duration};

use marquee_testkit::eventually;
use serde_json::json;

use super::{Api, UNKNOWN, assert_problem};
use crate::raw;

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_and_its_details_are_read_by_all_of_their_paths() {
    let api = Api::start().await;
    let id = &api.known;
    let movie = api.get(&format!("/v1/movies/{id}")).await.json();
    let at = movie["created_at"].as_str().expect("a time");
    assert!(
        at.len() == "2026-11-25T02:54:36.000Z".len() && at.ends_with('Z'),
        "{at}"
    );
    let original = json!({
        "id": id, "title": "Playtime", "description": "A day in a city of glass.", "director": "Jacques Tati",
        "record_type": "movie",
    });
    let expected = json!({
        "id": id, "title": "Playtime", "year": null, "description": "A day in a city of glass.",
        "director": "Jacques Tati", "version": 1, "created_at": at,
    });
    assert_eq!(movie, expected);
    assert_eq!(
        api.get(&format!("/v1/movies/{}", id.to_uppercase()))
            .await
            .json(),
        movie
    );
    assert_eq!(
        api.get(&format!("/v1/get-metadata?id={id}")).await.json(),
        original
    );

    let details = format!("/v1/movies/{id}/details");
    let unrated = json!({"metadata": movie, "rating": {"average": null, "count": 0}});
    assert_eq!(api.get(&details).await.json(), unrated);
    let original_details = format!("/v1/get-movie-details?id={id}");
    let unrated = json!({"rating": 0.0, "amount_ratings": 0, "metadata": original});
    assert_eq!(api.get(&original_details).await.json(), unrated);

    for (user, value) in [("ana", 8), ("bo%2Fb%20c", 9)] {
        let line = format!("PUT /v1/movies/{id}/ratings/{user}");
        assert_eq!(
            api.json(&line, format!("{{\"value\": {value}}}"))
                .await
                .status,
            202
        );
    }
    eventually(Duration::from_secs(20), "both ratings count", async || {
        api.get(&details).await.json()["rating"] == json!({"average": 8.5, "count": 2})
    })
    .await;
    let rated = json!({"rating": 8.5, "amount_ratings": 2, "metadata": original});
    assert_eq!(api.get(&original_details).await.json(), rated);

    let ratings = api.ratings("bo%2Fb%20c").await;
    let [rating] = ratings.as_slice() else {
        panic!("{ratings:?}")
    };
    let told = [
        &rating["record_id"],
        &rating["record_type"],
        &rating["user_id"],
        &rating["value"],
    ];
    assert_eq!(
        told,
        [&json!(id), &json!("movie"), &json!("bo/b c"), &json!(9)]
    );
    let at = rating["occurred_at"].as_str().expect("a time");
    assert!(
        at.ends_with('Z') && at.len() == "2023-11-14T22:13:20.123456Z".len(),
        "{at}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_movies_has_what_was_asked() {
    let api = Api::start().await;
    for title in ["Play & Ét%_", "Alphaville"] {
        let body = json!({"title": title, "description": "", "director": "x"}).to_string();
        assert_eq!(api.json("POST /v1/movies", body).await.status, 201);
    }
    let titles = async |query: &str| {
        let page = api.get(&format!("/v1/movies{query}")).await;
        assert_eq!(page.status, 200, "{query}: {page:?}");
        let page = page.json();
        let titles = page["movies"].as_array().expect("a list").iter();
        let titles: Vec<_> = titles
            .map(|movie| movie["title"].as_str().expect("a title").to_owned())
            .collect();
        (titles, page["next"].as_str().map(str::to_owned))
    };
    let all = ["Alphaville", "Play & Ét%_", "Playtime"]
        .map(str::to_owned)
        .to_vec();
    for query in [
        "",
        "?",
        "?limit=100",
        "?prefix=",
        "?utm_source=x",
        "?utm_source=x&utm_source=y&limit=3",
        "?LIMIT=0",
        "?q=",
        "?q=+&sort=title",
    ] {
        assert_eq!(titles(query).await, (all.clone(), None), "{query}");
    }
    assert_eq!(titles("?prefix=Play+%26+%C3%89t%25_").await.0, all[1..2]);
    assert_eq!(titles("?prefix=PLAY").await.0, all[1..]);
    let (first, next) = titles("?limit=2").await;
    assert_eq!(first, all[..2]);
    let next = next.expect("there is more");
    assert_eq!(
        titles(&format!("?limit=2&after={next}")).await,
        (all[2..].to_vec(), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_movie_is_404_wherever_it_is_asked_for_or_rated() {
    let api = Api::start().await;
    for target in [
        format!("/v1/get-metadata?id={UNKNOWN}"),
        format!("/v1/get-movie-details?id={UNKNOWN}"),
        format!("/v1/movies/{UNKNOWN}"),
        format!("/v1/movies/{UNKNOWN}/details"),
        "/v1/movies/00000000-0000-0000-0000-000000000000".to_owned(),
    ] {
        assert_problem(&target, &api.get(&target).await, 404, "unknown-movie");
    }
    let put = format!("PUT /v1/movies/{UNKNOWN}/ratings/ana");
    let delete = format!("DELETE /v1/movies/{UNKNOWN}/ratings/ana");
    let submission =
        json!({"record_id": UNKNOWN, "record_type": "movie", "user_id": "ana", "value": 7})
            .to_string();
    for (line, body) in [
        (put.as_str(), r#"{"value": 7}"#),
        (&delete, ""),
        ("POST /v1/submit-rating", &submission),
    ] {
        assert_problem(line, &api.json(line, body).await, 404, "unknown-movie");
    }
    assert_eq!(api.ratings("ana").await, [] as [serde_json::Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_content_and_with_its_length() {
    let api = Api::start().await;
    let known = format!("/v1/movies/{}", api.known);
    for target in [
        known.as_str(),
        &format!("/v1/movies/{UNKNOWN}"),
        "/docs",
        "/openapi.json",
        "/none",
        "/",
        "/v1/movies/%",
    ] {
        let id = "x-request-id: same";
        let get = api.ask(&format!("GET {target}"), &[id], "").await;
        let head = api.ask(&format!("HEAD {target}"), &[id], "").await;
        let headers = |answer: &raw::Answer| {
            let lines = answer
                .head
                .lines()
                .filter(|line| !line.starts_with("date:"));
            // Their order says nothing.
            lines.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        assert_eq!(headers(&head), headers(&get), "{target}");
        assert_eq!(
            head.header("content-length"),
            Some(get.body.len().to_string().as_str()),
            "{target}"
        );
        assert_eq!(head.body, "", "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_says_which_methods_a_path_has() {
    let api = Api::start().await;
    for (target, allow) in [
        ("/v1/movies", "GET, HEAD, POST, OPTIONS"),
        ("/v1/submit-rating", "POST, OPTIONS"),
        ("/v1/movies/x/ratings/y", "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ] {
        let answer = api.ask(&format!("OPTIONS {target}"), &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow"), answer.body.as_str()),
            (204, Some(allow), ""),
            "{target}"
        );
        assert_eq!(answer.header("content-length"), None, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_that_may_be_repeated_is_and_any_other_is_replaced() {
    let api = Api::start().await;
    let check = async |sent: &[&str]| {
        let answer = api.ask("GET /v1/movies/x", sent, "").await;
        assert_problem("an id", &answer, 400, "invalid-parameter");
        answer.header("x-request-id").expect("an id").to_owned()
    };
    let longest = "x".repeat(64);
    for id in ["a", "0192f0c1-2345", "A.b_C-9", &longest] {
        assert_eq!(check(&[&format!("X-Request-Id: {id}")]).await, id);
    }
    let too_long = "x".repeat(65);
    for id in ["", "a b", "é", "<b>", &too_long] {
        let given = check(&[&format!("x-request-id: {id}")]).await;
        assert!(uuid::Uuid::try_parse(&given).is_ok(), "{id}: {given}");
    }
}
