//! How figures of many films are asked for.

use std::time::Duration;

use marquee_import::api::{Client, Error};

use crate::server::Server;

/// Films, the newest first.
fn films(count: usize) -> Vec<String> {
    (0..count).map(|place| format!("film-{place}")).collect()
}

async fn counts(server: &Server, ids: &[String]) -> Result<Vec<u64>, Error> {
    let client = Client::new(&server.url, 4, Duration::from_secs(20)).expect("a client");
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let aggregates = client.aggregates(&ids, 4).await?;
    Ok(aggregates.iter().map(|film| film.count).collect())
}

#[tokio::test]
async fn figures_of_a_hundred_films_come_with_one_request() {
    let server = Server::start(|_, _| None).await;
    server.serve(films(250), 0);
    let mut wanted = films(250);
    wanted.reverse();
    let counts = counts(&server, &wanted).await.expect("served");
    assert_eq!(counts, (0..250).rev().collect::<Vec<u64>>());
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn figures_of_films_behind_many_newer_ones_take_two_requests_a_film_at_most() {
    let server = Server::start(|_, _| None).await;
    server.serve(films(10_000), 0);
    let wanted = &films(10_000)[9_990..];
    let counts = counts(&server, wanted).await.expect("served");
    assert_eq!(counts, (9_990..10_000).collect::<Vec<u64>>());
    assert_eq!(server.requests(), 20);
}

#[tokio::test]
async fn a_rating_that_is_not_known_just_now_is_asked_for_again_and_is_not_taken_for_none() {
    let server = Server::start(|_, _| None).await;
    server.serve(films(150), 2);
    let counts = counts(&server, &films(150)).await.expect("served");
    assert_eq!(counts, (0..150).collect::<Vec<u64>>());
    assert_eq!(server.requests(), 2 + 2);
}

#[tokio::test]
async fn a_film_that_is_gone_is_told_as_such() {
    let server = Server::start(|_, _| None).await;
    server.serve(films(2), 0);
    let wanted = ["film-0".to_owned(), "gone".to_owned()];
    let refused = counts(&server, &wanted).await;
    assert!(
        matches!(refused, Err(Error::Refused { status: 404, .. })),
        "{refused:?}"
    );
}
