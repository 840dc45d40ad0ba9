//! Ratings, from the public API to the averages, whatever dies on the way.

use std::time::Duration;

use futures::StreamExt as _;
use marquee_import::api::{Client, Movie};
use marquee_testkit::{broker, eventually};

use crate::{
    host::{Host, Setup},
    releases::versions,
};

pub(crate) fn client(url: &str) -> Client {
    Client::new(url, 16, Duration::from_secs(60)).expect("a client")
}

pub(crate) fn film(title: &str) -> Movie {
    Movie {
        title: title.to_owned(),
        year: None,
        description: "A film.".to_owned(),
        director: "Somebody".to_owned(),
    }
}

/// A movie is kept, rated and served with its average.
pub(crate) async fn rated_and_served(setup: &Setup) {
    rated_on(&setup.start().await).await;
}

pub(crate) async fn rated_on(host: &Host) {
    let client = client(&host.url);
    let kept = client.keep(&film("Heat")).await.expect("kept");
    let before = client.aggregate(kept.id()).await.expect("served");
    assert_eq!(
        (before.average, before.count),
        (None, 0),
        "a movie without ratings has no average"
    );
    client.rate(kept.id(), "ann", 8).await.expect("accepted");
    client.rate(kept.id(), "bob", 5).await.expect("accepted");
    served(&client, kept.id(), 2, 6.5).await;
    client.rate(kept.id(), "ann", 9).await.expect("accepted");
    served(&client, kept.id(), 2, 7.0).await;
}

