//! Where instances are made.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use marquee_runtime::{JOB, Limits, Spec};

use crate::support::{Bench, Gate, IT};

/// A job of which each call has an instance of its own, since it has much memory. Its start writes to so many bytes of that,
/// and then asks where it is.
fn starts_by_writing(bytes: usize) -> String {
    format!(
        r#"(component
          (import "test:where/it" (instance $it (export "here" (func))))
          (core func $here (canon lower (func $it "here")))
          (core module $large
            (memory 800)
            (func $fill (memory.fill (i32.const 0) (i32.const 7) (i32.const {bytes})))
            (start $fill))
          (core instance (instantiate $large))
          (core module $asks (import "it" "here" (func $here)) (start $here))
          (core instance (instantiate $asks (with "it" (instance (export "here" (func $here))))))
          (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
            ;; The memory is zero: the answer is ok.
            (func (export "run") (param i32 i32 i64) (result i32) i32.const 2048))
          (core instance $i (instantiate $m))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

/// Filling a memory is one step to the guest: nothing makes it give way.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_take_long_to_make_are_made_behind_others_from_the_third_on() {
    for (bytes, is_slow) in [(0, false), (800 * 65_536, true)] {
        let bench = Bench::empty(Limits::default());
        let spec = Spec {
            entry_points: BTreeMap::from([(JOB.to_owned(), "its schedules".to_owned())]),
            ..bench.spec(IT)
        };
        let text = starts_by_writing(bytes);
        let prepared = bench.prepare_text(spec, &text).await.expect("prepared");
        bench.go_live(IT, prepared);
        for _ in 0..3 {
            assert_eq!(bench.run("x").await.expect("a call"), Ok(()));
        }
        // The first one is made when it is tried.
        let behind = [false, false, is_slow, is_slow];
        assert_eq!(bench.behind(), behind, "{bytes} bytes");
    }
}

/// Its start says that it has begun, and does not end.
fn never_starts(code: &str) -> String {
    format!(
        r#"(component
          (import "test:where/it" (instance $it (export "here" (func))))
          (import "test:gate/it" (instance $gate (export "pass" (func))))
          (core func $here (canon lower (func $it "here")))
          (core func $pass (canon lower (func $gate "pass")))
          (core module $m
            (import "host" "here" (func $here))
            (import "host" "pass" (func $pass))
            (func $start (call $here) {code})
            (start $start))
          (core instance (instantiate $m (with "host" (instance
            (export "here" (func $here)) (export "pass" (func $pass)))))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_ends_whether_it_computes_or_waits() {
    for code in ["(loop br 0)", "(call $pass)"] {
        let bench = Bench::giving(Arc::new(Gate::closed()));
        let mut spec = bench.spec(IT);
        spec.limits.deadline = Duration::from_secs(60);
        let begun = async {
            while bench.behind().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let text = never_starts(code);
        tokio::select! {
            made = bench.prepare_text(spec, &text) => panic!("{code}: {:?}", made.err()),
            () = begun => {}
        }
        // Nobody waits for it any more.
        let ended = bench.runtime.drain(Duration::from_secs(10)).await;
        assert_eq!(ended, 0, "{code}: it goes on");
    }
}
