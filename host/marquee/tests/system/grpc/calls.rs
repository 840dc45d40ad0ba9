//! What calls do, and what is said of those that come to nothing.

use std::time::Duration;

use marquee_testkit::eventually;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::client::{
    AggregatedRating, ById, Client, Details, GetAggregatedRating, Metadata, OneMetadata,
    RatingSubmitted, SubmitMetadata, SubmitRating, framed,
};
use crate::{
    api::{Api, UNKNOWN, users::Guarded},
    http2::Raw,
};

fn heat() -> Metadata {
    Metadata {
        title: "Heat".to_owned(),
        description: "A thief and a policeman.".to_owned(),
        director: "Michael Mann".to_owned(),
        ..Metadata::default()
    }
}

async fn submit(client: &Client, metadata: Metadata) -> Result<Metadata, Status> {
    let metadata = Some(metadata);
    let submitted: OneMetadata = client
        .call(
            "/MetadataService/SubmitMetadata",
            SubmitMetadata { metadata },
        )
        .await?;
    let status = submitted.response_status.map(|status| status.status_code);
    assert_eq!(status, Some(201));
    Ok(submitted.metadata.expect("a movie"))
}

async fn rate(client: &Client, movie: &str, user: &str, value: i32) -> Result<(), Status> {
    let rating = SubmitRating {
        user_id: user.to_owned(),
        record_id: movie.to_owned(),
        record_type: String::new(),
        rating_value: value,
    };
    let path = "/RatingService/SubmitRating";
    let submitted: RatingSubmitted = client.call(path, rating).await?;
    let status = submitted.response_status.map(|status| status.status_code);
    assert_eq!(status, Some(202));
    Ok(())
}

