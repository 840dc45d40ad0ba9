//! One component calls another: what comes back, and what a caller learns when the other fails.

use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use marquee_runtime::{CallError, JOB, Limits, Spec};

use crate::support::{Bench, IT, from_words, id};

/// Whether the functions' types are async: both sorts are linked.
const SORTS: [&str; 2] = ["", "async"];

/// Exports `test:words/it` with `say`, which can tell of a failure, and `shout`, which cannot. Both run this code.
pub(crate) fn words(sort: &str, code: &str) -> String {
    format!(
        r#"(component
          (core module $m
            (memory (export "memory") 1)
            (func $code (param $n i32) {code})
            ;; The memory is zero: the answer is ok with 0.
            (func (export "say") (param i32) (result i32) (call $code (local.get 0)) i32.const 1024)
            (func (export "shout") (param i32) (result i32) (call $code (local.get 0)) i32.const 0))
          (core instance $i (instantiate $m))
          (type $failure (variant (case "unavailable" string)))
          (func $say {sort} (param "n" u32) (result (result u32 (error $failure)))
            (canon lift (core func $i "say") (memory $i "memory")))
          (func $shout {sort} (param "n" u32) (result u32) (canon lift (core func $i "shout")))
          (component $naming
            (type $raw (variant (case "unavailable" string)))
            (import "failure" (type $in (eq $raw)))
            (import "say" (func $say {sort} (param "n" u32) (result (result u32 (error $in)))))
            (import "shout" (func $shout {sort} (param "n" u32) (result u32)))
            (export $out "failure" (type $in))
            (export "say" (func $say) (func {sort} (param "n" u32) (result (result u32 (error $out)))))
            (export "shout" (func $shout)))
          (instance $words (instantiate $naming
            (with "failure" (type $failure)) (with "say" (func $say)) (with "shout" (func $shout))))
          (export "test:words/it" (instance $words)))"#
    )
}

