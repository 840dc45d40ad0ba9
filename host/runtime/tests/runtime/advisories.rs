//! What once broke an engine of this kind, in words of the component model: here it is an error of one call, and the
//! host goes on.

use std::{collections::BTreeMap, time::Duration};

use marquee_runtime::{CallError, JOB, Limits, Spec, chain};

use crate::support::{Bench, IT, id};

fn quick() -> Limits {
    Limits {
        deadline: Duration::from_millis(300),
        ..Limits::default()
    }
}

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
            dependencies: BTreeMap::from([("test:words/it".to_owned(), id("words"))]),
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

/// CVE-2026-27572: a guest made more header fields than the host's map could hold.
#[tokio::test(flavor = "multi_thread")]
async fn more_header_fields_than_fit_are_refused_to_the_guest() {
    let bench = Bench::empty(Limits {
        deadline: Duration::from_secs(20),
        ..Limits::default()
    });
    let text = r#"(component
      (import "wasi:http/types@0.2.0" (instance $http
        (export "fields" (type $fields (sub resource)))
        (type $raw (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
        (export "header-error" (type $error (eq $raw)))
        (export "[constructor]fields" (func (result (own $fields))))
        (export "[method]fields.append" (func
          (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
          (result (result (error $error)))))))
      (alias export $http "[constructor]fields" (func $new))
      (alias export $http "[method]fields.append" (func $append))
      (core module $libc (memory (export "memory") 1) (data (i32.const 0) "name"))
      (core instance $libc (instantiate $libc))
      (core func $new (canon lower (func $new)))
      (core func $append (canon lower (func $append) (memory $libc "memory")))
      (core module $m
        (import "http" "new" (func $new (result i32)))
        (import "http" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
        (func $start (local $fields i32) (local $left i32)
          (local.set $fields (call $new))
          (local.set $left (i32.const 40000))
          (loop
            (call $append (local.get $fields)
              (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 64))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if 0 (local.get $left))))
        (start $start))
      (core instance (instantiate $m
        (with "http" (instance (export "new" (func $new)) (export "append" (func $append)))))))"#;
    // An error that the guest may handle, or a trap: either is the guest's alone.
    let result = bench.prepare_text(bench.spec(IT), text).await;
    if let Err(error) = result {
        let said = chain(&error);
        assert!(
            said.starts_with("component it cannot be instantiated"),
            "{said}"
        );
    }
    let fine = bench.prepare_text(bench.spec(IT), "(component)").await;
    assert!(fine.is_ok(), "the runtime goes on");
}
