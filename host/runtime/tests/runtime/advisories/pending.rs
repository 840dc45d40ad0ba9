//! Calls that end, trap or are dropped while others that they made are not answered yet.

use std::time::{Duration, Instant};

use marquee_runtime::{CallError, JOB, Limits, Spec};

use super::{Fine, Late, Traps, Use, between_good_calls, go_live, job};
use crate::support::{Bench, IT, from_words, id};

/// A clock to wait for, and another component that answers only names of one letter.
const HEAD: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
      (export "wait-for" (func async (param "how-long" u64)))))
    (alias export $clock "wait-for" (func $wait-for))
    (import "test:words/it" (instance $words
      (export "say" (func async (param "n" u32) (result u32)))))
    (alias export $words "say" (func $say))"#;

/// The same function inside of the component: it has its answer only when nobody holds it back.
const INSIDE: &str = r#"
    (component $inside
      (core func $hold (canon backpressure.inc))
      (core func $return (canon task.return (result u32)))
      (core module $m
        (import "host" "hold" (func $hold))
        (import "host" "return" (func $return (param i32)))
        (func (export "hold") (call $hold))
        (func (export "say") (param i32) (result i32)
          (if (i32.eqz (local.get 0)) (then (call $return (i32.const 0)) (return (i32.const 0))))
          i32.const 1)
        (func (export "callback") (param i32 i32 i32) (result i32) i32.const 1))
      (core instance $i (instantiate $m (with "host" (instance
        (export "hold" (func $hold)) (export "return" (func $return))))))
      (func (export "hold") (canon lift (core func $i "hold")))
      (func (export "say") async (param "n" u32) (result u32)
        (canon lift (core func $i "say") async (callback (func $i "callback")))))
    (instance $inside (instantiate $inside))
    (alias export $inside "hold" (func $hold))
    (alias export $inside "say" (func $say-inside))"#;

/// What the part with the job imports of the others.
const PARTS: &str = r#"
    (import "wait-for" (func $wait-for async (param "how-long" u64)))
    (import "say" (func $say async (param "n" u32) (result u32)))
    (import "hold" (func $hold))
    (import "say-inside" (func $say-inside async (param "n" u32) (result u32)))"#;

const USES: &[Use<'_>] = &[
    (
        "sleep",
        "(param i64) (result i32)",
        "lower (func $wait-for) async",
    ),
    ("sleep-here", "(param i64)", "lower (func $wait-for)"),
    (
        "say",
        "(param i32 i32) (result i32)",
        r#"lower (func $say) async (memory $libc "memory")"#,
    ),
    ("say-here", "(param i32) (result i32)", "lower (func $say)"),
    ("hold", "", "lower (func $hold)"),
    (
        "say-inside",
        "(param i32 i32) (result i32)",
        r#"lower (func $say-inside) async (memory $libc "memory")"#,
    ),
    ("new-set", "(result i32)", "waitable-set.new"),
    ("join", "(param i32 i32)", "waitable.join"),
    (
        "wait",
        "(param i32 i32) (result i32)",
        r#"waitable-set.wait (memory $libc "memory")"#,
    ),
    ("yield", "(result i32)", "thread.yield"),
    ("cancel", "(param i32) (result i32)", "subtask.cancel"),
    ("drop", "(param i32)", "subtask.drop"),
];

/// Calls that are not answered: of whom, what comes before, the call.
const UNDER_WAY: [(&str, &str, &str); 4] = [
    ("the host", "", "(call $sleep (i64.const 60000000000))"),
    (
        "another component",
        "",
        "(call $say (i32.const 1) (i32.const 8192))",
    ),
    (
        "a part beside it",
        "",
        "(call $say-inside (i32.const 1) (i32.const 8192))",
    ),
    (
        "a part that is held back",
        "(call $hold)",
        "(call $say-inside (i32.const 0) (i32.const 8192))",
    ),
];

/// Starts such a call and leaves its handle in `$a`.
fn start(before: &str, call: &str) -> String {
    // The low bits say how far it has come, and must not say that it is answered.
    format!(
        "{before} (local.set $a {call})
         (if (i32.eq (i32.and (local.get $a) (i32.const 15)) (i32.const 2)) (then unreachable))
         (local.set $a (i32.shr_u (local.get $a) (i32.const 4)))"
    )
}

/// `it` with this bad code, and `words`, which answer 0 at once and everything else never.
async fn bench(code: &str) -> Bench {
    let bench = Bench::empty(Limits {
        // What is left to itself ends by itself.
        deadline: Duration::from_secs(2),
        ..Limits::default()
    });
    prepare(&bench, code).await;
    bench
}

async fn prepare(bench: &Bench, code: &str) {
    let words = r#"(component
      (core module $m
        (func (export "say") (param i32) (result i32) (loop (br_if 0 (local.get 0))) i32.const 0))
      (core instance $i (instantiate $m))
      (func $say async (param "n" u32) (result u32) (canon lift (core func $i "say")))
      (instance $words (export "say" (func $say)))
      (export "test:words/it" (instance $words)))"#;
    let prepared = bench.prepare_text(bench.spec("words"), words).await;
    bench.go_live("words", prepared.expect("words"));
    let spec = Spec {
        dependencies: from_words(),
        ..bench.spec(IT)
    };
    // The parts are siblings: a component cannot call a part of itself.
    let it = job(PARTS, USES, code).replacen("(component", "(component $it", 1);
    let text = format!(
        r#"(component {HEAD} {INSIDE} {it}
          (instance $it (instantiate $it
            (with "wait-for" (func $wait-for)) (with "say" (func $say))
            (with "hold" (func $hold)) (with "say-inside" (func $say-inside))))
          (alias export $it "{JOB}" (instance $job))
          (export "{JOB}" (instance $job)))"#
    );
    let prepared = bench.prepare_text(spec, &text).await;
    bench.go_live(IT, prepared.expect("it"));
}

