//! Log-ins end to end: by what name, with which hash, counted by whose address, and how many at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    JSON, assert_problem,
    users::{Guarded, PASSWORD},
};
use crate::{
    host::Setup,
    raw::{self, Answer},
};

/// Argon2id by parameters of long ago, of [`PASSWORD`].
const OLD_HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg\
    $ZH/JoAZ7jnjjbor3dbn5caBE/4qJSzxzSqEE+3GhNx8";

/// A request from an address, as the trusted proxy tells it.
async fn from(system: &Guarded, address: &str, line: &str, more: &[&str], body: &Value) -> Answer {
    let told = format!("x-forwarded-for: {address}");
    let headers = [&[JSON, told.as_str()][..], more].concat();
    raw::request(system.host.address(), line, &headers, body.to_string()).await
}

async fn log_in(system: &Guarded, address: &str, login: &str, password: &str) -> Answer {
    let body = json!({"login": login, "password": password});
    from(system, address, "POST /v1/sessions", &[], &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_finds_by_name_and_address_renews_an_old_hash_and_counts_by_the_true_address() {
    let setup = Setup::databases().await;
    let system = Guarded::on(setup.with("MARQUEE_TRUSTED_PROXIES", "1")).await;
    by_an_email_address(&system).await;
    an_old_hash_is_renewed(&system).await;
    by_the_address_that_the_host_tells(&system).await;
    no_more_at_once_than_there_is_room_for(&system).await;
}

async fn by_an_email_address(system: &Guarded) {
    let register = "POST /v1/users";
    let ada = json!({"email": "Ada@Example.org", "password": PASSWORD});
    let registered = from(system, "192.0.2.1", register, &[], &ada).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let user = registered.json();
    assert_eq!(
        (&user["name"], &user["email"]),
        (&Value::Null, &json!("Ada@Example.org"))
    );
    let again = json!({"name": "ada", "email": "ada@example.ORG", "password": PASSWORD});
    let again = from(system, "192.0.2.1", register, &[], &again).await;
    assert_problem("the address in other letters", &again, 409, "name-taken");
    let session = log_in(system, "192.0.2.1", "ADA@example.org", PASSWORD).await;
    assert_eq!(session.status, 201, "{session:?}");
    let session = session.json();
    assert_eq!(session["expires_in"], 15 * 60);
    assert_eq!(session["refresh_expires_in"], 30 * 24 * 60 * 60);
    let token = session["access_token"].as_str().expect("a token");
    let me = "GET /v1/users/me";
    let me = system.ask(me, Some(token), &Value::Null).await.json();
    assert_eq!(me["id"], user["id"]);

    let nobody = json!({"password": PASSWORD});
    let nobody = from(system, "192.0.2.1", register, &[], &nobody).await;
    assert_eq!(nobody.status, 422, "neither name nor address: {nobody:?}");
    let wrong = json!({"email": "ada.example.org", "password": PASSWORD});
    let wrong = from(system, "192.0.2.1", register, &[], &wrong).await;
    let problem = assert_problem("no address", &wrong, 422, "out-of-bounds");
    assert_eq!(problem["field"], "email");
}

async fn an_old_hash_is_renewed(system: &Guarded) {
    let client = system.setup.connect("USERS").await;
    let old = "update users set password_hash = $1 where email = 'Ada@Example.org'";
    assert_eq!(client.execute(old, &[&OLD_HASH]).await.expect("it runs"), 1);
    let hash = async || {
        let sql = "select password_hash from users where email = 'Ada@Example.org'";
        let row = client.query_one(sql, &[]).await.expect("it runs");
        row.get::<_, String>(0)
    };
    let wrong = log_in(system, "192.0.2.2", "ada@example.org", "guessed it").await;
    assert_problem("a wrong password", &wrong, 401, "unauthorized");
    assert_eq!(hash().await, OLD_HASH);
    for _ in 0..2 {
        let session = log_in(system, "192.0.2.2", "ada@example.org", PASSWORD).await;
        assert_eq!(session.status, 201, "{session:?}");
        let hash = hash().await;
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
    }
}

/// What a client says of its own address is nothing.
async fn by_the_address_that_the_host_tells(system: &Guarded) {
    let pretended = [
        "spin-client-addr: 203.0.113.9",
        "Spin-Client-Addr: 203.0.113.10",
    ];
    let body = json!({"login": "nobody-here", "password": "guessed it"});
    let line = "POST /v1/sessions";
    let wrong = from(system, "192.0.2.3", line, &pretended, &body).await;
    assert_problem("a wrong log-in", &wrong, 401, "unauthorized");
    let client = system.setup.connect("USERS").await;
    let sql = "select count(*) from attempts
        where subject = 'client:' || encode(sha256(convert_to($1, 'utf8')), 'hex')";
    for (address, expected) in [("192.0.2.3", 1), ("203.0.113.9", 0), ("203.0.113.10", 0)] {
        let row = client.query_one(sql, &[&address]).await.expect("it runs");
        assert_eq!(row.get::<_, i64>(0), expected, "{address}");
    }
}

/// Ten passwords are hashed or wait for it. Whoever comes then is told so, and of the others nobody is.
async fn no_more_at_once_than_there_is_room_for(system: &Guarded) {
    let mut seen = BTreeSet::new();
    for round in 0..20 {
        let many = (0..40).map(async |at| {
            let (address, login) = (format!("198.51.{round}.{at}"), format!("none-{round}-{at}"));
            log_in(system, &address, &login, PASSWORD).await
        });
        for answer in join_all(many).await {
            seen.insert(answer.status);
            if answer.status == 429 {
                assert_problem("too many", &answer, 429, "too-many-requests");
                let after = answer.header("retry-after").map(str::parse::<u32>);
                assert!(matches!(after, Some(Ok(1..=5))), "{answer:?}");
                assert!(answer.json()["detail"].to_string().contains("attempts"));
            } else {
                assert_problem("nobody", &answer, 401, "unauthorized");
            }
        }
        if seen.contains(&429) {
            break;
        }
    }
    assert_eq!(seen, [401, 429].into(), "forty at once are too many");
    let later = log_in(system, "192.0.2.4", "ada@example.org", PASSWORD).await;
    assert_eq!(later.status, 201, "{later:?}");
}