/// A job that calls one of them with the length of its own name, and fails with the failure that it is told.
pub(crate) fn caller(sort: &str, function: &str) -> String {
    let call = match function {
        "say" => "(call $say (local.get 1) (i32.const 1024))",
        _ => "(drop (call $shout (local.get 1)))",
    };
    format!(
        r#"(component
          (import "test:words/it" (instance $words
            (type $raw (variant (case "unavailable" string)))
            (export "failure" (type $failure (eq $raw)))
            (export "say" (func {sort} (param "n" u32) (result (result u32 (error $failure)))))
            (export "shout" (func {sort} (param "n" u32) (result u32)))))
          (alias export $words "say" (func $say))
          (alias export $words "shout" (func $shout))
          (core module $libc
            (memory (export "memory") 1)
            ;; Room for one string at a time.
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
          (core instance $libc (instantiate $libc))
          (core func $lowered-say (canon lower (func $say)
            (memory $libc "memory") (realloc (func $libc "realloc"))))
          (core func $lowered-shout (canon lower (func $shout)))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "words" "say" (func $say (param i32 i32)))
            (import "words" "shout" (func $shout (param i32) (result i32)))
            (func (export "run") (param i32 i32 i64) (result i32)
              {call}
              (i32.store8 (i32.const 2048) (i32.load8_u (i32.const 1024)))
              (i32.store (i32.const 2052) (i32.load (i32.const 1032)))
              (i32.store (i32.const 2056) (i32.load (i32.const 1036)))
              i32.const 2048))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "words" (instance
              (export "say" (func $lowered-say)) (export "shout" (func $lowered-shout))))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $libc "memory") (realloc (func $libc "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

/// A caller of `function` and words that run this code.
async fn pair(sort: &str, function: &str, code: &str) -> Bench {
    pair_of(&words(sort, code), &caller(sort, function)).await
}

async fn pair_of(words: &str, caller: &str) -> Bench {
    let bench = Bench::empty(Limits {
        deadline: Duration::from_millis(300),
        ..Limits::default()
    });
    let words = bench
        .prepare_text(bench.spec("words"), words)
        .await
        .expect("words");
    bench.go_live("words", words);
    let spec = Spec {
        dependencies: from_words(),
        ..bench.spec(IT)
    };
    let it = bench.prepare_text(spec, caller).await.expect("a caller");
    bench.go_live(IT, it);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_gets_the_other_ones_answer() {
    for sort in SORTS {
        for function in ["say", "shout"] {
            let bench = pair(sort, function, "").await;
            assert_eq!(bench.run("x").await.expect("a call"), Ok(()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_can_be_told_of_a_failure_is_told_and_lives_on() {
    for sort in SORTS {
        // The callee traps if the job's name is longer than one letter.
        let code = "(if (i32.gt_u (local.get $n) (i32.const 1)) (then unreachable))";
        let bench = pair(sort, "say", code).await;
        let told = bench.run("xx").await.expect("the caller lives");
        assert_eq!(told, Err("component words trapped".to_owned()));
        let (caller, callee) = (bench.figures(IT), bench.figures("words"));
        assert_eq!((caller.errors, caller.excused), (0, 1), "it was let down");
        assert_eq!((callee.errors, callee.excused), (1, 0));
        assert_eq!(bench.run("x").await.expect("a call"), Ok(()));

        let bench = pair(sort, "say", "(loop br 0)").await;
        // The caller has more time than the callee.
        let told = bench.run("x").await;
        assert!(
            matches!(told, Ok(Err(ref text)) if text == "component words did not answer in time"),
            "{told:?}"
        );
    }
}

/// With a case of its own for it, which is the second one.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_can_tell_a_callee_that_is_late_from_one_that_is_not_there() {
    let old = r#"(case "unavailable" string)"#;
    let new = format!(r#"{old} (case "timeout" string)"#);
    let call = "(call $say (local.get 1) (i32.const 1024))";
    for (code, case) in [("(loop br 0)", 1), ("unreachable", 0)] {
        let checked = format!(
            "{call} (if (i32.ne (i32.load8_u (i32.const 1028)) (i32.const {case})) (then unreachable))"
        );
        let words = words("async", code).replace(old, &new);
        let caller = caller("async", "say").replace(old, &new);
        let bench = pair_of(&words, &caller.replace(call, &checked)).await;
        let told = bench.run("x").await;
        assert!(matches!(told, Ok(Err(_))), "{code}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_cannot_be_told_fails_in_the_name_of_the_other() {
    for sort in SORTS {
        let bench = pair(sort, "shout", "unreachable").await;
        let result = bench.run("x").await;
        let Err(CallError::Trap { component, .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(component, id("words"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_caller_goes_away() {
    let bench = pair("async", "say", "(loop br 0)").await;
    let words = bench.runtime.live(&id("words")).expect("it is live");
    let figures = || words.stable.payload.figures();
    let until = Instant::now() + Duration::from_secs(20);
    let call = tokio::time::timeout(Duration::from_millis(50), bench.run_until("x", until)).await;
    assert!(call.is_err(), "its caller has gone");
    // It is counted as under way until its instance is gone.
    while figures().in_flight > 0 {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(figures().errors, 0, "that is no fault of the version's");
}

/// Where neither has to wait for anything, nobody has to be woken.
#[tokio::test]
async fn a_call_through_two_components_is_one_turn_of_whoever_waits_for_it() {
    for sort in SORTS {
        let bench = pair(sort, "say", "").await;
        // Now both have an instance.
        assert_eq!(bench.run("x").await.expect("a call"), Ok(()));
        let mut call = pin!(bench.run("x"));
        let done = futures::poll!(call.as_mut());
        assert!(matches!(done, Poll::Ready(Ok(Ok(())))), "{sort}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_computes_keeps_no_callee_waiting() {
    let mut caller = caller("async", "shout");
    for (waits, goes_on) in [
        (
            "(canon lower (func $shout))",
            r#"(canon lower (func $shout) async (memory $libc "memory"))"#,
        ),
        (
            r#"(import "words" "shout" (func $shout (param i32) (result i32)))"#,
            r#"(import "words" "shout" (func $shout (param i32 i32) (result i32)))"#,
        ),
        (
            "(drop (call $shout (local.get 1)))",
            "(drop (call $shout (local.get 1) (i32.const 3000))) (loop br 0)",
        ),
    ] {
        assert!(caller.contains(waits), "{waits}");
        caller = caller.replace(waits, goes_on);
    }
    let bench = pair_of(&words("async", ""), &caller).await;
    let before = bench.figures("words");
    let until = Instant::now() + Duration::from_secs(20);
    let answered = async {
        while bench.figures("words").calls == before.calls {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = bench.run_until("x", until) => panic!("it computes without end: {ended:?}"),
        () = answered => {}
    }
    let callee = bench.figures("words").since(&before);
    assert_eq!((callee.calls, callee.errors), (1, 0));
}
