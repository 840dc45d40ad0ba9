//! What is written: movies and ratings.

use std::time::Duration;

use marquee_testkit::eventually;
use serde_json::json;

use super::{Api, JSON, PLAYTIME, assert_problem};

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_is_created_by_both_of_its_paths_and_is_where_location_says() {
    let api = Api::start().await;
    for (line, body) in [
        (
            "POST /v1/movies",
            json!({"title": " Mon Oncle\u{a0}", "description": " d ", "director": "Tati\n"}),
        ),
        (
            "POST /v1/submit-metadata",
            json!({"id": "", "title": " Trafic ", "description": " d ", "director": "Tati\n", "record_type": "movie"}),
        ),
        (
            "POST /v1/submit-metadata",
            json!({"title": " Parade ", "director": "Tati", "record_type": "movie"}),
        ),
    ] {
        let created = api.json(line, body.to_string()).await;
        assert_eq!(created.status, 201, "{created:?}");
        let location = created
            .header("location")
            .expect("it says where")
            .to_owned();
        let mut movie = api.get(&location).await.json();
        assert_eq!(
            movie["title"],
            body["title"].as_str().map(str::trim).expect("a title")
        );
        assert_eq!(
            movie["description"],
            body["description"].as_str().unwrap_or_default()
        );
        assert_eq!(movie["director"], "Tati");
        if line.ends_with("metadata") {
            movie["record_type"] = "movie".into();
            for newer in ["year", "version", "created_at"] {
                movie.as_object_mut().expect("an object").remove(newer);
            }
        }
        assert_eq!(created.json(), movie);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_title_is_409_and_names_the_movie_that_has_it() {
    let api = Api::start().await;
    let original = PLAYTIME.replace('}', ", \"record_type\": \"movie\"}");
    for (line, body) in [
        ("POST /v1/movies", PLAYTIME.to_owned()),
        ("POST /v1/movies", PLAYTIME.replace("Playtime", "pLAYTIME")),
        ("POST /v1/submit-metadata", original),
    ] {
        let problem = assert_problem(&body, &api.json(line, &body).await, 409, "title-taken");
        assert_eq!(problem["existing_id"], api.known.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_is_accepted_by_each_of_its_ways_and_takes_effect() {
    let api = Api::start().await;
    let id = api.known.as_str();
    let rating = format!("/v1/movies/{}/ratings/ana", id.to_uppercase());
    let submission =
        json!({"record_id": id, "record_type": "movie", "user_id": "ana", "value": 7}).to_string();
    for (line, body, value) in [
        (format!("PUT {rating}"), r#"{"value": 3}"#, Some(3)),
        (format!("DELETE {rating}"), "", None),
        (
            "POST /v1/submit-rating".to_owned(),
            submission.as_str(),
            Some(7),
        ),
    ] {
        let accepted = api.json(&line, body).await;
        assert_eq!(accepted.status, 202, "{line}: {accepted:?}");
        let told = accepted.json();
        assert_eq!(
            (&told["status"], &told["detail"]),
            (&json!("accepted"), &json!("applied soon"))
        );
        let event_id = told["event_id"].as_str().expect("an id");
        assert!(
            uuid::Uuid::try_parse(event_id).is_ok_and(|id| id.get_version_num() == 7),
            "{event_id}"
        );
        eventually(
            Duration::from_secs(20),
            "the rating takes effect",
            async || {
                let ratings = api.ratings("ana").await;
                ratings.first().map(|rating| rating["value"].clone())
                    == value.map(|value| json!(value))
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_written_as_a_whole_float_is_an_integer() {
    let api = Api::start().await;
    for (at, text) in ["5", "5.0", "5e0", "50E-1"].into_iter().enumerate() {
        let line = format!("PUT /v1/movies/{}/ratings/user{at}", api.known);
        let accepted = api.json(&line, format!("{{\"value\": {text}}}")).await;
        assert_eq!(accepted.status, 202, "{text}: {accepted:?}");
    }
    let details = format!("/v1/movies/{}/details", api.known);
    eventually(Duration::from_secs(20), "they count as 5", async || {
        api.get(&details).await.json()["rating"] == json!({"average": 5.0, "count": 4})
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_texts_come_through_as_they_are() {
    let api = Api::start().await;
    for title in [
        "a'b\"c\\d",
        "100%_$1; drop table movies; --",
        "line\nbreak\r\n\u{1b}[31mred",
        "👩‍👩‍👧‍👦",
        "\u{202e}gnitfihs",
        "e\u{301}t",
        "__proto__",
    ] {
        let body = json!({"title": title, "description": title, "director": title});
        let created = api.json("POST /v1/movies", body.to_string()).await;
        assert_eq!(created.status, 201, "{title:?}: {created:?}");
        let movie = api
            .get(created.header("location").expect("it says where"))
            .await
            .json();
        for field in ["title", "description", "director"] {
            assert_eq!(movie[field], title, "{field}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_just_within_its_bounds_is_taken() {
    let api = Api::start().await;
    // Each character escaped, it is the largest movie that there is.
    let clef = "\\ud834\\udd1e";
    let body = format!(
        r#"{{"title":"  {}  ","description":"{}","director":"{}"}}"#,
        clef.repeat(200),
        clef.repeat(4_000),
        clef.repeat(200)
    );
    let created = api.json("POST /v1/movies", body).await;
    assert_eq!(created.status, 201, "{created:.300?}");
    let mut rating = br#"{"value": 7}"#.to_vec();
    rating.resize(64 * 1024, b' ');
    let line = format!("PUT /v1/movies/{}/ratings/{}", api.known, "u".repeat(128));
    assert_eq!(api.json(&line, rating).await.status, 202);
    let headers = [
        "content-type: application/json; charset=UTF-8",
        "content-encoding: identity",
    ];
    let line = format!("PUT /v1/movies/{}/ratings/bo", api.known);
    assert_eq!(
        api.ask(&line, &headers, r#"{"value": 7}"#).await.status,
        202
    );
    assert_eq!(
        api.ask(
            &line,
            &[JSON, "accept: application/json"],
            r#"{"value": 7}"#
        )
        .await
        .status,
        202
    );
}
