//! Answers that are kept: of real components, by what their manifest grants.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_manifest::App;
use marquee_runtime::{Cache, Call, Limits, LoadError, chain};

use crate::{
    calling::{caller, words},
    support::{Bench, IT, from_words, id},
};

/// `words` with this in its manifest.
fn bench(cache: &str) -> Bench {
    let manifest = format!(
        r#"spin_manifest_version = 2
        application.name = "it"
        [component.words]
        source = "words.wasm"
        [component.words.tool.marquee]
        database = {{ name = "words" }}
        cache = {{ {cache} }}"#
    );
    let app = App::parse(&manifest).expect("a manifest");
    let words = app.components.get(&id("words")).expect("words");
    let cache = Cache::new(BTreeMap::from([(id("words"), words.cache.clone())]));
    Bench::caching(Limits::default(), Arc::new(cache))
}

/// A caller of `function`, and words of which this is cached.
async fn pair(cache: &str, function: &str, code: &str) -> Bench {
    let bench = bench(cache);
    let text = words("async", code);
    let words = bench.prepare_text(bench.spec("words"), &text).await;
    bench.go_live("words", words.expect("words"));
    let mut spec = bench.spec(IT);
    spec.dependencies = from_words();
    let it = bench.prepare_text(spec, &caller("async", function)).await;
    bench.go_live(IT, it.expect("a caller"));
    bench
}

async fn refusal(cache: &str, text: &str) -> String {
    let bench = bench(cache);
    let refused = bench.prepare_text(bench.spec("words"), text).await;
    let error = refused.err().expect("it is refused");
    assert!(matches!(error, LoadError::Cache { .. }));
    chain(&error)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_call_of_a_cached_function_is_not_made_and_what_was_touched_is() {
    let cache = r#""test:words/it.say" = { tags = ["word:{n}"], max_age = "1m" }"#;
    let bench = pair(cache, "say", "").await;
    let calls = || bench.figures("words").calls;
    for (job, made) in [("x", 1), ("x", 1), ("xx", 2), ("x", 2)] {
        assert_eq!(bench.run(job).await.expect("a call"), Ok(()));
        assert_eq!(calls(), made, "{job}");
    }
    let source = bench.cache.source(&id("words"));
    source.look().touched(vec!["word:1".to_owned()]);
    for (job, made) in [("xx", 2), ("x", 3)] {
        assert_eq!(bench.run(job).await.expect("a call"), Ok(()));
        assert_eq!(calls(), made, "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_not_kept_and_no_failure_is() {
    let say = r#""test:words/it.say" = { max_age = "1m" }"#;
    for (function, code) in [("shout", ""), ("say", "unreachable")] {
        let bench = pair(say, function, code).await;
        for made in 1..=3 {
            let answer = bench.run("x").await.expect("a call");
            assert_eq!(answer.is_ok(), function == "shout");
            assert_eq!(bench.figures("words").calls, made, "{function}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_work_gets_nothing_that_was_kept_and_leaves_nothing() {
    let cache = r#""test:words/it.say" = { max_age = "1m" }"#;
    let bench = pair(cache, "say", "").await;
    let in_unit = async || {
        let deadline = Instant::now() + Duration::from_secs(20);
        let call = Call::new("test", deadline).with_unit(Arc::new(()));
        let answer = bench
            .runtime
            .run_job(&id(IT), "x".to_owned(), 0, call)
            .await;
        assert_eq!(answer.expect("a call"), Ok(()));
        bench.figures("words").calls
    };
    assert_eq!(in_unit().await, 1);
    assert_eq!(bench.run("x").await.expect("a call"), Ok(()));
    assert_eq!(bench.figures("words").calls, 2);
    assert_eq!(in_unit().await, 3);
    assert_eq!(bench.run("x").await.expect("a call"), Ok(()));
    assert_eq!(bench.figures("words").calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_what_cannot_be_cached_is_refused_when_the_component_is_loaded() {
    let text = words("async", "");
    for (function, tag, reason) in [
        ("test:words/it.sing", "", "it exports no such function"),
        ("test:words/they.say", "", "it exports no such function"),
        ("test:words/it@1.0.0.say", "", "it exports no such function"),
        ("test:words/it.say", "word:{m}", "it has no parameter m"),
    ] {
        let tags = match tag {
            "" => String::new(),
            tag => format!("tags = [{tag:?}], "),
        };
        let cache = format!(r#""{function}" = {{ {tags}max_age = "1s" }}"#);
        assert_eq!(
            refusal(&cache, &text).await,
            format!("component words: {function} cannot be cached: {reason}")
        );
    }
    for (signature, tag, reason) in [
        ("(param \"n\" u32)", "word", "it has no result"),
        (
            "(param \"n\" f32) (result u32)",
            "word:{n}",
            "parameter n is no text, whole number, bool or enum, and no list of these",
        ),
    ] {
        let core = if signature.contains("f32") {
            "f32"
        } else {
            "i32"
        };
        let (result, code) = match signature.contains("result") {
            true => ("(result i32)", "i32.const 0"),
            false => ("", ""),
        };
        let text = format!(
            r#"(component
              (core module $m (func (export "f") (param {core}) {result} {code}))
              (core instance $i (instantiate $m))
              (func $f {signature} (canon lift (core func $i "f")))
              (instance $it (export "say" (func $f)))
              (export "test:words/it" (instance $it)))"#
        );
        let cache = format!(r#""test:words/it.say" = {{ tags = ["{tag}"], max_age = "1s" }}"#);
        assert_eq!(
            refusal(&cache, &text).await,
            format!("component words: test:words/it.say cannot be cached: {reason}")
        );
    }
}