/// Waits for the call whose handle is in `$a`.
const WAIT: &str = "(local.set $b (call $new-set)) (call $join (local.get $a) (local.get $b))
    (drop (call $wait (local.get $b) (i32.const 8192)))";

/// Wait until nothing is under way in this component.
async fn ends(bench: &Bench, name: &str) {
    let live = bench.runtime.live(&id(name)).expect("it is live");
    let until = Instant::now() + Duration::from_secs(20);
    while live.stable.payload.figures().in_flight > 0 {
        assert!(Instant::now() < until, "a call of {name} goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// GHSA-hmwq-g22x-qjw5: calls that were waiting went on in an instance that had trapped.
#[tokio::test(flavor = "multi_thread")]
async fn a_trap_ends_what_its_call_is_waiting_for() {
    for (what, before, call) in UNDER_WAY {
        let start = start(before, call);
        let traps = [
            ("unreachable".to_owned(), "unreachable"),
            // Once more, and after the others had their turn.
            (format!("{start} unreachable"), "unreachable"),
            ("(drop (call $yield)) unreachable".to_owned(), "unreachable"),
            (
                "(drop (i32.load (i32.const -1)))".to_owned(),
                "out of bounds memory access",
            ),
            (
                "(call $drop (local.get $a))".to_owned(),
                "cannot drop a subtask which has not yet resolved",
            ),
            (
                "(call $join (local.get $a) (i32.const 1000))".to_owned(),
                "unknown handle index",
            ),
        ];
        for (trap, why) in traps {
            let bench = bench(&format!("{start} {trap}")).await;
            between_good_calls(&bench, &format!("{what} {trap}"), Traps(why)).await;
            ends(&bench, "words").await;
            ends(&bench, IT).await;
        }
    }
}

/// The same without a trap: an answer while a call is not answered yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_for_the_host_but_for_what_runs_beside_it() {
    for (what, before, call) in UNDER_WAY {
        let outcome = if before.is_empty() && what != "a part beside it" {
            Fine
        } else {
            Late
        };
        let bench = bench(&start(before, call)).await;
        between_good_calls(&bench, what, outcome).await;
        ends(&bench, "words").await;
        ends(&bench, IT).await;
    }
}

/// The same advisory, of a call that its caller cancels itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_caller_cancels_is_gone() {
    for (what, before, call) in UNDER_WAY {
        if what == "a part beside it" {
            // It does not listen: who cancels it waits for it.
            continue;
        }
        let code = format!(
            "{} (drop (call $cancel (local.get $a))) (call $drop (local.get $a))",
            start(before, call)
        );
        let bench = bench(&code).await;
        between_good_calls(&bench, what, Fine).await;
        ends(&bench, "words").await;
        // Twice is a trap.
        let code = format!("{code} (drop (call $cancel (local.get $a)))");
        prepare(&bench, &code).await;
        between_good_calls(&bench, what, Traps("unknown handle index")).await;
    }
}

/// CVE-2026-27195, GHSA-3r89-v5mq-j5xf: whoever waited for a call went away, and the next one found its remains.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_while_it_waits_leaves_nothing_behind() {
    let mut cases: Vec<(String, String)> = UNDER_WAY
        .iter()
        .map(|(what, before, call)| {
            (
                (*what).to_owned(),
                format!("{} {WAIT}", start(before, call)),
            )
        })
        .collect();
    cases.push((
        "the host, at once".to_owned(),
        "(call $sleep-here (i64.const 60000000000))".to_owned(),
    ));
    cases.push((
        "another component, at once".to_owned(),
        "(drop (call $say-here (i32.const 1)))".to_owned(),
    ));
    cases.push((
        "nothing in particular".to_owned(),
        "(loop (drop (call $yield)) (br 0))".to_owned(),
    ));
    for (what, code) in cases {
        let bench = bench(&code).await;
        // At any moment: while it waits for its turn, starts, calls, waits.
        for patience in [0, 1, 2, 5, 10, 20, 50] {
            let until = Instant::now() + Duration::from_secs(20);
            let patience = Duration::from_millis(patience);
            let call = tokio::time::timeout(patience, bench.run_until("xx", until)).await;
            assert!(call.is_err(), "{what}: {call:?}");
            let fine = bench.run("x").await;
            Fine.assert(&what, &fine);
        }
        ends(&bench, IT).await;
        ends(&bench, "words").await;
        let live = bench.runtime.live(&id(IT)).expect("it is live");
        assert_eq!(
            live.stable.payload.figures().errors,
            0,
            "{what}: no fault of the version's"
        );
    }
}

/// The same when a version is replaced and its calls are ended.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_ended_while_they_wait_leave_nothing_behind() {
    for (what, before, call) in UNDER_WAY {
        let bench = bench(&format!("{} {WAIT}", start(before, call))).await;
        let live = bench.runtime.live(&id(IT)).expect("it is live");
        let (answer, ()) = tokio::join!(bench.run("xx"), async {
            let until = Instant::now() + Duration::from_secs(1);
            while live.stable.payload.figures().in_flight == 0 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            live.stable.payload.end_calls();
        });
        assert!(
            matches!(answer, Err(CallError::Cancelled(_))),
            "{what}: {answer:?}"
        );
        ends(&bench, IT).await;
        ends(&bench, "words").await;
        go_live(&bench, &job("", &[], "")).await;
        Fine.assert(what, &bench.run("x").await);
    }
}
