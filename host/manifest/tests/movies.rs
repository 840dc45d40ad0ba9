//! The manifest in the repository's root, read as the host reads it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics says what is wrong"
)]

use std::time::Duration;

use marquee_manifest::{App, Component};

fn movies() -> App {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spin.toml");
    let text = std::fs::read_to_string(path).expect("the manifest is there");
    App::parse(&text).expect("the manifest is right")
}

fn component<'a>(app: &'a App, name: &str) -> &'a Component {
    &app.components[&name.parse().expect("a name")]
}

#[test]
fn each_component_has_its_own_database_and_the_gateway_none() {
    let app = movies();
    let name = |component: &Component| {
        component
            .database
            .as_ref()
            .map(|database| database.name.clone())
    };
    assert_eq!(
        name(component(&app, "metadata")).as_deref(),
        Some("metadata")
    );
    assert_eq!(name(component(&app, "rating")).as_deref(), Some("rating"));
    assert_eq!(name(component(&app, "users")).as_deref(), Some("users"));
    assert_eq!(name(component(&app, "passwords")), None);
    assert_eq!(name(component(&app, "gateway")), None);
    let variables = &component(&app, "gateway").variables;
    assert_eq!(
        variables.keys().collect::<Vec<_>>(),
        ["auth", "cors_origins"]
    );
}

#[test]
fn the_host_provides_messaging_itself_so_that_no_bus_is_not_loaded() {
    let app = movies();
    let gateway = component(&app, "gateway");
    assert!(
        gateway
            .dependencies
            .iter()
            .all(|(name, _)| name.package().starts_with("movie:"))
    );
    let order: Vec<_> = app
        .load_order()
        .into_iter()
        .map(|component| component.id.as_str())
        .collect();
    assert_eq!(
        order,
        ["metadata", "passwords", "rating", "users", "gateway"]
    );
}

#[test]
fn writing_needs_a_token_unless_somebody_says_otherwise() {
    assert_eq!(
        movies().variables["auth"].default.as_deref(),
        Some("required")
    );
}

#[test]
fn passwords_are_hashed_two_at_a_time_with_a_short_queue() {
    let app = movies();
    let limits = &component(&app, "passwords").limits;
    assert_eq!((limits.concurrent_calls, limits.queue), (2, 8));
}

#[test]
fn parked_ratings_are_tried_every_ten_seconds_and_the_others_every_minute() {
    let app = movies();
    let retries: Vec<_> = component(&app, "rating")
        .subscriptions
        .iter()
        .map(|subscription| {
            (
                subscription.topic.as_str(),
                subscription.retry,
                subscription.attempts,
            )
        })
        .collect();
    assert_eq!(
        retries,
        [
            ("metadata", Duration::from_secs(60), 8),
            ("ratings", Duration::from_secs(10), 8),
            ("users", Duration::from_secs(60), 8)
        ]
    );
}
