//! Bodies that are wrong in every way, to each route that takes one. What can be wrong with a field is made of the OpenAPI
//! document, so a new one is tried too; a route that takes a body and has none here fails the test.

mod wrong;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::wrong::{Route, cases};
use super::{
    assert_problem,
    users::{Guarded, PASSWORD},
};
use crate::{contract::Contract, host::Setup, raw};

/// What each route takes, and how many of a list.
fn good(movie: &str) -> [(&'static str, Value, Option<usize>); 12] {
    let new = json!({"title": "a", "year": 1967, "description": "", "director": "b"});
    let original = json!({
        "id": "", "title": "a", "description": "", "director": "b", "record_type": "movie",
    });
    let submitted = json!({
        "record_id": movie, "record_type": "movie", "user_id": "ana", "value": 7,
    });
    let one = json!({"movie_id": movie, "user": "ana", "value": 7});
    let user = json!({"name": "ana", "email": "ana@example.org", "password": PASSWORD});
    [
        ("POST /v1/movies", new.clone(), None),
        ("POST /v1/movies/batch", new.clone(), Some(100)),
        ("PATCH /v1/movies/{id}", new, None),
        ("POST /v1/submit-metadata", original, None),
        (
            "PUT /v1/movies/{id}/ratings/{user}",
            json!({"value": 7}),
            None,
        ),
        ("POST /v1/submit-rating", submitted, None),
        ("POST /v1/ratings/batch", one, Some(500)),
        ("POST /v1/users", user, None),
        // The password, so that another one could be taken.
        (
            "PATCH /v1/users/me",
            json!({"current_password": PASSWORD}),
            None,
        ),
        ("PUT /v1/users/{user}/role", json!({"role": "admin"}), None),
        (
            "POST /v1/sessions",
            json!({"login": "ana", "password": PASSWORD}),
            None,
        ),
        (
            "POST /v1/sessions/refresh",
            json!({"refresh_token": "mqr_made-up"}),
            None,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_body_is_told_by_each_route_that_takes_one() {
    let setup = Setup::databases().await;
    let system = Guarded::on(setup.with("MARQUEE_TRUSTED_PROXIES", "1")).await;
    let ann = system.member("ann").await;
    let movie = system.movie(&ann, "Playtime").await;
    let document = system.ask("GET /openapi.json", None, &Value::Null).await;
    let contract = Contract::new(document.json());

    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    let mut number = 0_u16;
    for (operation, body, most) in good(&movie) {
        tried.insert(operation.to_owned());
        let route = Route::of(&contract, operation, body, most);
        let line = operation.replace("{id}", &movie).replace("{user}", "ana");
        for case in cases(&route) {
            // An address of its own: what is wrong counts as an attempt too.
            number += 1;
            let [high, low] = number.to_be_bytes();
            let mut headers = vec![format!("x-forwarded-for: 10.0.{high}.{low}")];
            headers.extend(case.headers.iter().map(|own| (*own).to_owned()));
            // Of everything else an open server asks nobody who they are.
            if operation.ends_with("/users/me") {
                headers.push(format!("authorization: Bearer {}", ann.access));
            }
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = raw::request(system.host.address(), &line, &headers, &case.body).await;
            let what = format!("{operation}: {}", case.what);
            let kind = format!("/problems/{}", case.problem);
            let told = (answer.status == case.status).then(|| answer.json());
            let as_expected = told.is_some_and(|told| {
                told["type"] == kind.as_str() && told["field"].as_str() == case.field.as_deref()
            });
            if as_expected {
                assert_problem(&what, &answer, case.status, case.problem);
            } else {
                let (status, field) = (case.status, &case.field);
                wrong.push(format!("{what}: {status} {kind} {field:?}, but {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        tried,
        with_a_body(&contract.document),
        "each has a body here"
    );

    // And nothing came of any of it.
    let movies = system
        .ask("GET /v1/movies", None, &Value::Null)
        .await
        .json();
    assert_eq!(movies["movies"][0]["title"], "Playtime");
    assert_eq!(movies["movies"][0]["version"], 1);
    assert_eq!(movies["movies"][1], Value::Null, "{movies}");
    let given = "GET /v1/users/ana/ratings";
    let given = system.ask(given, None, &Value::Null).await.json();
    assert_eq!(given["ratings"], json!([]));
    let me = "GET /v1/users/me";
    let me = system.ask(me, Some(&ann.access), &Value::Null).await.json();
    assert_eq!((&me["name"], &me["role"]), (&json!("ann"), &json!("user")));
    assert_eq!(system.log_in("ann", PASSWORD).await.status, 201);
    let client = system.setup.connect("USERS").await;
    let count = client.query_one("select count(*) from users", &[]).await;
    assert_eq!(count.expect("a count").get::<_, i64>(0), 1);
}

fn with_a_body(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let of_path = paths.flat_map(|(path, item)| {
        let operations = item.as_object().expect("an item").iter();
        let with = operations.filter(|(_, operation)| operation["requestBody"].is_object());
        with.map(move |(method, _)| format!("{} {path}", method.to_ascii_uppercase()))
    });
    of_path.collect()
}
