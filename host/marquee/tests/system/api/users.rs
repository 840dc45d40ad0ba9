//! Who may do what: users, their sessions, their roles.

use std::time::Duration;

use marquee_import::{
    api::{Client, Error, Movie},
    session::Credentials,
};
use marquee_testkit::eventually;
use serde_json::{Value, json};

use super::{Api, assert_problem};
use crate::{
    host::{Host, Setup},
    raw::{self, Answer},
};

pub(super) const PASSWORD: &str = "a quiet harbour";
const JSON: &str = "content-type: application/json";
/// A token that is good no more is let in for 5 s at most; and the machine may be busy.
const LET_IN_FOR: Duration = Duration::from_secs(10);

/// A running system that asks for tokens.
pub(crate) struct Guarded {
    pub(crate) host: Host,
    pub(crate) setup: Setup,
}

/// A user who has logged in.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) access: String,
    pub(super) refresh: String,
    pub(super) session: String,
}

impl Guarded {
    pub(crate) async fn start() -> Self {
        let setup = Setup::databases().await;
        Self::on(setup.with("SPIN_VARIABLE_AUTH", "required")).await
    }

    pub(crate) async fn on(setup: Setup) -> Self {
        let host = setup.start().await;
        Self { host, setup }
    }

    pub(crate) async fn ask(&self, line: &str, token: Option<&str>, body: &Value) -> Answer {
        let authorization = token.map(|token| format!("authorization: Bearer {token}"));
        let mut headers: Vec<&str> = authorization.iter().map(String::as_str).collect();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        if !body.is_empty() {
            headers.push(JSON);
        }
        raw::request(self.host.address(), line, &headers, body).await
    }

    pub(super) async fn register(&self, name: &str) -> Answer {
        let user = json!({"name": name, "password": PASSWORD});
        self.ask("POST /v1/users", None, &user).await
    }

    pub(super) async fn log_in(&self, name: &str, password: &str) -> Answer {
        let login = json!({"login": name, "password": password});
        self.ask("POST /v1/sessions", None, &login).await
    }

    /// Somebody new, who is logged in.
    pub(crate) async fn member(&self, name: &str) -> Member {
        let registered = self.register(name).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        assert_eq!(registered.header("location"), Some("/v1/users/me"));
        let session = self.log_in(name, PASSWORD).await;
        assert_eq!(session.status, 201, "{session:?}");
        member(&registered.json()["id"], &session)
    }

    /// Somebody new with a role that an operator has given.
    pub(crate) async fn member_as(&self, role: &str) -> Member {
        let member = self.member(role).await;
        let client = self.setup.connect("USERS").await;
        let sql = "update users set role = $1 where name = $1";
        assert_eq!(client.execute(sql, &[&role]).await.expect("it runs"), 1);
        member
    }

    /// A movie, created by whoever this is.
    pub(crate) async fn movie(&self, by: &Member, title: &str) -> String {
        let movie = json!({"title": title, "description": "", "director": "D"});
        let made = self.ask("POST /v1/movies", Some(&by.access), &movie).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["id"].as_str().expect("an id").to_owned()
    }
}

