//! What the host holds for a call of which others are under way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_runtime::{CallError, JOB, Spec};

use crate::support::{Bench, Gate, IT, from_words, id};

/// `take` takes a text, `give` answers with one of 1 MiB. Both pass the gate first.
const WORDS: &str = r#"(component
  (import "test:gate/it" (instance $gate (export "pass" (func))))
  (core func $pass (canon lower (func $gate "pass")))
  (core module $m
    (import "gate" "pass" (func $pass))
    (memory (export "memory") 18)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536)
    (func (export "take") (param i32 i32) (result i32) (call $pass) i32.const 0)
    (func (export "give") (result i32)
      (call $pass)
      (i32.store (i32.const 0) (i32.const 65536))
      (i32.store (i32.const 4) (i32.const 0x100000))
      i32.const 0))
  (core instance $i (instantiate $m
    (with "gate" (instance (export "pass" (func $pass))))))
  (func $take async (param "text" string) (result u32)
    (canon lift (core func $i "take") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $give async (result string) (canon lift (core func $i "give") (memory $i "memory")))
  (instance $words (export "take" (func $take)) (export "give" (func $give)))
  (export "test:words/it" (instance $words)))"#;

/// A job that does this as often as its name is long, and waits for nothing of it; then passes the last gate, and waits for a
/// last call. `$take` and `$give` are the functions, `$wait` is the first one as it is waited for.
fn caller(call: &str) -> String {
    format!(
        r#"(component
          (import "test:gate/it" (instance $gate (export "last" (func))))
          (import "test:words/it" (instance $words
            (export "take" (func async (param "text" string) (result u32)))
            (export "give" (func async (result string)))))
          (alias export $words "take" (func $take))
          (alias export $words "give" (func $give))
          (core module $libc
            (memory (export "memory") 18)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536))
          (core instance $libc (instantiate $libc))
          (core func $last (canon lower (func $gate "last")))
          (core func $wait (canon lower (func $take) (memory $libc "memory")))
          (core func $take (canon lower (func $take) async (memory $libc "memory")))
          (core func $give (canon lower (func $give) async
            (memory $libc "memory") (realloc (func $libc "realloc"))))
          (core module $m
            (import "libc" "memory" (memory 18))
            (import "gate" "last" (func $last))
            (import "words" "wait" (func $wait (param i32 i32) (result i32)))
            (import "words" "take" (func $take (param i32 i32 i32) (result i32)))
            (import "words" "give" (func $give (param i32) (result i32)))
            (func (export "run") (param i32 i32 i64) (result i32)
              (loop $more
                (drop {call})
                (br_if $more (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
              (call $last)
              (drop (call $wait (i32.const 65536) (i32.const 1)))
              i32.const 2048))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "gate" (instance (export "last" (func $last))))
            (with "words" (instance
              (export "wait" (func $wait)) (export "take" (func $take)) (export "give" (func $give))))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $libc "memory") (realloc (func $libc "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_calls_of_others_hold_for_a_call_is_bounded_and_awaiting_them_makes_room() {
    let take = "(call $take (i32.const 65536) (i32.const 0x100000) (i32.const 1024))";
    let wait = "(call $wait (i32.const 65536) (i32.const 0x100000))";
    let give = "(call $give (i32.const 1024))";
    for (call, times, is_too_much) in [
        (take, 20, false),
        (take, 40, true),
        (wait, 40, false),
        (give, 20, false),
        (give, 60, true),
    ] {
        let gate = Gate::closed();
        let [pass, last] = gate.0.clone();
        let bench = Bench::giving(Arc::new(gate));
        let words = bench.prepare_text(bench.spec("words"), WORDS).await;
        bench.go_live("words", words.expect("words"));
        let spec = Spec {
            dependencies: from_words(),
            ..bench.spec(IT)
        };
        let it = bench.prepare_text(spec, &caller(call)).await;
        bench.go_live(IT, it.expect("a caller"));

        let (what, before) = ("x".repeat(times), bench.figures("words"));
        let until = Instant::now() + Duration::from_secs(20);
        let made = u64::try_from(times).expect("small");
        let at_once = if call == wait { 1 } else { made };
        let since = || bench.figures("words").since(&before);
        let open = async {
            while since().in_flight < at_once {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            pass.add_permits(1_000);
            // Until all of them have their answers, which nobody has taken.
            while since().calls < made || since().in_flight > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            last.add_permits(1);
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = bench.run_until(&what, until) => ended,
            () = open => panic!("it does not end"),
        };
        let refused = matches!(&ended, Err(CallError::TooMuchPending(whose)) if *whose == id(IT));
        assert_eq!(refused, is_too_much, "{call} {times} times: {ended:?}");
        assert_eq!(
            ended.is_ok(),
            !is_too_much,
            "{call} {times} times: {ended:?}"
        );
        let errors = [IT, "words"].map(|name| bench.figures(name).errors);
        assert_eq!(errors, [u64::from(is_too_much), 0], "whose doing it was");
    }
}
