//! Ratings as clients see them: one, those of a movie, many at once, what became of them, and keys.

use std::time::Duration;

use marquee_testkit::eventually;
use serde_json::{Value, json};

use super::{Api, JSON, UNKNOWN, assert_problem};

const SOON: Duration = Duration::from_secs(20);

impl Api {
    /// Waits until an event has this status.
    async fn event_is(&self, location: &str, status: &str) {
        eventually(SOON, "the event's status", async || {
            let event = self.get(location).await;
            assert_eq!(event.status, 200, "{event:?}");
            event.json()["status"] == status
        })
        .await;
    }

    async fn movie(&self, title: &str) -> String {
        let body = json!({"title": title, "description": "", "director": "d"}).to_string();
        let created = self.json("POST /v1/movies", body).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.json()["id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_rating_says_where_to_ask_and_is_applied() {
    let api = Api::start().await;
    let path = format!("/v1/movies/{}/ratings/ana", api.known);
    assert_problem(&path, &api.get(&path).await, 404, "not-rated");
    let accepted = api.json(&format!("PUT {path}"), r#"{"value": 7}"#).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let location = accepted
        .header("location")
        .expect("it says where")
        .to_owned();
    assert_eq!(
        location,
        format!(
            "/v1/events/{}",
            accepted.json()["event_id"].as_str().expect("an id")
        )
    );
    api.event_is(&location, "applied").await;
    let rating = api.get(&path).await;
    assert_eq!(rating.status, 200, "{rating:?}");
    assert_eq!(rating.json()["value"], 7);
    assert_eq!(rating.json()["user_id"], "ana");
    let unknown = format!("/v1/movies/{UNKNOWN}/ratings/ana");
    assert_problem(&unknown, &api.get(&unknown).await, 404, "unknown-movie");
    // Nobody was given this one.
    let event = api.get(&format!("/v1/events/{UNKNOWN}")).await;
    assert_eq!(event.json()["status"], "accepted");
    assert_problem(
        "no id",
        &api.get("/v1/events/7").await,
        400,
        "invalid-parameter",
    );
    let deleted = api.ask(&format!("DELETE {path}"), &[], "").await;
    api.event_is(
        deleted.header("location").expect("it says where"),
        "applied",
    )
    .await;
    assert_problem(&path, &api.get(&path).await, 404, "not-rated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movies_ratings_come_with_their_spread_page_by_page() {
    let api = Api::start().await;
    let users: Vec<String> = (0..7).map(|n| format!("u{n}")).collect();
    let values = [7, 7, 7, 10, 1, 7, 2];
    let list: Vec<Value> = users
        .iter()
        .zip(values)
        .map(|(user, value)| json!({"movie_id": api.known, "user": user, "value": value}))
        .collect();
    let accepted = api
        .json("POST /v1/ratings/batch", json!(list).to_string())
        .await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    for entry in accepted.json().as_array().expect("a list") {
        let id = entry["event_id"].as_str().expect("an id");
        api.event_is(&format!("/v1/events/{id}"), "applied").await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/movies/{}/ratings?limit=3{after}", api.known);
        let page = api.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        assert_eq!(page["histogram"], json!([1, 1, 0, 0, 0, 0, 4, 0, 0, 1]));
        assert_eq!(page["count"], 7);
        assert_eq!(page["average"], 41.0 / 7.0);
        let ratings = page["ratings"].as_array().expect("a list");
        seen.extend(
            ratings
                .iter()
                .map(|rating| rating["user_id"].as_str().expect("a user").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, users);
    let path = format!("/v1/movies/{UNKNOWN}/ratings");
    assert_problem(&path, &api.get(&path).await, 404, "unknown-movie");
    let empty = api.movie("Parade").await;
    let page = api.get(&format!("/v1/movies/{empty}/ratings")).await.json();
    assert_eq!(page["average"], Value::Null);
    assert_eq!(page["histogram"], json!([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_ratings_each_is_taken_or_refused_by_itself() {
    let api = Api::start().await;
    let entry = |movie: &str, user: &str, value: f64| json!({"movie_id": movie, "user": user, "value": value});
    let list = json!([
        entry(&api.known, "ana", 3.0),
        entry(UNKNOWN, "ana", 3.0),
        entry(&api.known, "bo", 11.0),
        entry(&api.known, "ana", 9.0),
    ]);
    let answer = api.json("POST /v1/ratings/batch", list.to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let entries = answer.json();
    let statuses: Vec<_> = entries
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["status"].as_u64().expect("a status"))
        .collect();
    assert_eq!(statuses, [202, 404, 422, 202]);
    assert_eq!(entries[1]["problem"]["type"], "/problems/unknown-movie");
    assert_eq!(entries[2]["problem"]["field"], "value");
    for entry in [&entries[0], &entries[3]] {
        let id = entry["event_id"].as_str().expect("an id");
        api.event_is(&format!("/v1/events/{id}"), "applied").await;
    }
    // Of two of one user in one list the later one counts.
    let ratings = api.ratings("ana").await;
    assert_eq!(ratings.len(), 1);
    assert_eq!(ratings[0]["value"], 9);
    assert_eq!(ratings[0]["title"], "Playtime");
    assert_problem(
        "empty",
        &api.json("POST /v1/ratings/batch", "[]").await,
        422,
        "out-of-bounds",
    );
    assert_problem(
        "no list",
        &api.json("POST /v1/ratings/batch", "{}").await,
        400,
        "wrong-shape",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_under_a_key_counts_once_and_its_key_is_good_for_nothing_else() {
    let api = Api::start().await;
    let path = format!("/v1/movies/{}/ratings/ana", api.known);
    let put = async |value: u8, key: &str| {
        let key = format!("idempotency-key: {key}");
        let body = json!({"value": value}).to_string();
        api.ask(&format!("PUT {path}"), &[JSON, &key], body).await
    };
    let first = put(3, "one").await;
    assert_eq!(first.status, 202, "{first:?}");
    let location = first.header("location").expect("it says where").to_owned();
    api.event_is(&location, "applied").await;
    let newer = put(8, "two").await;
    api.event_is(newer.header("location").expect("it says where"), "applied")
        .await;
    // Sent again, late: it does not beat the newer one.
    let again = put(3, "one").await;
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(again.header("location"), Some(location.as_str()));
    assert_eq!(again.json()["event_id"], first.json()["event_id"]);
    assert_eq!(again.json()["detail"], "applied");
    assert_eq!(api.get(&path).await.json()["value"], 8);
    assert_problem("another value", &put(4, "one").await, 422, "key-reused");
    let key = "idempotency-key: one";
    let delete = api.ask(&format!("DELETE {path}"), &[key], "").await;
    assert_problem("a delete", &delete, 422, "key-reused");
    let list =
        |value: u8| json!([{"movie_id": api.known, "user": "bo", "value": value}]).to_string();
    let batch = async |value: u8| {
        let key = "idempotency-key: three";
        api.ask("POST /v1/ratings/batch", &[JSON, key], list(value))
            .await
    };
    let first = batch(5).await.json();
    let id = first[0]["event_id"].as_str().expect("an id").to_owned();
    api.event_is(&format!("/v1/events/{id}"), "applied").await;
    assert_eq!(batch(5).await.json(), first);
    assert_problem("another list", &batch(6).await, 422, "key-reused");
    let bad = api
        .ask(
            &format!("PUT {path}"),
            &[JSON, "idempotency-key: two words"],
            r#"{"value": 1}"#,
        )
        .await;
    assert_problem("a key", &bad, 400, "invalid-parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_that_is_deleted_is_gone_from_its_users_ratings() {
    let api = Api::start().await;
    let gone = api.movie("Trafic").await;
    for movie in [&api.known, &gone] {
        let accepted = api
            .json(
                &format!("PUT /v1/movies/{movie}/ratings/ana"),
                r#"{"value": 7}"#,
            )
            .await;
        api.event_is(
            accepted.header("location").expect("it says where"),
            "applied",
        )
        .await;
    }
    assert_eq!(api.ratings("ana").await.len(), 2);
    let deleted = api.ask(&format!("DELETE /v1/movies/{gone}"), &[], "").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    eventually(SOON, "its rating is out of sight", async || {
        api.ratings("ana").await.len() == 1
    })
    .await;
    let path = format!("/v1/movies/{gone}/ratings/ana");
    assert_problem(&path, &api.get(&path).await, 404, "unknown-movie");
}
