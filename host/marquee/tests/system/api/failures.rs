//! What clients are told while a part of the system is away.

use std::time::Duration;

use marquee_testkit::{Proxy, eventually, proxy};
use serde_json::json;

use super::{Api, assert_problem};
use crate::{grpc, host::Setup, http2::Raw, raw::Answer};

/// A system whose databases of these names can be cut off.
async fn behind_proxies<const N: usize>(names: [&str; N]) -> (Api, Vec<Proxy>) {
    let (setup, proxies) = proxied(names).await;
    (Api::on(setup).await, proxies)
}

/// What it stands on.
pub(super) async fn proxied<const N: usize>(names: [&str; N]) -> (Setup, Vec<Proxy>) {
    let mut setup = Setup::databases().await;
    let mut proxies = Vec::new();
    for name in names {
        let proxy = proxy(setup.server(name)).await;
        setup = setup.through(name, proxy.addr());
        proxies.push(proxy);
    }
    (setup, proxies)
}

/// 503 or 504, whichever the loss looks like, and when to come again.
fn assert_away(what: &str, answer: &Answer) {
    let name = if answer.status == 504 {
        "deadline-passed"
    } else {
        "unavailable"
    };
    assert_problem(
        what,
        answer,
        if answer.status == 504 { 504 } else { 503 },
        name,
    );
    // Of what may have been done, nobody says that it is to be done again.
    let again = (answer.status == 503).then_some("2");
    assert_eq!(answer.header("retry-after"), again, "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_ratings_are_away_movies_are_read_and_created() {
    let (api, proxies) = behind_proxies(["RATING"]).await;
    proxies[0].cut();
    let id = &api.known;
    for target in [
        format!("/v1/get-movie-details?id={id}"),
        "/v1/users/ana/ratings".to_owned(),
    ] {
        assert_away(&target, &api.get(&target).await);
    }
    let mut raw = Raw::to(api.host.address()).await;
    let details = format!("{}/MovieService/GetMovieDetails", api.host.url);
    let movie_id = id.clone();
    let reply = raw
        .call(&details, grpc::frame(&grpc::ById { movie_id }))
        .await;
    assert!(matches!(reply.code(), Some("14" | "4")), "{reply:?}");
    let details = api.get(&format!("/v1/movies/{id}/details")).await;
    assert_eq!(details.status, 200, "{details:?}");
    let details = details.json();
    assert_eq!(details["metadata"]["id"], id.as_str());
    assert_eq!(details["rating"], json!(null));
    assert_eq!(details["warnings"].as_array().map(Vec::len), Some(1));
    let list = api.get("/v1/movies").await.json();
    assert_eq!(list["movies"][0]["rating"], json!(null));
    assert_eq!(list["warnings"].as_array().map(Vec::len), Some(1));
    let best = api.get("/v1/movies?sort=-average").await;
    assert_away("the best", &best);
    for target in [
        format!("/v1/movies/{id}"),
        format!("/v1/get-metadata?id={id}"),
        "/v1/movies".to_owned(),
    ] {
        assert_eq!(api.get(&target).await.status, 200, "{target}");
    }
    let body = r#"{"title": "Trafic", "description": "", "director": "Jacques Tati"}"#;
    assert_eq!(api.json("POST /v1/movies", body).await.status, 201);
    // The bus takes it meanwhile.
    let rated = api
        .json(
            &format!("PUT /v1/movies/{id}/ratings/ana"),
            r#"{"value": 7}"#,
        )
        .await;
    assert_eq!(
        (rated.status, &rated.json()["detail"]),
        (202, &json!("applied soon"))
    );
    proxies[0].heal();
    eventually(Duration::from_secs(30), "the rating counts", async || {
        api.get("/v1/users/ana/ratings").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_metadata_is_away_nothing_of_movies_is_answered_or_accepted() {
    let (api, proxies) = behind_proxies(["METADATA"]).await;
    proxies[0].cut();
    let id = &api.known;
    for target in [
        format!("/v1/get-metadata?id={id}"),
        format!("/v1/movies/{id}"),
        "/v1/movies".to_owned(),
        format!("/v1/movies/{id}/details"),
        format!("/v1/get-movie-details?id={id}"),
    ] {
        assert_away(&target, &api.get(&target).await);
    }
    let rating = format!("/v1/movies/{id}/ratings/ana");
    let body = r#"{"title": "Trafic", "description": "", "director": "Jacques Tati"}"#;
    for (line, body) in [
        (format!("PUT {rating}"), r#"{"value": 7}"#),
        (format!("DELETE {rating}"), ""),
        ("POST /v1/movies".to_owned(), body),
    ] {
        assert_away(&line, &api.json(&line, body).await);
    }
    assert_eq!(api.get("/v1/users/ana/ratings").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_a_rating_is_applied_at_once_and_without_both_it_is_503() {
    let (api, proxies) = behind_proxies(["BUS", "RATING"]).await;
    let [bus, rating] = proxies.as_slice() else {
        panic!("two of them")
    };
    bus.cut();
    let line = format!("PUT /v1/movies/{}/ratings/ana", api.known);
    let applied = api.json(&line, r#"{"value": 7}"#).await;
    assert_eq!(
        (applied.status, &applied.json()["detail"]),
        (202, &json!("applied")),
        "{applied:?}"
    );
    assert_eq!(api.ratings("ana").await.len(), 1);
    rating.cut();
    let refused = api.json(&line, r#"{"value": 8}"#).await;
    assert_problem(&line, &refused, 503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("2"));
}
