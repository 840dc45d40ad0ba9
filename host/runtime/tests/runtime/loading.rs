//! What is refused before it gets a call, in which words; and that what was live stays live.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use marquee_runtime::{
    Artifact, Beside, CONSUMER, CallError, HANDLER, Health, JOB, Limits, LoadError, Prepared, Spec,
    chain,
};

use crate::support::{Bench, IT, from_words, id};

/// A component without imports and exports.
const EMPTY: &str = "(component)";

/// A component whose only export is an interface with this function in it.
fn exporting(interface: &str, function: &str, params: &str) -> String {
    format!(
        r#"(component
          (core module $m (func (export "f") (param {core}) (result i32) unreachable))
          (core instance $i (instantiate $m))
          (type $t (func {params} (result u32)))
          (func $f (type $t) (canon lift (core func $i "f")))
          (instance $has (export "{function}" (func $f)))
          (export "{interface}" (instance $has)))"#,
        core = params
            .split("(param ")
            .skip(1)
            .map(|param| if param.contains("u64") {
                "i64 "
            } else {
                "i32 "
            })
            .collect::<String>(),
    )
}

/// A component that imports an interface with this function in it.
fn importing(interface: &str, function: &str, params: &str) -> String {
    format!(
        r#"(component (import "{interface}" (instance (export "{function}" (func {params} (result u32))))))"#
    )
}

/// A component that runs this when it is started.
fn starting(code: &str) -> String {
    format!(
        r#"(component
          (core module $m (func $start {code}) (start $start))
          (core instance (instantiate $m)))"#
    )
}

