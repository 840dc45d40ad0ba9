//! Who may do what: every operation of the OpenAPI document and every method of gRPC, for every kind of caller.
//!
//! Promise: an operation that has no row fails the test, so whoever adds one says here for whom it is. What was answered is
//! printed as a table; `--nocapture` shows it.

mod cells;
mod methods;

use std::{collections::BTreeSet, time::Duration};

use marquee_testkit::eventually;
use serde_json::{Value, json};

use self::cells::{CALLERS, Matrix, Row, Sessions};
use super::users::{Guarded, Member, PASSWORD, member};
use crate::{
    grpc::{self, ById, GetAggregatedRating, Metadata, SubmitMetadata, SubmitRating},
    host::Setup,
    http2::Raw,
    raw::Answer,
};

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_for_whom_it_is_for() {
    let setup = Setup::databases().await;
    let setup = setup
        .with("SPIN_VARIABLE_AUTH", "required")
        .with("MARQUEE_TRUSTED_PROXIES", "1");
    let system = Guarded::on(setup).await;
    let sessions = sessions(&system).await;
    let a = sessions[1].clone().expect("a user");
    let movie = system.movie(&a, "Heat").await;
    let event = rated(&system, &a, &movie).await;
    let names = vec![
        ("{id}", movie.clone()),
        ("{user}", a.id.clone()),
        ("{event_id}", event),
        ("{name}", "internal".to_owned()),
        ("{password}", PASSWORD.to_owned()),
    ];
    let mut matrix = Matrix::of(system, names).await;
    for row in reading() {
        matrix.ask(&sessions, row).await;
    }
    shown_to_some(&mut matrix, &sessions).await;
    for row in writing() {
        matrix.ask(&sessions, row).await;
    }
    rating_many(&mut matrix, &sessions).await;
    calls(&mut matrix, &sessions, &movie, &a).await;
    users(&mut matrix, &sessions).await;

    let document = matrix
        .system
        .ask("GET /openapi.json", None, &Value::Null)
        .await;
    let mut there = operations(&document.json());
    let host = &matrix.system.host;
    let mut raw = Raw::to(host.address()).await;
    there.append(&mut methods::served(&mut raw, &host.url).await);
    let (asked, table, wrong) = matrix.outcome();
    eprintln!("{table}");
    let asked: BTreeSet<String> = asked.into_iter().map(str::to_owned).collect();
    assert_eq!(asked, there, "each operation has a row here");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One of each kind, in the order of [`CALLERS`].
async fn sessions(system: &Guarded) -> Sessions {
    let (a, b) = (system.member("a").await, system.member("b").await);
    let moderator = system.member_as("moderator").await;
    let importer = system.member_as("importer").await;
    let admin = system.member_as("admin").await;
    let again = async || {
        let session = system.log_in("b", PASSWORD).await;
        assert_eq!(session.status, 201, "{session:?}");
        member(&json!(b.id), &session)
    };
    let (expired, revoked, rotated) = (again().await, again().await, again().await);
    let client = system.setup.connect("USERS").await;
    let sql = "update sessions set access_expires_at = now() - interval '1 second'
        where id::text = $1";
    let changed = client.execute(sql, &[&expired.session]).await;
    assert_eq!(changed.expect("it runs"), 1);
    let out = "DELETE /v1/sessions/current";
    let out = system.ask(out, Some(&revoked.access), &Value::Null).await;
    assert_eq!(out.status, 204, "{out:?}");
    let refreshed = json!({"refresh_token": rotated.refresh});
    let refreshed = system.ask("POST /v1/sessions/refresh", None, &refreshed);
    assert_eq!(refreshed.await.status, 200);
    let all = [a, b, moderator, importer, admin, expired, revoked, rotated];
    let mut all = all.into_iter();
    std::array::from_fn(|at| if at == 0 { None } else { all.next() })
}

/// The event of a rating of a's, which is applied.
async fn rated(system: &Guarded, a: &Member, movie: &str) -> String {
    let put = format!("PUT /v1/movies/{movie}/ratings/me");
    let rated = system
        .ask(&put, Some(&a.access), &json!({"value": 8}))
        .await;
    assert_eq!(rated.status, 202, "{rated:?}");
    let event = rated.json()["event_id"].as_str().expect("an id").to_owned();
    let get = format!("GET /v1/events/{event}");
    eventually(Duration::from_secs(20), "it is applied", async || {
        system.ask(&get, None, &Value::Null).await.json()["status"] == "applied"
    })
    .await;
    event
}

/// Whoever it is, and whatever their token is worth.
const fn everybody(status: u16) -> [u16; 9] {
    [status; 9]
}

/// Whoever has logged in.
const fn users_only(status: u16) -> [u16; 9] {
    [401, status, status, status, status, status, 401, 401, 401]
}

/// For a: a, and whoever may rate for others.
const FOR_A: [u16; 9] = [401, 202, 403, 403, 202, 202, 401, 401, 401];
/// Of a's: a, and whoever has a role.
const OF_A: [u16; 9] = [401, 200, 403, 200, 200, 200, 401, 401, 401];

/// Those who edit movies.
const fn editors(status: u16) -> [u16; 9] {
    [401, 403, 403, status, 403, status, 401, 401, 401]
}

fn reading() -> Vec<Row> {
    vec![
        Row::new("GET /", everybody(308)),
        Row::new("GET /docs", everybody(200)),
        Row::new("GET /openapi.json", everybody(200)),
        Row::new("GET /problems/{name}", everybody(200)),
        Row::new("GET /v1/movies", everybody(200)),
        Row::new("GET /v1/movies/{id}", everybody(200)),
        Row::new("GET /v1/movies/{id}/details", everybody(200)),
        Row::new("GET /v1/get-metadata", everybody(200)).query("?id={id}"),
        Row::new("GET /v1/get-movie-details", everybody(200)).query("?id={id}"),
        Row::new("GET /v1/events/{event_id}", everybody(200)),
        Row::new("GET /v1/movies/{id}/ratings/{user}", OF_A),
        Row::new("GET /v1/users/{user}/ratings", OF_A),
        Row::new("GET /v1/users/{user}/ratings", users_only(200)).own("{user}", "me"),
        Row::new("GET /v1/users/me", users_only(200)),
    ]
}

/// Everybody sees how a movie's ratings are spread, and those with a role whose they are.
async fn shown_to_some(matrix: &mut Matrix, sessions: &Sessions) {
    let expected = [200, 200, 200, 200, 200, 200, 401, 401, 401];
    let row = Row::new("GET /v1/movies/{id}/ratings", expected);
    let pages = matrix.ask(sessions, row).await;
    for (name, page) in CALLERS[..6].iter().zip(pages) {
        let page = page.json();
        let sees_users = !["nobody", "a", "b"].contains(name);
        assert_eq!(page["ratings"].is_array(), sees_users, "{name}: {page}");
    }
}

fn writing() -> Vec<Row> {
    let movie = |title: &str| json!({"title": title, "description": "", "director": "D"});
    let original = json!({
        "title": "{caller} 3", "description": "", "director": "D", "record_type": "movie",
    });
    let value = json!({"value": 7});
    let submitted = json!({
        "record_id": "{id}", "record_type": "movie", "user_id": "{user}", "value": 7,
    });
    let put = "PUT /v1/movies/{id}/ratings/{user}";
    let delete = "DELETE /v1/movies/{id}/ratings/{user}";
    vec![
        Row::new("POST /v1/movies", users_only(201)).body(movie("{caller} 1")),
        Row::new("POST /v1/movies/batch", users_only(207)).body(json!([movie("{caller} 2")])),
        Row::new("POST /v1/submit-metadata", users_only(201)).body(original),
        Row::new("PATCH /v1/movies/{id}", editors(200)).body(json!({"year": 1995})),
        Row::new("DELETE /v1/movies/{id}", editors(204)).of_a_fresh_movie(),
        Row::new(put, FOR_A).body(value.clone()),
        Row::new(put, users_only(202))
            .body(value)
            .own("{user}", "me"),
        Row::new(delete, FOR_A),
        Row::new(delete, users_only(202)).own("{user}", "me"),
        Row::new("POST /v1/submit-rating", FOR_A).body(submitted),
    ]
}

/// Whoever may not rate for a user is told so in the entry.
async fn rating_many(matrix: &mut Matrix, sessions: &Sessions) {
    let many = json!([{"movie_id": "{id}", "user": "{user}", "value": 7}]);
    let row = Row::new("POST /v1/ratings/batch", users_only(202)).body(many);
    let answers = matrix.ask(sessions, row).await;
    for ((name, answer), expected) in CALLERS.iter().zip(answers).zip(FOR_A) {
        if answer.status == 202 {
            assert_eq!(answer.json()[0]["status"], expected, "{name}: {answer:?}");
        }
    }
}

/// Codes of gRPC: 0 OK, 7 PERMISSION_DENIED, 12 UNIMPLEMENTED, 16 UNAUTHENTICATED.
async fn calls(matrix: &mut Matrix, sessions: &Sessions, movie: &str, a: &Member) {
    let users_only = [16, 0, 0, 0, 0, 0, 16, 16, 16];
    let for_a = [16, 0, 7, 7, 0, 0, 16, 16, 16];
    let by_id = |_: &str| {
        let movie_id = movie.to_owned();
        grpc::frame(&ById { movie_id })
    };
    let new = |caller: &str| {
        let metadata = Some(Metadata {
            title: format!("{caller} 4"),
            director: "D".to_owned(),
            ..Metadata::default()
        });
        grpc::frame(&SubmitMetadata { metadata })
    };
    let aggregated = |_: &str| {
        grpc::frame(&GetAggregatedRating {
            record_id: movie.to_owned(),
            record_type: "movie".to_owned(),
        })
    };
    let rating = |_: &str| {
        grpc::frame(&SubmitRating {
            user_id: a.id.clone(),
            record_id: movie.to_owned(),
            record_type: "movie".to_owned(),
            rating_value: 7,
        })
    };
    let nothing = |_: &str| grpc::framed(0, b"");
    let list = |_: &str| grpc::framed(0, b"\x3a\x00");
    let (read, made) = (
        "MetadataService/GetMetadata",
        "MetadataService/SubmitMetadata",
    );
    matrix.call(sessions, read, by_id, everybody(0)).await;
    matrix.call(sessions, made, new, users_only).await;
    let details = "MovieService/GetMovieDetails";
    matrix.call(sessions, details, by_id, everybody(0)).await;
    let average = "RatingService/GetAggregatedRating";
    matrix
        .call(sessions, average, aggregated, everybody(0))
        .await;
    let submit = "RatingService/SubmitRating";
    matrix.call(sessions, submit, rating, for_a).await;
    let (check, watch) = ("grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch");
    matrix.call(sessions, check, nothing, everybody(0)).await;
    matrix.call(sessions, watch, nothing, everybody(12)).await;
    let reflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    matrix.call(sessions, reflection, list, everybody(0)).await;
}

/// Last, since sessions end here, and those whose they are.
async fn users(matrix: &mut Matrix, sessions: &Sessions) {
    let new = json!({"name": "new {caller}", "password": "{password}"});
    let row = Row::new("POST /v1/users", everybody(201)).body(new);
    matrix.ask(sessions, row).await;
    let admins = [401, 403, 403, 403, 403, 200, 401, 401, 401];
    let row = Row::new("PUT /v1/users/{user}/role", admins).body(json!({"role": "user"}));
    matrix.ask(sessions, row).await;

    // A token counts for nothing where there is none to be asked for.
    let log_in = json!({"login": "{login}", "password": "{password}"});
    let row = Row::new("POST /v1/sessions", everybody(201)).body(log_in);
    let begun = matrix.ask(sessions, row).await;
    let row = Row::new("DELETE /v1/sessions/current", users_only(204));
    matrix.ask(&with_those_of(sessions, &begun), row).await;
    // An access token that has expired is what a refresh token is for.
    let refreshed = [401, 200, 200, 200, 200, 200, 200, 401, 401];
    let refresh = json!({"refresh_token": "{refresh}"});
    let row = Row::new("POST /v1/sessions/refresh", refreshed).body(refresh);
    let refreshed = matrix.ask(sessions, row).await;
    let sessions = with_those_of(sessions, &refreshed);
    let row = Row::new("PATCH /v1/users/me", users_only(200));
    let row = row.body(json!({"name": "renamed {caller}"}));
    matrix.ask(&sessions, row).await;
    let row = Row::new("DELETE /v1/users/me", users_only(204));
    matrix.ask(&sessions, row).await;
}

/// The sessions that these answers have begun or continued, of those whose sessions are good.
fn with_those_of(sessions: &Sessions, answers: &[Answer]) -> Sessions {
    let mut renewed = sessions.clone();
    for (session, answer) in renewed.iter_mut().zip(answers).take(6) {
        if let Some(session) = session {
            *session = member(&json!(session.id), answer);
        }
    }
    renewed
}

/// The operations of the document.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let of_path = paths.flat_map(|(path, item)| {
        let methods = item.as_object().expect("an item").keys();
        methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    of_path.collect()
}
