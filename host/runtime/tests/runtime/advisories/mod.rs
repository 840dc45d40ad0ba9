//! What once broke an engine of this kind, in words of the component model: here it is an error of one call, and the
//! host goes on.
//!
//! Each test names its advisory. A call that goes wrong stands between two of the same component that do not.

mod callbacks;
mod deadlines;
mod http;
mod moments;
mod pending;
mod streams;
mod strings;

use std::time::{Duration, Instant};

use marquee_runtime::{Call, CallError, JOB, Limits, chain};

use crate::support::{Bench, IT, id};

/// Limits under which a call that never ends does not hold up the tests.
fn quick() -> Limits {
    Limits {
        deadline: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// What a job answers.
type Answer = Result<Result<(), String>, CallError>;

/// What a call must come to.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// It is well.
    Fine,
    /// It fails in its own words.
    Says(&'static str),
    /// It traps, and the causes contain this.
    Traps(&'static str),
    /// It is ended at its deadline.
    Late,
}

use Outcome::{Fine, Late, Says, Traps};

impl Outcome {
    /// How long the call gets: so long that a slow machine does not matter, unless it is to run out.
    fn deadline(self) -> Instant {
        let patience = match self {
            Late => Duration::from_millis(300),
            _ => Duration::from_secs(20),
        };
        Instant::now() + patience
    }

    fn assert(self, what: &str, answer: &Answer) {
        let fits = match (self, answer) {
            (Fine, Ok(Ok(()))) | (Late, Err(CallError::Deadline(_))) => true,
            (Says(text), Ok(Err(said))) => said == text,
            (Traps(text), Err(error @ CallError::Trap { .. })) => chain(error).contains(text),
            _ => false,
        };
        let said = answer.as_ref().err().map(|error| chain(error));
        assert!(fits, "{what}: {self:?} expected: {answer:?} {said:?}");
    }
}

/// Call the component under test badly, between two good calls.
async fn between_good_calls(bench: &Bench, what: &str, outcome: Outcome) {
    let fine = bench.run("x").await;
    Fine.assert(&format!("before {what}"), &fine);
    let answer = bench.run_until("xx", outcome.deadline()).await;
    outcome.assert(what, &answer);
    let fine = bench.run("x").await;
    Fine.assert(&format!("after {what}"), &fine);
}

/// Make this the component under test.
async fn go_live(bench: &Bench, text: &str) {
    let it = bench.prepare_text(bench.spec(IT), text).await;
    let it = it.map_err(|error| format!("{}: {text}", chain(&error)));
    bench.go_live(IT, it.expect("prepared"));
}

/// The same of a component of its own.
async fn check(bench: &Bench, what: &str, text: &str, outcome: Outcome) {
    go_live(bench, text).await;
    between_good_calls(bench, what, outcome).await;
}

/// Whether this component's bad call is ended at its deadline and another component is answered meanwhile, though both
/// share what threads there are.
async fn runs_out_and_starves_nobody(bench: &Bench, what: &str, text: &str) {
    go_live(bench, text).await;
    let other = bench
        .prepare_text(bench.spec("other"), &job("", &[], ""))
        .await
        .expect("prepared");
    bench.go_live("other", other);
    let until = Instant::now() + Duration::from_secs(2);
    let (endless, answered) = tokio::join!(bench.run_until("xx", until), async {
        // So that the endless one is under way.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for _ in 0..3 {
            let call = Call::new("other", until);
            let answer = bench
                .runtime
                .run_job(&id("other"), "x".into(), 0, call)
                .await;
            Fine.assert(&format!("meanwhile {what}"), &answer);
        }
        Instant::now()
    });
    Late.assert(what, &endless);
    assert!(answered < until, "{what}: the others waited for it");
    let fine = bench.run("x").await;
    Fine.assert(&format!("after {what}"), &fine);
}

/// A function that a core module may import: its name there, its core type, how the component comes by it.
type Use<'a> = (&'a str, &'a str, &'a str);

/// The canonical definitions of what is used, the imports of it, and the instance that provides it.
fn used(uses: &[Use<'_>]) -> (String, String, String) {
    let all = |one: fn(&Use<'_>) -> String| uses.iter().map(one).collect::<String>();
    (
        all(|(name, _, canon)| format!("(core func ${name} (canon {canon}))\n")),
        all(|(name, ty, _)| format!("(import \"host\" \"{name}\" (func ${name} {ty}))\n")),
        all(|(name, _, _)| format!("(export \"{name}\" (func ${name}))\n")),
    )
}

/// A memory of four pages and room for one value at a time.
const LIBC: &str = r#"
    (core module $libc
      (memory (export "memory") 4)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
    (core instance $libc (instantiate $libc))"#;

/// A job that does `bad` if its name is longer than one letter. It never enters an instance again that did not come to
/// the end of a call.
fn job(head: &str, uses: &[Use<'_>], bad: &str) -> String {
    let (canons, imports, exports) = used(uses);
    format!(
        r#"(component
          {head} {LIBC} {canons}
          (core module $m
            (import "libc" "memory" (memory 1))
            {imports}
            (global $entered (mut i32) (i32.const 0))
            (func $bad (local $a i32) (local $b i32) (local $both i64) {bad})
            (func (export "run") (param i32 i32 i64) (result i32)
              (if (global.get $entered) (then unreachable))
              (global.set $entered (i32.const 1))
              (if (i32.gt_u (local.get 1) (i32.const 1)) (then (call $bad)))
              (global.set $entered (i32.const 0))
              i32.const 2048))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc)) (with "host" (instance {exports}))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $libc "memory") (realloc (func $libc "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

/// The same with the ABI of callbacks: `bad` and `callback` leave a code each.
fn callback_job(head: &str, uses: &[Use<'_>], bad: &str, callback: &str) -> String {
    let returns = (
        "return",
        "(param i32 i32 i32)",
        r#"task.return (result (result (error string))) (memory $libc "memory")"#,
    );
    let uses: Vec<Use<'_>> = uses.iter().copied().chain([returns]).collect();
    let (canons, imports, exports) = used(&uses);
    format!(
        r#"(component
          {head} {LIBC} {canons}
          (core module $m
            (import "libc" "memory" (memory 1))
            {imports}
            (global $entered (mut i32) (i32.const 0))
            (func $fine (call $return (i32.const 0) (i32.const 0) (i32.const 0)))
            (func $bad (result i32) (local $a i32) (local $b i32) (local $both i64) {bad})
            (func (export "run") (param i32 i32 i64) (result i32)
              (if (global.get $entered) (then unreachable))
              (global.set $entered (i32.const 1))
              (if (i32.gt_u (local.get 1) (i32.const 1)) (then (return (call $bad))))
              (global.set $entered (i32.const 0))
              (call $fine)
              i32.const 0)
            (func (export "callback") (param $event i32) (param $of i32) (param $payload i32) (result i32)
              {callback}))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc)) (with "host" (instance {exports}))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") async (callback (func $i "callback"))
              (memory $libc "memory") (realloc (func $libc "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}
