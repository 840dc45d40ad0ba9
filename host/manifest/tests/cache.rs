//! Grants of the cache, read as the host reads them; and that the movie system has none.

#![expect(clippy::expect_used, reason = "a test that panics says what is wrong")]

use std::time::Duration;

use marquee_manifest::{App, CacheTag, CacheTagPart, Cached};

fn cached(cache: &str) -> Vec<Cached> {
    let text = format!(
        "spin_manifest_version = 2
        application = {{ name = \"movies\" }}
        [component.metadata]
        source = \"metadata.wasm\"
        tool.marquee.database = {{ name = \"metadata\" }}
        {cache}"
    );
    let app = App::parse(&text).expect("the manifest is right");
    let mut all = app.components.into_values();
    all.next().expect("a component").cache
}

#[test]
fn the_example_of_the_documents_is_right() {
    let text = include_str!("../../../MANIFEST.md");
    let (_, text) = text.split_once("## Cache").expect("the chapter");
    let (_, text) = text.split_once("```toml\n").expect("the example");
    let (example, _) = text.split_once("```").expect("its end");
    let id = CacheTagPart::Parameter("id".to_owned());
    assert_eq!(
        cached(example),
        [Cached {
            interface: "movie:metadata/queries".to_owned(),
            function: "movie-by-id".to_owned(),
            tags: vec![CacheTag(vec![CacheTagPart::Text("movie:".to_owned()), id])],
            max_age: Duration::from_secs(1),
        }]
    );
}

#[test]
fn a_grant_is_of_one_version_or_of_all() {
    let check = |key: &str, export: &str, is_of: bool| {
        let cache = format!("tool.marquee.cache = {{ \"{key}\" = {{ max_age = \"1s\" }} }}");
        let cached = cached(&cache);
        let cached = cached.first().expect("a grant");
        assert_eq!(cached.is_of(export), is_of, "{key} {export}");
    };
    check("a:b/c.find", "a:b/c@1.0.0", true);
    check("a:b/c.find", "a:b/c", true);
    check("a:b/c.find", "a:b/cc@1.0.0", false);
    check("a:b/c@1.0.0.find", "a:b/c@1.0.0", true);
    check("a:b/c@1.0.0.find", "a:b/c@1.0.1", false);
    check("a:b/c@1.0.0.find", "a:b/c", false);
}

#[test]
fn the_movie_system_keeps_no_answers() {
    let app = App::parse(include_str!("../../../spin.toml")).expect("the manifest is right");
    assert!(app.components.values().all(|it| it.cache.is_empty()));
}
