//! A client that nobody here wrote, and that knows nothing but the address.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    api::{Api, UNKNOWN},
    tools::program,
};

/// Its exit, what it printed, and what it complained of.
fn run(grpcurl: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(grpcurl)
        .arg("-plaintext")
        .args(arguments)
        .output();
    let output = output.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_describes_and_calls() {
    let Some(grpcurl) = program("grpcurl") else {
        return;
    };
    let grpcurl = |arguments: &[&str]| run(&grpcurl, arguments);
    let api = Api::start().await;
    let address = api.host.address();
    let (_, services, _) = grpcurl(&[address, "list"]);
    for service in [
        "MetadataService",
        "MovieService",
        "RatingService",
        "grpc.health.v1.Health",
    ] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }
    let (_, described, _) = grpcurl(&[address, "describe", "RatingService"]);
    assert!(described.contains("rpc SubmitRating"), "{described}");

    let id = json!({"movie_id": api.known}).to_string();
    let (done, details, complaint) = grpcurl(&["-d", &id, address, "MovieService/GetMovieDetails"]);
    assert!(done, "{complaint}");
    let details: Value = serde_json::from_str(&details).expect("JSON");
    assert_eq!(
        details["movieDetails"]["metadata"]["title"], "Playtime",
        "{details}"
    );
    let (done, health, _) = grpcurl(&[address, "grpc.health.v1.Health/Check"]);
    assert!(done && health.contains("SERVING"), "{health}");

    let unknown = json!({"movie_id": UNKNOWN}).to_string();
    let (done, _, complaint) = grpcurl(&["-d", &unknown, address, "MetadataService/GetMetadata"]);
    assert!(!done && complaint.contains("NotFound"), "{complaint}");
    let rating = json!({"user_id": "ann", "record_id": api.known, "rating_value": 11}).to_string();
    let (done, _, complaint) = grpcurl(&["-d", &rating, address, "RatingService/SubmitRating"]);
    assert!(
        !done && complaint.contains("InvalidArgument"),
        "{complaint}"
    );
    // It knows what the details are.
    assert!(complaint.contains("fieldViolations"), "{complaint}");
}
