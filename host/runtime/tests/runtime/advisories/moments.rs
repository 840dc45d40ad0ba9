//! Calls at a moment when none may be made.

use marquee_runtime::{CallError, JOB, Spec, chain};

use super::quick;
use crate::support::{Bench, IT, from_words};

/// A job in a component with this `realloc`, which may call the import `say` of `words`.
fn with_realloc(realloc: &str) -> String {
    format!(
        r#"(component
          (import "test:words/it" (instance $words (export "say" (func async (result u32)))))
          (alias export $words "say" (func $say))
          (core func $lowered (canon lower (func $say)))
          (core module $m
            (import "words" "say" (func $say (result i32)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc} i32.const 4096)
            (func (export "run") (param i32 i32 i64) (result i32) i32.const 2048))
          (core instance $i (instantiate $m
            (with "words" (instance (export "say" (func $lowered))))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

/// CVE-2026-119141: a guest called the host from the `realloc` that the host had called.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_out_of_realloc_is_a_trap() {
    let bench = Bench::empty(quick());
    let words = r#"(component
      (core module $m (func (export "say") (result i32) i32.const 7))
      (core instance $i (instantiate $m))
      (func $say async (result u32) (canon lift (core func $i "say")))
      (instance $words (export "say" (func $say)))
      (export "test:words/it" (instance $words)))"#;
    let words = bench.prepare_text(bench.spec("words"), words).await;
    bench.go_live("words", words.expect("words"));
    for (realloc, holds) in [("", true), ("(drop (call $say))", false), ("", true)] {
        let spec = Spec {
            dependencies: from_words(),
            ..bench.spec(IT)
        };
        let it = bench.prepare_text(spec, &with_realloc(realloc)).await;
        bench.go_live(IT, it.expect("prepared"));
        let result = bench.run("x").await;
        assert!(
            if holds {
                matches!(result, Ok(Ok(())))
            } else {
                matches!(result, Err(CallError::Trap { .. }))
            },
            "{result:?}"
        );
    }
}

/// RUSTSEC-2026-0358: a component that gave way while it was instantiated.
#[tokio::test(flavor = "multi_thread")]
async fn giving_way_in_a_start_function_ends_by_itself_or_at_the_deadline() {
    let bench = Bench::empty(quick());
    for code in ["(drop (call $yield))", "(loop (drop (call $yield)) (br 0))"] {
        let text = format!(
            r#"(component
              (core func $yield (canon thread.yield))
              (core module $m
                (import "host" "yield" (func $yield (result i32)))
                (func $start {code})
                (start $start))
              (core instance (instantiate $m
                (with "host" (instance (export "yield" (func $yield)))))))"#
        );
        let result = bench.prepare_text(bench.spec(IT), &text).await;
        if let Err(error) = result {
            let said = chain(&error);
            assert!(
                said.starts_with("component it cannot be instantiated"),
                "{said}"
            );
        }
    }
    let fine = bench.prepare_text(bench.spec(IT), "(component)").await;
    assert!(fine.is_ok(), "the runtime goes on");
}
