//! The rates that the documents and the movie system show, read as the host reads them.

#![expect(clippy::expect_used, reason = "a test that panics says what is wrong")]

use marquee_manifest::{App, Rates};

fn gateway(text: &str) -> Rates {
    let app = App::parse(text).expect("the manifest is right");
    let gateway = app.components.into_values();
    gateway
        .map(|component| component.rates)
        .find(|rates| !rates.classes.is_empty())
        .expect("a component has rates")
}

/// Each class with what it gives.
fn told(rates: &Rates) -> Vec<String> {
    let classes = rates.classes.iter();
    let told = classes.map(|class| match class.subject {
        Some(subject) => format!("{}: {}; {subject}", class.name, class.client),
        None => format!("{}: {}", class.name, class.client),
    });
    told.collect()
}

#[test]
fn the_example_of_the_documents_is_right() {
    let text = include_str!("../../../MANIFEST.md");
    let (_, text) = text.split_once("## Rates").expect("the chapter");
    let (_, text) = text.split_once("```toml\n").expect("the example");
    let (example, _) = text.split_once("```").expect("its end");
    let rates = gateway(&format!(
        "spin_manifest_version = 2
        application = {{ name = \"movies\" }}
        [[trigger.http]]
        route = \"/...\"
        component = \"gateway\"
        [component.gateway]
        source = \"gateway.wasm\"
        {example}"
    ));
    assert_eq!(rates.subject_header.as_deref(), Some("marquee-subject"));
    assert_eq!(
        told(&rates),
        [
            "log-in: 10/m, 10 at once",
            "reads: 50/s, 200 at once; 10/s, 100 at once",
            "writes: 20/s, 100 at once; 60/m, 30 at once",
        ]
    );
}

#[test]
fn the_movie_system_bounds_log_in_and_registration_most_and_each_user_by_themselves() {
    let rates = gateway(include_str!("../../../spin.toml"));
    assert_eq!(
        told(&rates),
        [
            "log-in: 10/m, 10 at once",
            "registration: 10/m, 10 at once",
            "reads: 50000/s, 50000 at once; 100/s, 1000 at once",
            "reads-grpc: 50000/s, 50000 at once; 100/s, 1000 at once",
            "writes: 50000/s, 50000 at once; 100/s, 1000 at once",
        ]
    );
    let class = |method, path| rates.class(method, path).map(|(_, class)| &*class.name);
    assert_eq!(class("POST", "/v1/sessions"), Some("log-in"));
    assert_eq!(class("POST", "/v1/users"), Some("registration"));
    for path in ["/v1/movies", "/v1/users/ann/ratings"] {
        assert_eq!(class("GET", path), Some("reads"));
        assert_eq!(class("POST", path), Some("writes"));
    }
    let grpc = |path| class("POST", path);
    assert_eq!(grpc("/MovieService/GetMovieDetails"), Some("reads-grpc"));
    assert_eq!(grpc("/RatingService/SubmitRating"), Some("writes"));
}
