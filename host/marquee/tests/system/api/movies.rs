//! Movies: their years, how they are found, changed and deleted, and created once; conditional requests and CORS.

use std::time::Duration;

use marquee_testkit::eventually;
use serde_json::{Value, json};

use super::{Api, JSON, UNKNOWN, assert_problem, users::Guarded};
use crate::{host::Setup, raw::Answer};

const MERGE_PATCH: &str = "content-type: application/merge-patch+json";

async fn create(api: &Api, title: &str, year: impl Into<Value>) -> Answer {
    let year: Value = year.into();
    let body = json!({"title": title, "year": year, "description": "", "director": "x"});
    api.json("POST /v1/movies", body.to_string()).await
}

/// The titles and years of a list.
async fn list(api: &Api, query: &str) -> Vec<(String, Option<u64>)> {
    let page = api.get(&format!("/v1/movies{query}")).await;
    assert_eq!(page.status, 200, "{query}: {page:?}");
    let page = page.json();
    let movies = page["movies"].as_array().expect("a list").iter();
    let title = |movie: &Value| movie["title"].as_str().expect("a title").to_owned();
    movies
        .map(|movie| (title(movie), movie["year"].as_u64()))
        .collect()
}

async fn titles(api: &Api, query: &str) -> Vec<String> {
    let movies = list(api, query).await.into_iter();
    movies.map(|(title, _)| title).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn movies_of_one_title_are_told_apart_by_their_years() {
    let api = Api::start().await;
    for year in [json!(2005), json!(1933), json!(null)] {
        let made = create(&api, "King Kong", year.clone()).await;
        assert_eq!(
            (made.status, &made.json()["year"]),
            (201, &year),
            "{made:?}"
        );
        let again = create(&api, "KING KONG", year).await;
        let problem = assert_problem("the same again", &again, 409, "title-taken");
        assert_eq!(problem["existing_id"], made.json()["id"]);
    }
    let king = |years: &[Option<u64>]| -> Vec<_> {
        let movie = |year: &Option<u64>| ("King Kong".to_owned(), *year);
        years.iter().map(movie).collect()
    };
    let all = [Some(1933), Some(2005), None];
    assert_eq!(list(&api, "?q=kong&sort=year").await, king(&all));
    assert_eq!(list(&api, "?year=1933").await, king(&all[..1]));
    assert_eq!(list(&api, "?year=1950").await, []);
    let newest = list(&api, "?sort=-created&limit=3").await;
    assert_eq!(newest, king(&[None, Some(1933), Some(2005)]));
    for (year, status, problem) in [
        (json!(1869), 422, "out-of-bounds"),
        (json!(2201), 422, "out-of-bounds"),
        (json!(-5), 422, "out-of-bounds"),
        (json!(1e300), 422, "out-of-bounds"),
        (json!(1999.5), 400, "wrong-shape"),
        (json!("1999"), 400, "wrong-shape"),
    ] {
        let refused = create(&api, "Alien", year.clone()).await;
        let problem = assert_problem(&year.to_string(), &refused, status, problem);
        assert_eq!(problem["field"], "year");
    }
    for query in [
        "?year=1869",
        "?year=x",
        "?year=+1999",
        "?year=",
        "?sort=age",
        "?sort=average",
    ] {
        let refused = api.get(&format!("/v1/movies{query}")).await;
        assert_problem(query, &refused, 400, "invalid-parameter");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn movies_are_found_by_words_however_they_are_written() {
    let api = Api::start().await;
    for title in [
        "The Godfather",
        "Zorro",
        "Élan",
        "Le Fabuleux Destin d’Amélie Poulain",
    ] {
        assert_eq!(create(&api, title, Value::Null).await.status, 201);
    }
    assert_eq!(titles(&api, "?q=godfather").await, ["The Godfather"]);
    assert_eq!(titles(&api, "?q=godfater").await, ["The Godfather"]);
    let amelie = ["Le Fabuleux Destin d’Amélie Poulain"];
    assert_eq!(titles(&api, "?q=AMELIE+poul").await, amelie);
    assert_eq!(titles(&api, "?q=amelie&prefix=le").await, amelie);
    assert_eq!(titles(&api, "?q=amelie&prefix=la").await, amelie[..0]);
    assert_eq!(titles(&api, "?q=%21%21").await, amelie[..0]);
    let ordered = ["Élan", amelie[0], "Playtime", "The Godfather", "Zorro"];
    assert_eq!(titles(&api, "").await, ordered);
    assert_eq!(titles(&api, "?q=e&sort=title").await, ordered[..1]);
    // A cursor is one of its query's.
    let first = api.get("/v1/movies?limit=1").await.json();
    let next = first["next"].as_str().expect("there is more");
    let foreign = api
        .get(&format!("/v1/movies?limit=1&q=e&after={next}"))
        .await;
    let problem = assert_problem("a cursor", &foreign, 400, "invalid-parameter");
    assert_eq!(problem["field"], "after");
    let long = api.get(&format!("/v1/movies?q={}", "e".repeat(201))).await;
    assert_problem("a long query", &long, 400, "invalid-parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_averages_and_the_best_movies_come_first() {
    let api = Api::start().await;
    let mut ids = vec![api.known.clone()];
    for title in ["Trafic", "Parade", "Unrated"] {
        let made = create(&api, title, Value::Null).await;
        ids.push(made.json()["id"].as_str().expect("an id").to_owned());
    }
    // A single 10 is not better than eight 9s.
    let rate = async |movie: &str, user: String, value: u8| {
        let line = format!("PUT /v1/movies/{movie}/ratings/{user}");
        let rated = api.json(&line, format!("{{\"value\": {value}}}")).await;
        assert_eq!(rated.status, 202, "{rated:?}");
    };
    rate(&ids[0], "ann".to_owned(), 10).await;
    rate(&ids[2], "ann".to_owned(), 1).await;
    for n in 0..8 {
        rate(&ids[1], format!("user{n}"), 9).await;
    }
    let best = async |query: &str| {
        let page = api.get(&format!("/v1/movies?sort=-average{query}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.json()
    };
    let titles_of = |page: &Value| -> Vec<String> {
        let movies = page["movies"].as_array().expect("a list").iter();
        movies
            .map(|movie| movie["title"].as_str().expect("a title").to_owned())
            .collect()
    };
    let ranked = ["Trafic", "Playtime", "Parade"];
    eventually(Duration::from_secs(20), "all are ranked", async || {
        let page = best("").await;
        let all = page["movies"][0]["rating"] == json!({"average": 9.0, "count": 8});
        all && titles_of(&page) == ranked
    })
    .await;
    let first = best("&limit=2").await;
    assert_eq!(titles_of(&first), ranked[..2]);
    let next = first["next"].as_str().expect("there is more");
    let second = best(&format!("&limit=2&after={next}")).await;
    assert_eq!(
        (titles_of(&second), &second["next"]),
        (vec!["Parade".to_owned()], &Value::Null)
    );
    for query in ["&q=e", "&prefix=e", "&year=1999", "&limit=0", "&after=x"] {
        let refused = api.get(&format!("/v1/movies?sort=-average{query}")).await;
        assert_problem(query, &refused, 400, "invalid-parameter");
    }
    let list = api.get("/v1/movies").await.json();
    let ratings: Vec<_> = (0..4)
        .map(|n| list["movies"][n]["rating"].clone())
        .collect();
    let expected = [
        json!({"average": 1.0, "count": 1}),
        json!({"average": 10.0, "count": 1}),
        json!({"average": 9.0, "count": 8}),
        json!({"average": null, "count": 0}),
    ];
    assert_eq!(ratings, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_is_changed_in_the_version_that_was_seen() {
    let api = Api::start().await;
    let target = format!("/v1/movies/{}", api.known);
    let patch = async |headers: &[&str], body: Value| {
        api.ask(&format!("PATCH {target}"), headers, body.to_string())
            .await
    };
    assert_eq!(api.get(&target).await.header("etag"), Some("\"1\""));
    let changed = patch(&[MERGE_PATCH, "if-match: \"1\""], json!({"year": 1967})).await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, Some("\"2\"")),
        "{changed:?}"
    );
    assert_eq!(changed.json(), api.get(&target).await.json());
    assert_eq!(
        (&changed.json()["title"], &changed.json()["year"]),
        (&json!("Playtime"), &json!(1967))
    );

    for tag in ["\"1\"", "W/\"2\"", "\"x\"", "\"1\", \"3\""] {
        let late = patch(
            &[JSON, &format!("if-match: {tag}")],
            json!({"title": "Traffic"}),
        )
        .await;
        assert_problem(tag, &late, 412, "movie-changed");
    }
    // Nothing new is no new version.
    for tag in ["*", "\"1\", \"2\""] {
        let same = patch(
            &[JSON, &format!("if-match: {tag}")],
            json!({"title": " Playtime"}),
        )
        .await;
        assert_eq!(
            (same.status, same.header("etag")),
            (200, Some("\"2\"")),
            "{same:?}"
        );
    }
    let without = patch(&[JSON], json!({"year": null, "description": ""})).await;
    assert_eq!(
        (without.status, &without.json()["year"]),
        (200, &Value::Null),
        "{without:?}"
    );
    assert_eq!(without.json()["version"], 3);

    let other = create(&api, "Trafic", Value::Null).await.json();
    let taken = patch(&[JSON], json!({"title": "TRAFIC"})).await;
    let problem = assert_problem("another's title", &taken, 409, "title-taken");
    assert_eq!(problem["existing_id"], other["id"]);
    for (body, status, problem) in [
        (json!({"title": null}), 400, "wrong-shape"),
        (json!({"id": "x"}), 400, "wrong-shape"),
        (json!({"year": "1967"}), 400, "wrong-shape"),
        (json!([]), 400, "wrong-shape"),
        (json!({"title": " "}), 422, "out-of-bounds"),
        (json!({"year": 1}), 422, "out-of-bounds"),
    ] {
        let refused = patch(&[JSON], body.clone()).await;
        assert_problem(&body.to_string(), &refused, status, problem);
    }
    let unknown = format!("PATCH /v1/movies/{UNKNOWN}");
    for headers in [&[JSON][..], &[JSON, "if-match: \"1\""]] {
        let answer = api.ask(&unknown, headers, r#"{"title": "x"}"#).await;
        assert_problem(&unknown, &answer, 404, "unknown-movie");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_movie_is_gone_and_its_title_is_free() {
    let api = Api::start().await;
    let target = format!("/v1/movies/{}", api.known);
    let delete = format!("DELETE {target}");
    let late = api.ask(&delete, &["if-match: \"7\""], "").await;
    assert_problem("another version", &late, 412, "movie-changed");
    let deleted = api.ask(&delete, &["if-match: \"1\""], "").await;
    assert_eq!(
        (deleted.status, deleted.body.as_str()),
        (204, ""),
        "{deleted:?}"
    );
    for line in [
        delete.clone(),
        format!("GET {target}"),
        format!("GET {target}/details"),
        format!("GET /v1/get-metadata?id={}", api.known),
        format!("PUT {target}/ratings/ana"),
    ] {
        let body = if line.starts_with("PUT") {
            r#"{"value": 7}"#
        } else {
            ""
        };
        let answer = api.json(&line, body).await;
        assert_problem(&line, &answer, 404, "unknown-movie");
    }
    assert_eq!(titles(&api, "").await, [""; 0]);
    assert_eq!(create(&api, "playtime", Value::Null).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_with_a_key_is_answered_the_same_however_often_it_is_sent() {
    let api = Api::start().await;
    let send = async |title: &str, key: &str| {
        let body = json!({"title": title, "description": "", "director": "x"}).to_string();
        let key = format!("idempotency-key: {key}");
        api.ask("POST /v1/movies", &[JSON, &key], body).await
    };
    let first = send("Trafic", "k-1").await;
    let again = send("Trafic", "k-1").await;
    assert_eq!((first.status, again.status), (201, 201), "{again:?}");
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("location"), again.header("location"));
    assert_problem(
        "another key",
        &send("Trafic", "k-2").await,
        409,
        "title-taken",
    );
    assert_problem(
        "another movie",
        &send("Parade", "k-1").await,
        422,
        "key-reused",
    );
    for key in ["", "a b", "é", &"k".repeat(201)] {
        let refused = send("Parade", key).await;
        assert_problem(key, &refused, 400, "invalid-parameter");
    }
    assert_eq!(send("Parade", &"k".repeat(200)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn movies_are_created_many_at_once_with_an_answer_for_each() {
    let api = Api::start().await;
    let movie = |title: &str| json!({"title": title, "description": "", "director": "x"});
    let send = async |movies: &Value| api.json("POST /v1/movies/batch", movies.to_string()).await;
    let movies = json!([
        movie("Trafic"),
        movie("playtime"),
        movie(" "),
        movie("TRAFIC"),
        movie("Parade")
    ]);
    let answer = send(&movies).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let entries = answer.json();
    let statuses: Vec<_> = (0..5).map(|n| entries[n]["status"].clone()).collect();
    assert_eq!(statuses, [201, 409, 422, 409, 201].map(Value::from));
    assert_eq!(entries[1]["problem"]["existing_id"], api.known.as_str());
    assert_eq!(entries[2]["problem"]["field"], "title");
    assert_eq!(
        entries[3]["problem"]["existing_id"],
        entries[0]["movie"]["id"]
    );
    let instance = entries[1]["problem"]["instance"].as_str();
    assert_eq!(instance, answer.header("x-request-id"));
    let place = format!(
        "/v1/movies/{}",
        entries[4]["movie"]["id"].as_str().expect("an id")
    );
    assert_eq!(api.get(&place).await.json(), entries[4]["movie"]);

    let hundred: Vec<_> = (0..100).map(|n| movie(&format!("Movie {n}"))).collect();
    assert_eq!(send(&json!(hundred)).await.status, 207);
    for (movies, status, problem) in [
        (json!([]), 422, "out-of-bounds"),
        (json!(vec![movie("Too many"); 101]), 422, "out-of-bounds"),
        (movie("Alone"), 400, "wrong-shape"),
        (json!([movie("Good"), {"title": 1}]), 400, "wrong-shape"),
        (json!([["Good", "", "x"]]), 400, "wrong-shape"),
    ] {
        let what = movies.to_string();
        assert_problem(&what, &send(&movies).await, status, problem);
    }
    assert_eq!(titles(&api, "?q=good").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_movies_under_a_key_is_created_once() {
    let api = Api::start().await;
    let list = |titles: [&str; 4]| {
        let movie = |title| json!({"title": title, "description": "", "director": "x"});
        json!(titles.map(movie))
    };
    let send = async |movies: &Value, key: &str| {
        let key = format!("idempotency-key: {key}");
        api.ask("POST /v1/movies/batch", &[JSON, &key], movies.to_string())
            .await
    };
    let statuses = |answer: &Answer| {
        let entries = answer.json();
        (0..4)
            .map(|n| entries[n]["status"].as_u64().expect("a status"))
            .collect::<Vec<_>>()
    };
    let movies = list(["Trafic", "playtime", " ", "Parade"]);
    let first = send(&movies, "one").await;
    assert_eq!(first.status, 207, "{first:?}");
    assert_eq!(statuses(&first), [201, 409, 422, 201]);
    let again = send(&movies, "one").await;
    assert_eq!(statuses(&again), statuses(&first));
    for n in [0, 3] {
        assert_eq!(again.json()[n], first.json()[n]);
    }
    let other = list(["Trafic", "Jour de fête", "Ran", "Mon oncle"]);
    let refused = send(&other, "one").await;
    assert_problem("another list", &refused, 422, "key-reused");
    assert_eq!(titles(&api, "?q=oncle").await, [""; 0]);
    let renamed = send(&movies, &"k".repeat(200)).await;
    assert_eq!(statuses(&renamed), [409, 409, 422, 409]);
    let refused = send(&movies, "a b").await;
    assert_problem("a key", &refused, 400, "invalid-parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_already_is_not_sent_again() {
    let api = Api::start().await;
    let one = format!("/v1/movies/{}", api.known);
    for target in [
        one.clone(),
        format!("{one}/details"),
        "/v1/movies".to_owned(),
        format!("/v1/get-metadata?id={}", api.known),
        "/v1/users/ana/ratings".to_owned(),
        "/openapi.json".to_owned(),
        "/problems/title-taken".to_owned(),
    ] {
        let whole = api.get(&target).await;
        let tag = whole.header("etag").expect("it has a tag").to_owned();
        if target.starts_with("/v1") {
            assert_eq!(whole.header("cache-control"), Some("no-cache"), "{target}");
        }
        for method in ["GET", "HEAD"] {
            for has in [
                tag.clone(),
                format!("W/{tag}"),
                format!("\"x\", {tag}"),
                "*".to_owned(),
            ] {
                let has = format!("if-none-match: {has}");
                let same = api.ask(&format!("{method} {target}"), &[&has], "").await;
                assert_eq!(
                    (same.status, same.body.as_str()),
                    (304, ""),
                    "{target} {has}: {same:?}"
                );
                assert_eq!(same.header("etag"), Some(tag.as_str()), "{target}");
            }
            let line = format!("{method} {target}");
            let other = api.ask(&line, &["if-none-match: \"x\""], "").await;
            assert_eq!(
                (other.status, other.header("etag")),
                (200, Some(tag.as_str())),
                "{line}"
            );
        }
    }
    let list = api.get("/v1/movies").await;
    assert_eq!(create(&api, "Trafic", Value::Null).await.status, 201);
    let has = format!("if-none-match: {}", list.header("etag").expect("a tag"));
    assert_eq!(api.ask("GET /v1/movies", &[&has], "").await.status, 200);
    let unknown = api.get(&format!("/v1/movies/{UNKNOWN}")).await;
    assert_eq!(
        (unknown.header("etag"), unknown.header("cache-control")),
        (None, Some("no-store"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_moderators_change_and_delete_movies() {
    let system = Guarded::start().await;
    let (user, moderator) = (
        system.member("ann").await,
        system.member_as("moderator").await,
    );
    let movie = system.movie(&user, "Heat").await;
    let patch = (format!("PATCH /v1/movies/{movie}"), json!({"year": 1995}));
    let delete = (format!("DELETE /v1/movies/{movie}"), Value::Null);
    for (line, body) in [&patch, &delete] {
        let nobody = system.ask(line, None, body).await;
        assert_problem(line, &nobody, 401, "unauthorized");
        let other = system.ask(line, Some(&user.access), body).await;
        assert_problem(line, &other, 403, "forbidden");
    }
    for ((line, body), status) in [(&patch, 200), (&delete, 204)] {
        let done = system.ask(line, Some(&moderator.access), body).await;
        assert_eq!(done.status, status, "{line}: {done:?}");
    }
    let batch = json!([{"title": "Ran", "description": "", "director": "x"}]);
    let nobody = system.ask("POST /v1/movies/batch", None, &batch).await;
    assert_problem("a batch", &nobody, 401, "unauthorized");
    // What is read with a token is nobody else's to keep.
    let list = system
        .ask("GET /v1/movies", Some(&user.access), &Value::Null)
        .await;
    assert_eq!(list.header("cache-control"), Some("private, no-cache"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_sites_that_are_named_may_ask_from_a_browser() {
    let origin = "https://films.example";
    let setup = Setup::databases().await;
    let setup = setup.with(
        "SPIN_VARIABLE_CORS_ORIGINS",
        "https://films.example, http://localhost:1",
    );
    let api = Api::on(setup).await;
    let from = |origin: &str| format!("origin: {origin}");
    let allowed = |answer: &Answer| {
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    for line in ["GET /v1/movies", "GET /v1/movies/x", "GET /v1/movies/%"] {
        let answer = api.ask(line, &[&from(origin)], "").await;
        assert_eq!(allowed(&answer).as_deref(), Some(origin), "{line}");
        assert!(
            answer
                .header("vary")
                .is_some_and(|vary| vary.contains("origin")),
            "{line}"
        );
    }
    for other in ["https://other.example", "null"] {
        let answer = api.ask("GET /v1/movies", &[&from(other)], "").await;
        assert_eq!((answer.status, allowed(&answer)), (200, None), "{other}");
    }
    let asks = [
        &from(origin),
        "access-control-request-method: PATCH",
        "access-control-request-headers: if-match,content-type",
    ];
    let preflight = api.ask("OPTIONS /v1/movies/x", &asks, "").await;
    assert_eq!(
        (preflight.status, allowed(&preflight).as_deref()),
        (204, Some(origin))
    );
    let methods = preflight.header("access-control-allow-methods");
    assert!(
        methods.is_some_and(|methods| methods.contains("PATCH")),
        "{preflight:?}"
    );
    // Without the question of a browser, OPTIONS is what it always is.
    let options = api.ask("OPTIONS /v1/movies", &[&from(origin)], "").await;
    assert_eq!(options.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_site_may_ask_where_none_is_named() {
    let api = Api::start().await;
    let answer = api
        .ask("GET /v1/movies", &["origin: https://films.example"], "")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), None);
}