async fn refusal(bench: &Bench, spec: Spec, text: &str) -> LoadError {
    bench
        .prepare_text(spec, text)
        .await
        .err()
        .expect("it is refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_traps_or_loops_at_its_start_is_refused() {
    let bench = Bench::empty(Limits {
        deadline: Duration::from_millis(200),
        ..Limits::default()
    });
    let error = refusal(&bench, bench.spec(IT), &starting("unreachable")).await;
    let said = chain(&error);
    assert!(
        matches!(
            error,
            LoadError::Instantiate {
                source: CallError::Instantiate { .. },
                ..
            }
        ),
        "{said}"
    );
    assert!(
        said.starts_with("component it cannot be instantiated") && said.contains("unreachable"),
        "{said}"
    );
    let error = refusal(&bench, bench.spec(IT), &starting("(loop br 0)")).await;
    assert_eq!(
        chain(&error),
        "component it cannot be instantiated: component it did not answer in time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wants_more_memory_than_it_may_have_is_refused() {
    let bench = Bench::empty(Limits::default());
    let text = "(component (core module $m (memory 2000)) (core instance (instantiate $m)))";
    let said = chain(&refusal(&bench, bench.spec(IT), text).await);
    assert!(
        said.contains("memory has a minimum byte size of 131072000"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_more_handles_than_it_may_is_refused() {
    let bench = Bench::empty(Limits {
        handles: 50,
        ..Limits::default()
    });
    let text = r#"(component
      (import "wasi:http/types@0.2.0" (instance $http
        (export "fields" (type $fields (sub resource)))
        (export "[constructor]fields" (func (result (own $fields))))))
      (alias export $http "[constructor]fields" (func $new))
      (core func $lowered (canon lower (func $new)))
      (core module $m
        (import "http" "new" (func $new (result i32)))
        (func $start (loop (drop (call $new)) (br 0)))
        (start $start))
      (core instance (instantiate $m
        (with "http" (instance (export "new" (func $lowered)))))))"#;
    let said = chain(&refusal(&bench, bench.spec(IT), text).await);
    assert!(
        said.starts_with("component it cannot be instantiated") && !said.contains("in time"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_the_manifest_needs_must_be_there() {
    let bench = Bench::empty(Limits::default());
    let spec = Spec {
        entry_points: BTreeMap::from([("test:x/y@1.0.0".to_owned(), "its triggers".to_owned())]),
        ..bench.spec(IT)
    };
    assert_eq!(
        chain(&refusal(&bench, spec, EMPTY).await),
        "component it does not export test:x/y@1.0.0, which its manifest needs for its triggers"
    );
}

/// Not when its first message comes: then the message would be parked and the version live.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_the_host_calls_must_have_the_hosts_types() {
    let bench = Bench::empty(Limits::default());
    for interface in [HANDLER, CONSUMER, JOB, "marquee:health/probe@0.1.0"] {
        let text = exporting(interface, "run", r#"(param "n" u32)"#);
        let said = chain(&refusal(&bench, bench.spec(IT), &text).await);
        assert!(
            said.starts_with(&format!(
                "component it exports {interface} with other types than the host calls it with: "
            )),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_provided_and_granted_or_the_component_is_refused() {
    let bench = Bench::empty(Limits::default());
    let unknown = importing("test:nobody/it", "f", "");
    assert_eq!(
        chain(&refusal(&bench, bench.spec(IT), &unknown).await),
        "component it imports test:nobody/it, which neither the host nor a dependency in its manifest provides"
    );
    let refused = importing("test:refused/it", "f", "");
    assert_eq!(
        chain(&refusal(&bench, bench.spec(IT), &refused).await),
        "component it imports test:refused/it: nobody may have it"
    );
}

/// A bench on which `words` is live, and the spec of a component that imports from it.
async fn with_words(interface: &str, params: &str) -> (Bench, Spec, Prepared) {
    let bench = Bench::empty(Limits::default());
    let words = bench
        .prepare_text(bench.spec("words"), &exporting(interface, "say", params))
        .await
        .expect("prepared");
    bench.go_live("words", words.clone());
    let spec = Spec {
        dependencies: from_words(),
        ..bench.spec(IT)
    };
    (bench, spec, words)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_must_fit_what_the_other_component_exports() {
    let wants = importing("test:words/it", "say", r#"(param "n" u64)"#);
    let cases = [
        (
            "test:other/it",
            r#"(param "n" u64)"#,
            "it is not exported; the exporter has test:other/it",
        ),
        (
            "test:words/it",
            r#"(param "n" u32)"#,
            "function say: parameter n: the importer has u64, the exporter u32",
        ),
        (
            "test:words/it",
            r#"(param "m" u64)"#,
            "function say: parameter n of the importer is m to the exporter",
        ),
        (
            "test:words/it",
            "",
            "function say: the importer passes 1 parameters, the exporter takes 0",
        ),
    ];
    for (interface, params, difference) in cases {
        let (bench, spec, _) = with_words(interface, params).await;
        assert_eq!(
            chain(&refusal(&bench, spec, &wants).await),
            format!("component it imports test:words/it from component words: {difference}")
        );
    }
    let (bench, spec, _) = with_words("test:words/it", r#"(param "n" u64)"#).await;
    bench
        .prepare_text(spec, &wants)
        .await
        .map(drop)
        .expect("prepared");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_from_must_be_there() {
    let bench = Bench::empty(Limits::default());
    let spec = Spec {
        dependencies: from_words(),
        ..bench.spec(IT)
    };
    assert_eq!(
        chain(&refusal(&bench, spec, &importing("test:words/it", "say", "")).await),
        "component it imports test:words/it from component words: that component is not loaded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_breaks_one_who_imports_from_it_is_refused_and_the_live_one_stays() {
    let params = r#"(param "n" u64)"#;
    let (bench, spec, words) = with_words("test:words/it", params).await;
    let wants = importing("test:words/it", "say", params);
    let it = bench.prepare_text(spec, &wants).await.expect("prepared");
    bench.go_live(IT, it);

    let other = exporting("test:words/it", "say", r#"(param "n" string)"#);
    let other = other.replace("(param i32 )", "(param i32 i32)").replace(
        r#"(canon lift (core func $i "f"))"#,
        r#"(canon lift (core func $i "f") (memory $i "memory") (realloc (func $i "realloc")))"#,
    );
    let other = other.replace(
        "(core module $m ",
        r#"(core module $m (memory (export "memory") 1)
             (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable) "#,
    );
    for (text, difference) in [
        (
            other.as_str(),
            "function say: parameter n: the importer has u64, the exporter string",
        ),
        (EMPTY, "it is not exported; the exporter has "),
    ] {
        assert_eq!(
            chain(&refusal(&bench, bench.spec("words"), text).await),
            format!("component it imports test:words/it from component words: {difference}")
        );
    }
    let live = bench.runtime.live(&id("words")).expect("it is live");
    assert_eq!(live.stable.digest, words.version());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_adds_to_its_interfaces_takes_the_place_of_one_that_others_import_from() {
    let params = r#"(param "n" u64)"#;
    let (bench, spec, words) = with_words("test:words/it", params).await;
    let wants = importing("test:words/it", "say", params);
    let it = bench.prepare_text(spec, &wants).await.expect("prepared");
    bench.go_live(IT, it);
    let more = exporting("test:words/it", "say", params)
        .replace(
            r#"(export "say" (func $f))"#,
            r#"(export "say" (func $f)) (export "sing" (func $f))"#,
        )
        .replace(
            r#"(export "test:words/it" (instance $has))"#,
            r#"(export "test:words/it" (instance $has)) (export "test:other/it" (instance $has))"#,
        );
    let more = bench.prepare_text(bench.spec("words"), &more).await;
    let more = more.expect("nothing that was there is missing");
    assert_ne!(more.version(), words.version());
    bench.go_live("words", more);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_prepared_again_takes_calls_after_the_old_one_was_told_to_end_its() {
    let bench = Bench::misbehaving(Limits::default()).await;
    let old = bench.runtime.live(&id(IT)).expect("it is live");
    let old = old.stable.payload.clone();
    old.end_calls();
    let wait = async || {
        let until = Instant::now() + Duration::from_millis(200);
        bench.run_until("wait", until).await
    };
    let ended = wait().await;
    assert!(matches!(ended, Err(CallError::Cancelled(_))), "{ended:?}");

    let again = bench
        .runtime
        .prepare_again(&old, Health::Asked, &Beside::default())
        .await
        .expect("prepared");
    assert_eq!(again.version(), old.version());
    bench.go_live(IT, again);
    let late = wait().await;
    assert!(matches!(late, Err(CallError::Deadline(_))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_prepared_again_must_fit_what_is_live_by_then() {
    let (bench, spec, _) = with_words("test:words/it", r#"(param "n" u64)"#).await;
    let importing = importing("test:words/it", "say", r#"(param "n" u64)"#);
    let importer = bench.prepare_text(spec, &importing).await;
    let importer = importer.expect("it fits");
    let changed = exporting("test:words/it", "say", r#"(param "n" u32)"#);
    let changed = bench.prepare_text(bench.spec("words"), &changed).await;
    bench.go_live("words", changed.expect("nobody imports from it yet"));
    let nothing = Beside::default();
    let again = bench
        .runtime
        .prepare_again(&importer, Health::Asked, &nothing);
    let refused = again.await;
    assert!(matches!(refused, Err(LoadError::Mismatch { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compiled_for_another_engine_is_refused() {
    let bench = Bench::empty(Limits::default());
    let bytes = wat::parse_str(EMPTY).expect("a component");
    let mut config = wasmtime::Config::new();
    config.wasm_component_model_async(true).consume_fuel(true);
    let other = wasmtime::Engine::new(&config).expect("an engine");
    let other = Artifact::vouched_for(other.precompile_component(&bytes).expect("compiled"));
    let digest = marquee_registry::Digest::of(&bytes);
    let result = bench
        .runtime
        .prepare(
            bench.spec(IT),
            digest,
            other,
            Health::Asked,
            &Beside::default(),
        )
        .await;
    assert!(matches!(result, Err(LoadError::Artifact { .. })));
}
