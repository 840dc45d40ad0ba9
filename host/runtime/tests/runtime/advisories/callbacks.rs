//! The async ABI: what a function that is lifted with a callback may be, leave and answer.

use marquee_runtime::{JOB, Limits, LoadError, Spec, chain};

use super::{Fine, Late, Says, Traps, Use, callback_job, check, job, runs_out_and_starves_nobody};
use crate::support::{Bench, IT, from_words};

/// Leaves the code to give way.
const YIELD: &str = "i32.const 1";

const USES: &[Use<'_>] = &[
    ("new-set", "(result i32)", "waitable-set.new"),
    ("new-future", "(result i64)", "future.new $signal"),
    ("join", "(param i32 i32)", "waitable.join"),
    (
        "wait",
        "(param i32 i32) (result i32)",
        r#"waitable-set.wait (memory $libc "memory")"#,
    ),
];

const HEAD: &str = "(type $signal (future))";

/// Leaves the code to wait for the set whose handle is on the stack.
const WAIT: &str = "i32.const 4 i32.shl i32.const 2 i32.or";

/// GHSA-32h6-97mm-8q3c: what a callback gave was not checked, and written past its place on the stack of the host.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_of_another_type_is_no_component() {
    let fine = callback_job("", &[], YIELD, YIELD);
    let callback = "(param $event i32) (param $of i32) (param $payload i32) (result i32)";
    let many = "i32 ".repeat(1_000);
    let typed = |ty: &str| {
        fine.replace(callback, ty).replace(
            &format!("{ty}\n              {YIELD}"),
            &format!("{ty} unreachable"),
        )
    };
    let signature = "canonical option `callback` uses a core function with an incorrect signature";
    let lifted = "lowered result types";
    let cases = [
        (typed(&format!("(param i32 i32 i32) (result {many})")), signature),
        (typed("(param i32 i32 i32) (result i32 i32)"), signature),
        (typed("(param i32 i32 i32) (result i64)"), signature),
        (typed("(param i32 i32 i32)"), signature),
        (typed("(param i32 i32 i32 i32) (result i32)"), signature),
        (typed("(result i32)"), signature),
        (
            fine.replace(
                "(func (export \"run\") (param i32 i32 i64) (result i32)",
                &format!("(func (export \"run\") (param i32 i32 i64) (result {many}) unreachable) (func (param i32 i32 i64) (result i32)"),
            ),
            lifted,
        ),
        // Without a callback it would wait on a stack of its own.
        (fine.replace("(callback (func $i \"callback\"))", ""), "async stackful"),
    ];
    for (text, why) in cases {
        assert_ne!(text, fine);
        let bytes = wat::parse_str(&text).expect("a text");
        let refused = marquee_runtime::compile(&bytes).err();
        let said = refused.map(|error| format!("{error:?}")).expect(why);
        assert!(said.contains(why), "{said}");
    }
    let bench = Bench::empty(Limits::default());
    let text = callback_job(
        "",
        &[],
        YIELD,
        "(call $fine) (global.set $entered (i32.const 0)) i32.const 0",
    );
    check(&bench, "its own type", &text, Fine).await;
}

/// The same: what a callback gives is a number, and a guest may say any.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_says_nothing_is_a_trap() {
    let none = Traps("unsupported callback code");
    let no_set = Traps("unknown handle index");
    let no_answer = Traps("async-lifted export failed to produce a result");
    let cases = [
        ("i32.const 3".to_owned(), none),
        ("i32.const 15".to_owned(), none),
        ("i32.const -1".to_owned(), none),
        ("i32.const 0".to_owned(), no_answer),
        // The high bits say which set; for other codes they say nothing.
        ("i32.const -16".to_owned(), no_answer),
        (format!("i32.const 0 {WAIT}"), no_set),
        (format!("i32.const 1 {WAIT}"), no_set),
        (format!("i32.const -1 {WAIT}"), no_set),
        (
            format!("(i32.wrap_i64 (call $new-future)) {WAIT}"),
            Traps("handle is not"),
        ),
        // Nothing can ever come to a set without members: it waits for as long as it may.
        (format!("(call $new-set) {WAIT}"), Late),
        (
            format!("(local.set $a (call $new-set))
                (call $join (i32.wrap_i64 (call $new-future)) (local.get $a)) (local.get $a) {WAIT}"),
            Late,
        ),
        ("(call $fine) (call $fine) i32.const 0".to_owned(), Traps("task.return")),
        ("(call $fine) i32.const 3".to_owned(), none),
        (
            "(call $return (i32.const 7) (i32.const 0) (i32.const 0)) i32.const 0".to_owned(),
            Traps("invalid expected discriminant"),
        ),
        (
            "(call $return (i32.const 1) (i32.const -1) (i32.const 2)) i32.const 0".to_owned(),
            Traps("out of bounds"),
        ),
        ("(call $return (i32.const 1) (i32.const 0) (i32.const 0)) i32.const 0".to_owned(), Says("")),
    ];
    let bench = Bench::empty(Limits::default());
    for (code, outcome) in cases {
        // What says something ends the call: the mark that it was entered goes too.
        let code = match outcome {
            Says(_) => format!("(global.set $entered (i32.const 0)) {code}"),
            _ => code,
        };
        check(
            &bench,
            &code,
            &callback_job(HEAD, USES, &code, "unreachable"),
            outcome,
        )
        .await;
        if !code.contains("local") {
            let later = callback_job(HEAD, USES, YIELD, &code);
            check(&bench, &format!("{code} later"), &later, outcome).await;
        }
    }
}