pub(super) fn member(id: &Value, session: &Answer) -> Member {
    let session = session.json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    Member {
        id: text(id),
        access: text(&session["access_token"]),
        refresh: text(&session["refresh_token"]),
        session: text(&session["session_id"]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registers_logs_in_rates_as_themselves_and_logs_out() {
    let system = Guarded::start().await;
    let ann = system.member("Ann").await;
    let taken = system.register("ANN").await;
    assert_problem("a name in another case", &taken, 409, "name-taken");

    let me = system
        .ask("GET /v1/users/me", Some(&ann.access), &Value::Null)
        .await;
    assert_eq!(me.status, 200, "{me:?}");
    let me = me.json();
    assert_eq!(
        (&me["id"], &me["name"], &me["role"]),
        (&json!(ann.id), &json!("Ann"), &json!("user"))
    );

    let movie = system.movie(&ann, "Heat").await;
    let rate = format!("PUT /v1/movies/{movie}/ratings/me");
    let rated = system
        .ask(&rate, Some(&ann.access), &json!({"value": 8}))
        .await;
    assert_eq!(rated.status, 202, "{rated:?}");
    eventually(Duration::from_secs(20), "it is applied", async || {
        let own = system
            .ask("GET /v1/users/me/ratings", Some(&ann.access), &Value::Null)
            .await;
        own.json()["ratings"][0]["user_id"] == json!(ann.id)
    })
    .await;

    let out = system
        .ask(
            "DELETE /v1/sessions/current",
            Some(&ann.access),
            &Value::Null,
        )
        .await;
    assert_eq!(out.status, 204, "{out:?}");
    eventually(LET_IN_FOR, "the token is no good", async || {
        let me = system
            .ask("GET /v1/users/me", Some(&ann.access), &Value::Null)
            .await;
        me.status == 401 && me.header("www-authenticate") == Some("Bearer realm=\"movies\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_its_second_use_ends_the_session() {
    let system = Guarded::start().await;
    let ann = system.member("ann").await;
    let refresh = async |token: &str| {
        let body = json!({"refresh_token": token});
        system.ask("POST /v1/sessions/refresh", None, &body).await
    };
    let second = refresh(&ann.refresh).await;
    assert_eq!(second.status, 200, "{second:?}");
    let second = member(&json!(ann.id), &second);
    let stolen = refresh(&ann.refresh).await;
    let problem = assert_problem("used before", &stolen, 401, "unauthorized");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap_or_default()
            .contains("used before"),
        "{problem}"
    );
    assert_problem(
        "its successor",
        &refresh(&second.refresh).await,
        401,
        "unauthorized",
    );
    let me = system
        .ask("GET /v1/users/me", Some(&second.access), &Value::Null)
        .await;
    assert_problem("its access token", &me, 401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_all_other_sessions() {
    let system = Guarded::start().await;
    let ann = system.member("ann").await;
    let elsewhere = member(&json!(ann.id), &system.log_in("ann", PASSWORD).await);
    let change = async |body: Value| {
        system
            .ask("PATCH /v1/users/me", Some(&ann.access), &body)
            .await
    };

    let me = async |member: &Member| {
        system
            .ask("GET /v1/users/me", Some(&member.access), &Value::Null)
            .await
            .status
    };
    assert_eq!(me(&elsewhere).await, 200, "it is known from now on");
    let new = "an even quieter harbour";
    let answer = change(json!({"password": new})).await;
    assert_problem("without the old one", &answer, 422, "out-of-bounds");
    let answer =
        change(json!({"password": new, "current_password": "guessed", "name": "eve"})).await;
    assert_problem("with a wrong one", &answer, 403, "forbidden");
    let answer = change(json!({"password": "ann", "current_password": PASSWORD})).await;
    assert_problem("too short", &answer, 422, "out-of-bounds");
    let answer =
        change(json!({"password": new, "current_password": PASSWORD, "name": "Anna"})).await;
    assert_eq!(
        (answer.status, &answer.json()["name"]),
        (200, &json!("Anna")),
        "{answer:?}"
    );

    assert_problem(
        "the old one",
        &system.log_in("anna", PASSWORD).await,
        401,
        "unauthorized",
    );
    assert_eq!(system.log_in("anna", new).await.status, 201);
    eventually(LET_IN_FOR, "elsewhere is out", async || {
        me(&elsewhere).await == 401
    })
    .await;
    assert_eq!(me(&ann).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_is_gone_and_the_averages_follow() {
    let system = Guarded::start().await;
    let (ann, bob) = (system.member("ann").await, system.member("bob").await);
    let movie = system.movie(&ann, "Heat").await;
    let rate = format!("PUT /v1/movies/{movie}/ratings/me");
    for (who, value) in [(&ann, 10), (&bob, 5)] {
        let rated = system
            .ask(&rate, Some(&who.access), &json!({"value": value}))
            .await;
        assert_eq!(rated.status, 202, "{rated:?}");
    }
    let average = async || {
        let details = format!("GET /v1/movies/{movie}/details");
        system.ask(&details, None, &Value::Null).await.json()["rating"].clone()
    };
    eventually(Duration::from_secs(20), "both count", async || {
        average().await == json!({"average": 7.5, "count": 2})
    })
    .await;

    let erased = system
        .ask("DELETE /v1/users/me", Some(&ann.access), &Value::Null)
        .await;
    assert_eq!(erased.status, 204, "{erased:?}");
    eventually(Duration::from_secs(20), "only bob counts", async || {
        average().await == json!({"average": 5.0, "count": 1})
    })
    .await;
    let me = system
        .ask("GET /v1/users/me", Some(&ann.access), &Value::Null)
        .await;
    assert_problem("her token", &me, 401, "unauthorized");
    assert_problem(
        "her log-in",
        &system.log_in("ann", PASSWORD).await,
        401,
        "unauthorized",
    );
    let client = system.setup.connect("RATING").await;
    let sql = "select count(*) from ratings where user_id = $1";
    let left = client.query_one(sql, &[&ann.id]).await.expect("it runs");
    assert_eq!(left.get::<_, i64>(0), 0, "nothing is kept of her ratings");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_fails_does_not_tell_who_is_here_and_is_slowed_down() {
    let system = Guarded::start().await;
    let registered = system.register("ann").await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let detail = |answer: Answer| answer.json()["detail"].clone();
    let wrong = system.log_in("ann", "guessed it").await;
    assert_problem("a wrong password", &wrong, 401, "unauthorized");
    let nobody = system.log_in("eve", "guessed it").await;
    assert_problem("nobody", &nobody, 401, "unauthorized");
    assert_eq!(detail(wrong), detail(nobody));
    let mut last = system.log_in("ann", "guessed it").await;
    for _ in 0..20 {
        if last.status == 429 {
            break;
        }
        last = system.log_in("ann", "guessed it").await;
    }
    assert_problem("many", &last, 429, "too-many-requests");
    assert!(last.header("retry-after").is_some(), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_server_says_so_at_its_start_and_in_every_answer() {
    let api = Api::start().await;
    let answer = api.get("/v1/movies").await;
    assert_eq!(answer.header("marquee-auth"), Some("open"), "{answer:?}");
    assert!(
        api.host.log().contains("AUTH IS OPEN"),
        "{}",
        api.host.log()
    );
    // Roles are given by somebody, and a token that is shown is verified.
    let role = format!("PUT /v1/users/{}/role", super::UNKNOWN);
    let answer = api.json(&role, r#"{"role": "admin"}"#).await;
    assert_problem("a role from nobody", &answer, 401, "unauthorized");
    let headers = ["authorization: Bearer mqa_made-up"];
    let answer = api.ask("GET /v1/users/ann/ratings", &headers, "").await;
    assert_problem("a made-up token", &answer, 401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_not_understood_keeps_the_host_from_starting() {
    let setup = Setup::databases().await.with("SPIN_VARIABLE_AUTH", "off");
    let ended = setup.verb(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("must be \"required\" or \"open\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_logs_in_and_again_when_its_session_has_ended() {
    let system = Guarded::start().await;
    system.member_as("importer").await;
    let client = |password: &str| {
        let credentials = Credentials {
            login: "importer".into(),
            password: password.into(),
        };
        let client = Client::new(&system.host.url, 4, Duration::from_secs(20)).expect("a URL");
        client.logged_in_as(Some(credentials))
    };
    let film = Movie {
        title: "Heat".into(),
        year: Some(1995),
        description: String::new(),
        director: "Michael Mann".into(),
    };
    let refused = client("guessed it").keep(&film).await;
    assert!(
        matches!(refused, Err(Error::Refused { status: 401, .. })),
        "{refused:?}"
    );

    let importer = client(PASSWORD);
    let kept = importer.keep(&film).await.expect("it is kept");
    importer
        .rate(kept.id(), "ml-17", 8)
        .await
        .expect("it is taken");
    let database = system.setup.connect("USERS").await;
    let ended = database.execute("delete from sessions", &[]).await;
    assert!(ended.expect("it runs") > 0);
    // Whoever is known to the gateway is let in for some seconds more.
    eventually(
        Duration::from_secs(20),
        "it has logged in anew",
        async || {
            importer
                .rate(kept.id(), "ml-18", 8)
                .await
                .expect("it is taken");
            let sessions = database
                .query_one("select count(*) from sessions", &[])
                .await;
            sessions.expect("it runs").get::<_, i64>(0) == 1
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_users_database_nobody_logs_in_and_everybody_reads() {
    let (setup, proxies) = super::failures::proxied(["USERS"]).await;
    let setup = setup.with("SPIN_VARIABLE_AUTH", "required");
    let host = setup.start().await;
    let system = Guarded { host, setup };
    let ann = system.member("ann").await;
    let movie = system.movie(&ann, "Heat").await;
    proxies[0].cut();
    let refused = system.log_in("ann", PASSWORD).await;
    assert!(matches!(refused.status, 503 | 504), "{refused:?}");
    let details = format!("GET /v1/movies/{movie}/details");
    for token in [None, Some(ann.access.as_str()), Some("mqa_made-up")] {
        let read = system.ask(&details, token, &Value::Null).await;
        assert_eq!(read.status, 200, "{read:?}");
    }
    eventually(
        Duration::from_secs(20),
        "her token is not known any more",
        async || {
            let me = system
                .ask("GET /v1/users/me", Some(&ann.access), &Value::Null)
                .await;
            matches!(me.status, 503 | 504)
        },
    )
    .await;
}