pub(crate) async fn served(client: &Client, movie: &str, count: u64, average: f64) {
    eventually(
        PATIENCE,
        &format!("count {count}, average {average}"),
        async || {
            let aggregate = client.aggregate(movie).await.expect("served");
            aggregate.count == count && aggregate.average == Some(average)
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_is_in_the_average_over_the_embedded_bus() {
    rated_and_served(&Setup::databases().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_is_in_the_average_over_kafka() {
    // The application's topics are its own: a broker for it alone.
    let kafka = broker().await;
    rated_and_served(&Setup::kafka(kafka.brokers()).await).await;
}

/// Ratings of many users are sent while the host is killed and started again; each that was acknowledged counts.
/// That none is applied twice could not show: a rating replaces itself. See `counter`.
async fn survives_kills(setup: &Setup) {
    const USERS: usize = 600;
    let mut host = setup.start().await;
    let address = host.address().to_owned();
    let client = client(&host.url);
    let mut movies = Vec::new();
    for title in ["Alien", "Brazil", "Casablanca"] {
        movies.push(
            client
                .keep(&film(title))
                .await
                .expect("kept")
                .id()
                .to_owned(),
        );
    }
    let sends = futures::stream::iter(0..USERS).map(|user| {
        let (client, movies) = (&client, &movies);
        async move {
            for (index, movie) in movies.iter().enumerate() {
                let value = i64::try_from(1 + (user + index) % 10).expect("small");
                // The client repeats what was not acknowledged: a rating of the same user replaces itself.
                client
                    .rate(movie, &format!("user-{user}"), value)
                    .await
                    .expect("accepted in the end");
            }
        }
    });
    let sending = sends.buffer_unordered(8).collect::<Vec<()>>();
    let mut sending = std::pin::pin!(sending);
    for _ in 0..3 {
        let progress = tokio::time::timeout(Duration::from_millis(700), sending.as_mut()).await;
        host.kill();
        host = setup.start_at(&address).await;
        if progress.is_ok() {
            break;
        }
    }
    sending.await;
    for (index, movie) in movies.iter().enumerate() {
        let sum: usize = (0..USERS).map(|user| 1 + (user + index) % 10).sum();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let average = sum as f64 / USERS as f64;
        served(
            &client,
            movie,
            u64::try_from(USERS).expect("small"),
            average,
        )
        .await;
    }
    nothing_is_left_over(setup).await;
}

/// Once everything is applied, no table of the event path holds anything back, and the books agree.
pub(crate) async fn nothing_is_left_over(setup: &Setup) {
    for (name, sql) in [
        ("METADATA", "select count(*) from marquee.outbox"),
        ("RATING", "select count(*) from marquee.outbox"),
        ("RATING", "select count(*) from marquee.parked"),
        (
            "RATING",
            "select count(*) from aggregated_ratings a cross join lateral (
                select coalesce(sum(r.value), 0)::bigint as total, count(r.value) as users from ratings r
                where r.record_type = a.record_type and r.record_id = a.record_id) r
            where a.rating_sum <> r.total or a.rating_count <> r.users",
        ),
    ] {
        let client = setup.connect(name).await;
        eventually(Duration::from_secs(30), sql, async || {
            client.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_rating_is_lost_when_the_host_is_killed_over_the_embedded_bus() {
    survives_kills(&Setup::databases().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_rating_is_lost_when_the_host_is_killed_over_kafka() {
    let kafka = broker().await;
    survives_kills(&Setup::kafka(kafka.brokers()).await).await;
}

/// How many calls of a component have ended on the host of this data folder, of whatever version.
fn calls(setup: &Setup, component: &str) -> u64 {
    let versions = versions(setup, component);
    versions
        .iter()
        .filter_map(|one| one["calls"].as_u64())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_share_the_work_and_count_each_rating_once() {
    // Each has a data folder of its own, and so an admin API of its own.
    let setup = Setup::databases().await;
    let beside = setup.release("spin.toml");
    let (one, two) = (setup.start().await, beside.start().await);
    let (first, second) = (client(&one.url), client(&two.url));
    let movie = first
        .keep(&film("Ran"))
        .await
        .expect("kept")
        .id()
        .to_owned();
    // Until both apply ratings. Nobody looks at one meanwhile, so all calls are of the bus.
    let mut users = 0_u32;
    let mut worked = [false, false];
    let hosts = [&setup, &beside];
    let before = hosts.map(|setup| calls(setup, "rating"));
    eventually(PATIENCE, "both hosts apply ratings", async || {
        for via in [&first, &second].repeat(10) {
            via.rate(&movie, &format!("user-{users}"), 6)
                .await
                .expect("accepted");
            users += 1;
        }
        for (host, before) in before.iter().enumerate() {
            worked[host] = calls(hosts[host], "rating") > before + SOME;
        }
        worked == [true, true]
    })
    .await;
    served(&second, &movie, users.into(), 6.0).await;
    // One of them leaves; the other takes its partitions at once.
    let (status, _) = one.stop("TERM").await;
    assert!(status.success());
    second.rate(&movie, "late", 6).await.expect("accepted");
    served(&second, &movie, u64::from(users) + 1, 6.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_is_applied_without_the_bus_when_kafka_is_down() {
    let kafka = broker().await;
    let setup = Setup::kafka(kafka.brokers()).await;
    let host = setup.start().await;
    let client = client(&host.url);
    let movie = client
        .keep(&film("Stalker"))
        .await
        .expect("kept")
        .id()
        .to_owned();
    client.rate(&movie, "ann", 4).await.expect("accepted");
    served(&client, &movie, 1, 4.0).await;
    drop(kafka);
    client
        .rate(&movie, "bob", 8)
        .await
        .expect("accepted by the other way");
    served(&client, &movie, 2, 6.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ratings_survive_a_database_that_crashes_and_comes_back() {
    let mut server = marquee_testkit::postgres().await;
    let mut setup = Setup::nothing();
    for name in ["metadata", "rating", "users", "bus"] {
        server.create_database(name).await;
        setup = setup.with(
            &format!("DATABASE_URL_{}", name.to_uppercase()),
            &server.url(name),
        );
    }
    let host = setup.start().await;
    let client = client(&host.url);
    let movie = client
        .keep(&film("Metropolis"))
        .await
        .expect("kept")
        .id()
        .to_owned();
    let sends = futures::stream::iter(0..200).map(|user| {
        let (client, movie) = (&client, &movie);
        async move {
            client
                .rate(movie, &format!("user-{user}"), 7)
                .await
                .expect("accepted in the end")
        }
    });
    let sending = sends.buffer_unordered(8).collect::<Vec<_>>();
    let mut sending = std::pin::pin!(sending);
    let _ = tokio::time::timeout(Duration::from_millis(300), sending.as_mut()).await;
    server.stop_immediately().await;
    let ready = crate::raw::request(
        host.admin.trim_start_matches("http://"),
        "GET /readyz",
        &[],
        "",
    )
    .await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(
        ready.json()["failing"]["database rating"].is_string(),
        "it names what is not ready: {ready:?}"
    );
    server.start().await;
    sending.await;
    served(&client, &movie, 200, 7.0).await;
    nothing_is_left_over(&setup).await;
}

/// More calls than come of what is no rating: the movie's own event.
const SOME: u64 = 3;
/// Kafka gives a killed member's partitions to others after its session timeout, and a second killed member adds its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