async fn aggregate(client: &Client, movie: &str) -> (f64, i32) {
    let asked = GetAggregatedRating {
        record_id: movie.to_owned(),
        record_type: "movie".to_owned(),
    };
    let path = "/RatingService/GetAggregatedRating";
    let rating: AggregatedRating = client.call(path, asked).await.expect("a rating");
    (rating.rating_value, rating.amount_rating)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_is_submitted_rated_and_read_with_its_average() {
    let api = Api::start().await;
    let client = Client::to(api.host.address()).await;
    let movie = submit(&client, heat()).await.expect("it is new");
    let expected = Metadata {
        id: movie.id.clone(),
        record_type: "movie".to_owned(),
        ..heat()
    };
    assert_eq!(movie, expected);
    assert_eq!(aggregate(&client, &movie.id).await, (0.0, 0));
    for (user, value) in [("ann", 8), ("bob", 5), ("ann", 10)] {
        rate(&client, &movie.id, user, value).await.expect("taken");
    }
    eventually(Duration::from_secs(20), "both count", async || {
        aggregate(&client, &movie.id).await == (7.5, 2)
    })
    .await;
    let by_id = ById {
        movie_id: movie.id.to_ascii_uppercase(),
    };
    let found: OneMetadata = client
        .call("/MetadataService/GetMetadata", by_id.clone())
        .await
        .expect("it is there");
    assert_eq!(found.metadata, Some(movie.clone()));
    let details: Details = client
        .call("/MovieService/GetMovieDetails", by_id)
        .await
        .expect("they are there");
    let details = details.movie_details.expect("details");
    assert_eq!(
        (details.rating, details.metadata),
        (7.5, Some(movie.clone()))
    );
    // Over REST it is the same movie with the same ratings.
    let answer = api.get(&format!("/v1/movies/{}/details", movie.id)).await;
    assert_eq!(answer.json()["metadata"]["title"], "Heat");
    assert_eq!(answer.json()["rating"]["average"], 7.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_by_its_code_its_reason_and_its_field() {
    let api = Api::start().await;
    let client = Client::to(api.host.address()).await;
    let check =
        |what: &str, result: Result<(), Status>, code, reason: &str, field: Option<&str>| {
            let status = result.expect_err(what);
            assert_eq!(status.code(), code, "{what}: {status:?}");
            assert!(!status.message().is_empty(), "{what}");
            let details = status.get_error_details();
            let info = details.error_info().expect("a reason");
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (reason, "movies"),
                "{what}"
            );
            let violations = details
                .bad_request()
                .map(|request| request.field_violations.as_slice());
            let named = violations
                .and_then(|all| all.first())
                .map(|own| own.field.as_str());
            assert_eq!(named, field, "{what}: {status:?}");
        };
    let (wrong, bounds) = (Code::InvalidArgument, "OUT_OF_BOUNDS");
    for (what, metadata, field) in [
        (
            "an id",
            Metadata {
                id: UNKNOWN.into(),
                ..heat()
            },
            "metadata.id",
        ),
        (
            "no title",
            Metadata {
                title: " ".into(),
                ..heat()
            },
            "metadata.title",
        ),
        (
            "NUL",
            Metadata {
                title: "a\0".into(),
                ..heat()
            },
            "metadata.title",
        ),
        (
            "a long title",
            Metadata {
                title: "x".repeat(201),
                ..heat()
            },
            "metadata.title",
        ),
        (
            "a long description",
            Metadata {
                description: "x".repeat(4001),
                ..heat()
            },
            "metadata.description",
        ),
        (
            "no director",
            Metadata {
                director: String::new(),
                ..heat()
            },
            "metadata.director",
        ),
        (
            "a book",
            Metadata {
                record_type: "book".into(),
                ..heat()
            },
            "metadata.record_type",
        ),
    ] {
        let result = submit(&client, metadata).await.map(drop);
        check(what, result, wrong, bounds, Some(field));
    }
    let nothing: Result<OneMetadata, _> = client
        .call("/MetadataService/SubmitMetadata", SubmitMetadata::default())
        .await;
    check(
        "no movie",
        nothing.map(drop),
        wrong,
        bounds,
        Some("metadata"),
    );
    for (what, movie, user, value, field) in [
        ("no id", "", "ann", 5, "record_id"),
        ("no user", &api.known, "", 5, "user_id"),
        ("a blank", &api.known, "ann ", 5, "user_id"),
        ("0", &api.known, "ann", 0, "rating_value"),
        ("11", &api.known, "ann", 11, "rating_value"),
        (
            "a negative value",
            &api.known,
            "ann",
            i32::MIN,
            "rating_value",
        ),
    ] {
        let result = rate(&client, movie, user, value).await;
        check(what, result, wrong, bounds, Some(field));
    }
    let unknown = rate(&client, UNKNOWN, "ann", 5).await;
    check(
        "an unknown movie",
        unknown,
        Code::NotFound,
        "UNKNOWN_MOVIE",
        None,
    );
    for path in [
        "/MovieService/GetMovieDetails",
        "/MetadataService/GetMetadata",
    ] {
        for (what, id, code, reason, field) in [
            (
                "an unknown movie",
                UNKNOWN,
                Code::NotFound,
                "UNKNOWN_MOVIE",
                None,
            ),
            ("no id", "x", wrong, bounds, Some("movie_id")),
        ] {
            let by_id = ById {
                movie_id: id.to_owned(),
            };
            let result: Result<(), _> = client.call(path, by_id).await;
            check(what, result, code, reason, field);
        }
    }
    let taken = Metadata {
        title: "PLAYTIME".into(),
        ..heat()
    };
    let taken = submit(&client, taken).await.expect_err("it is there");
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken:?}");
    let details = taken.get_error_details();
    let existing = details.resource_info().expect("which one");
    assert_eq!(existing.resource_name, api.known);
    assert!(api.ratings("ann").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_told_by_a_token_as_over_rest() {
    let system = Guarded::start().await;
    let ann = system.member("Ann").await;
    let movie = system.movie(&ann, "Trafic").await;
    let nobody = Client::to(system.host.address()).await;
    let known = nobody.with(Some(&ann.access));
    let code = |result: Result<(), Status>| result.map_err(|status| status.code());

    let (unauthenticated, denied) = (Err(Code::Unauthenticated), Err(Code::PermissionDenied));
    assert_eq!(
        code(submit(&nobody, heat()).await.map(drop)),
        unauthenticated
    );
    assert_eq!(
        code(rate(&nobody, &movie, &ann.id, 5).await),
        unauthenticated
    );
    let forged = nobody.with(Some("no token of ours"));
    assert_eq!(
        code(rate(&forged, &movie, &ann.id, 5).await),
        unauthenticated
    );
    assert_eq!(code(rate(&known, &movie, "somebody", 5).await), denied);
    assert_eq!(code(rate(&known, &movie, &ann.id, 5).await), Ok(()));
    assert_eq!(code(rate(&known, &movie, "me", 7).await), Ok(()));
    assert_eq!(code(submit(&known, heat()).await.map(drop)), Ok(()));
    // What is for everybody is so here too.
    eventually(Duration::from_secs(20), "it counts", async || {
        aggregate(&nobody, &movie).await == (7.0, 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_under_its_key_happens_once() {
    let api = Api::start().await;
    let client = Client::to(api.host.address()).await;
    let keyed = client.under("heat-1");
    let first = submit(&keyed, heat()).await.expect("created");
    let again = submit(&keyed, heat()).await.expect("as before");
    assert_eq!(first, again);
    let other = Metadata {
        title: "Ran".to_owned(),
        ..heat()
    };
    let reused = submit(&keyed, other).await.expect_err("another movie");
    assert_eq!(reused.code(), Code::InvalidArgument, "{reused:?}");

    let keyed = client.under("vote-1");
    for value in [4, 4] {
        let rated = rate(&keyed, &first.id, "ann", value).await;
        rated.expect("accepted, once and again");
    }
    rate(&client, &first.id, "ann", 9).await.expect("accepted");
    eventually(Duration::from_secs(20), "it counts", async || {
        aggregate(&client, &first.id).await == (9.0, 1)
    })
    .await;
    // It counted before the one that stands now, and does not count anew.
    rate(&keyed, &first.id, "ann", 4).await.expect("accepted");
    let reused = rate(&keyed, &first.id, "ann", 5).await;
    let reused = reused.expect_err("another rating");
    assert_eq!(reused.code(), Code::InvalidArgument, "{reused:?}");
    assert_eq!(aggregate(&client, &first.id).await, (9.0, 1));
    let broken = submit(&client.under("not one word"), heat()).await;
    assert_eq!(broken.expect_err("no key").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let api = Api::start().await;
    let mut raw = Raw::to(api.host.address()).await;
    let url = |path: &str| format!("{}{path}", api.host.url);
    let check = url("/grpc.health.v1.Health/Check");
    let reply = raw.call(&check, framed(0, b"")).await;
    assert_eq!(reply.code(), Some("0"), "{reply:?}");
    assert_eq!(reply.body, framed(0, &[8, 1]), "SERVING");
    let reply = raw.call(&check, framed(0, b"\x0a\x0cMovieService")).await;
    assert_eq!(reply.code(), Some("0"), "{reply:?}");
    let reply = raw.call(&check, framed(0, b"\x0a\x01x")).await;
    assert_eq!(reply.code(), Some("5"), "{reply:?}");
    let reply = raw
        .call(&url("/grpc.health.v1.Health/Watch"), framed(0, b""))
        .await;
    assert_eq!(reply.code(), Some("12"), "{reply:?}");
    // Two questions on one stream: which services there are, and what declares one of them.
    let questions = [framed(0, b"\x3a\x00"), framed(0, b"\x22\x0cMovieService")].concat();
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let reply = raw.call(&url(&path), questions.clone()).await;
        assert_eq!(reply.code(), Some("0"), "{reply:?}");
        let text = String::from_utf8_lossy(&reply.body);
        for name in ["RatingService", "movie.proto", "GetMovieDetails"] {
            assert!(text.contains(name), "{version}: {name} in {text}");
        }
    }
}