/// The same: an answer of another type than the function's.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_type_is_a_trap() {
    let bench = Bench::empty(Limits::default());
    for (ty, core, code) in [
        ("(result u32)", "(param i32)", "(call $other (i32.const 0))"),
        ("", "", "(call $other)"),
        (
            r#"(result (result (error string))) (memory $libc "memory") string-encoding=utf16"#,
            "(param i32 i32 i32)",
            "(call $other (i32.const 0) (i32.const 0) (i32.const 0))",
        ),
    ] {
        let canon = format!("task.return {ty}");
        let uses: [Use<'_>; 1] = [("other", core, &canon)];
        let text = callback_job("", &uses, &format!("{code} i32.const 0"), "unreachable");
        let outcome = Traps("invalid `task.return` signature and/or options for current task");
        check(&bench, ty, &text, outcome).await;
    }
}

/// The same: giving way without end, before an answer and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn giving_way_without_end_runs_out_and_starves_nobody() {
    let bench = Bench::empty(Limits::default());
    for bad in [YIELD, "(call $fine) i32.const 1"] {
        let text = callback_job("", &[], bad, YIELD);
        runs_out_and_starves_nobody(&bench, bad, &text).await;
    }
}

/// Exports `test:words/it` with `say`, of this sort and lifted so.
fn words(sort: &str, lift: &str) -> String {
    format!(
        r#"(component
          (core func $return (canon task.return (result u32)))
          (core module $m
            (import "host" "return" (func $return (param i32)))
            (func (export "plain") (param i32) (result i32) (local.get 0))
            (func (export "async") (param i32) (result i32) (call $return (local.get 0)) i32.const 1)
            (func (export "callback") (param i32 i32 i32) (result i32) i32.const 0))
          (core instance $i (instantiate $m
            (with "host" (instance (export "return" (func $return))))))
          (func $say {sort} (param "n" u32) (result u32) (canon lift {lift}))
          (instance $words (export "say" (func $say)))
          (export "test:words/it" (instance $words)))"#
    )
}

/// RUSTSEC-2026-0353: a function that was lifted as async was called as if it were not.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_called_as_it_was_lifted_or_not_at_all() {
    let plain = r#"(core func $i "plain")"#;
    let lifted = r#"(core func $i "async") async (callback (func $i "callback"))"#;
    for (sort, lift) in [("", plain), ("async", plain), ("async", lifted)] {
        let bench = Bench::empty(Limits::default());
        let text = words(sort, lift);
        let prepared = bench.prepare_text(bench.spec("words"), &text).await;
        bench.go_live("words", prepared.expect("words"));
        for needed in ["", "async"] {
            let head = format!(
                r#"(import "test:words/it" (instance $words
                    (export "say" (func {needed} (param "n" u32) (result u32)))))
                  (alias export $words "say" (func $say))"#
            );
            let uses: [Use<'_>; 1] = [("say", "(param i32) (result i32)", "lower (func $say)")];
            let code = "(if (i32.ne (call $say (i32.const 7)) (i32.const 7)) (then unreachable))";
            let spec = Spec {
                dependencies: from_words(),
                ..bench.spec(IT)
            };
            let prepared = bench.prepare_text(spec, &job(&head, &uses, code)).await;
            if needed == sort {
                bench.go_live(IT, prepared.expect("it fits"));
                super::between_good_calls(&bench, lift, Fine).await;
                continue;
            }
            let kind = |sort: &str| if sort.is_empty() { "not async" } else { sort }.to_owned();
            assert_eq!(
                prepared.err().as_ref().map(|error| chain(error)),
                Some(format!(
                    "component it imports test:words/it from component words: function say: the importer has it {}, \
                     the exporter {}",
                    kind(needed),
                    kind(sort)
                ))
            );
        }
    }
    // Nor can what is not async be lifted as if it were.
    let text = words("", lifted);
    let bytes = wat::parse_str(&text).expect("a text");
    let refused = marquee_runtime::compile(&bytes).err();
    let said = format!("{:?}", refused.expect("it is refused"));
    assert!(said.contains("async"), "{said}");
}

/// The same for what the host itself calls.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_point_of_another_type_is_refused() {
    let bench = Bench::empty(Limits::default());
    let fine = job("", &[], "");
    for other in [
        fine.replace(
            "(result (result (error string)))",
            "(result (result string))",
        ),
        fine.replace("\"due-at-ms\" u64", "\"due-at-ms\" s64"),
    ] {
        assert_ne!(other, fine);
        let refused = bench.prepare_text(bench.spec(IT), &other).await.map(drop);
        assert!(
            matches!(&refused, Err(LoadError::EntryPoint { interface, .. }) if interface == JOB),
            "{refused:?}"
        );
    }
    super::go_live(&bench, &fine).await;
    Fine.assert("its own type", &bench.run("x").await);
}

/// The same: waiting for what cannot come, on the stack of the caller.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_what_cannot_come_ends() {
    let bench = Bench::empty(Limits::default());
    for (code, outcome) in [
        (
            "(drop (call $wait (i32.const 0) (i32.const 8192)))",
            Traps("unknown handle index"),
        ),
        ("(drop (call $wait (call $new-set) (i32.const 8192)))", Late),
    ] {
        check(&bench, code, &job(HEAD, USES, code), outcome).await;
    }
}
