//! One test for each thing that a component should not do.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_runtime::{CallError, JOB, Limits};
use tokio::task::JoinSet;

use crate::support::{Bench, IT, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_an_error_of_that_call_and_the_next_has_a_new_instance() {
    let bench = Bench::misbehaving(Limits::default()).await;
    for what in ["trap", "recurse", "grow", "huge"] {
        assert_eq!(bench.count().await, 1, "before {what}");
        let result = bench.run(what).await;
        assert!(
            matches!(result, Err(CallError::Trap { .. })),
            "{what}: {result:?}"
        );
        assert_eq!(bench.count().await, 1, "after {what}");
        // So that the next one begins with a new instance too.
        let trap = bench.run("trap").await;
        assert!(trap.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_is_ended_at_its_deadline() {
    let bench = Bench::misbehaving(Limits::default()).await;
    for what in ["spin", "wait"] {
        let begun = Instant::now();
        let result = bench
            .run_until(what, begun + Duration::from_millis(200))
            .await;
        assert!(
            matches!(result, Err(CallError::Deadline(_))),
            "{what}: {result:?}"
        );
        assert!(begun.elapsed() >= Duration::from_millis(200), "{what}");
        assert_eq!(bench.count().await, 1, "after {what}");
        assert!(bench.run("trap").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_answered_while_a_call_computes_without_end() {
    let bench = Bench::misbehaving(Limits::default()).await;
    let until = Instant::now() + Duration::from_secs(2);
    let (endless, answered) = tokio::join!(bench.run_until("spin", until), async {
        bench.count().await;
        Instant::now()
    });
    assert!(matches!(endless, Err(CallError::Deadline(_))));
    assert!(answered < until, "it did not wait for the endless one");
}

/// Sixteen endless calls on two threads: in turn with them each of the others would wait for some 5 ms, and all of them
/// for longer than the endless ones may last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_do_not_wait_behind_many_calls_that_compute_without_end() {
    let bench = Arc::new(Bench::misbehaving(Limits::default()).await);
    let until = Instant::now() + Duration::from_secs(6);
    let mut endless = JoinSet::new();
    for _ in 0..16 {
        let bench = Arc::clone(&bench);
        endless.spawn(async move { bench.run_until("spin", until).await });
    }
    let live = bench.runtime.live(&id(IT)).expect("it is live");
    while live.stable.payload.figures().in_flight < 16 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..2_000 {
        bench.count().await;
    }
    assert!(Instant::now() < until, "they waited for the endless ones");
    while let Some(ended) = endless.join_next().await {
        let ended = ended.expect("no panic");
        assert!(matches!(ended, Err(CallError::Deadline(_))), "{ended:?}");
    }
}

/// The instance of a call whose caller has gone is ended in order and never used again, whatever it was doing.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_ended_whether_it_computes_or_waits() {
    for what in ["spin", "wait"] {
        let bench = Bench::misbehaving(Limits::default()).await;
        assert_eq!(bench.count().await, 1);
        let live = bench.runtime.live(&id(IT)).expect("it is live");
        let figures = || live.stable.payload.figures();
        let until = Instant::now() + Duration::from_secs(20);
        let call = bench.run_until(what, until);
        let given_up = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(given_up.is_err(), "{what}: it goes on by itself");
        while figures().in_flight > 0 {
            assert!(Instant::now() < until, "{what}: it goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(bench.count().await, 1, "{what}: a new instance");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_there_may_be_are_refused_after_a_wait() {
    let bench = Bench::misbehaving(Limits {
        concurrent_calls: 1,
        queue_timeout: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let until = Instant::now() + Duration::from_secs(2);
    let (first, second) = tokio::join!(
        biased;
        bench.run_until("wait", until),
        bench.run("count")
    );
    assert!(matches!(first, Err(CallError::Deadline(_))), "{first:?}");
    assert!(
        matches!(second, Err(CallError::Overloaded(_))),
        "{second:?}"
    );
    assert_eq!(bench.count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_idle_when_no_call_has_its_turn_and_none_waits_for_it() {
    let bench = Bench::misbehaving(Limits {
        concurrent_calls: 1,
        ..Limits::default()
    })
    .await;
    let version = bench.runtime.live(&id(IT)).expect("it is live");
    let version = version.stable.payload.clone();
    assert!(version.is_idle());
    let until = Instant::now() + Duration::from_millis(500);
    let (_, second, ()) = tokio::join!(
        biased;
        bench.run_until("wait", until),
        bench.run("count"),
        async { assert!(!version.is_idle()) }
    );
    assert!(second.is_ok(), "{second:?}");
    while !version.is_idle() {
        assert!(
            Instant::now() < until + Duration::from_secs(5),
            "both have ended"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_may_wait_are_refused_at_once() {
    let bench = Bench::misbehaving(Limits {
        concurrent_calls: 1,
        queue: 1,
        queue_timeout: Duration::from_secs(20),
        ..Limits::default()
    })
    .await;
    let until = Instant::now() + Duration::from_secs(1);
    let (first, second, third) = tokio::join!(
        biased;
        bench.run_until("wait", until),
        bench.run("count"),
        async {
            let result = bench.run("count").await;
            (result, Instant::now())
        }
    );
    assert!(matches!(first, Err(CallError::Deadline(_))), "{first:?}");
    assert!(second.is_ok(), "it waited for its turn: {second:?}");
    let (third, answered) = third;
    assert!(matches!(third, Err(CallError::Overloaded(_))), "{third:?}");
    assert!(answered < until, "it did not wait");
}

/// How many calls the instances had that are gone, of so many calls one after the other.
async fn lives(bench: &Bench, calls: u32) -> Vec<u64> {
    let mut last = 0;
    let mut lives = Vec::new();
    for _ in 0..calls {
        let count = bench.count().await;
        if count == 1 && last > 0 {
            lives.push(last);
        }
        last = count;
    }
    lives
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_lives_as_long_as_it_is_sound() {
    let bench = Bench::misbehaving(Limits::default()).await;
    assert_eq!(lives(&bench, 2_000).await, [] as [u64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_manifest_says_so_an_instance_is_replaced_after_so_many_calls_by_chance() {
    let limits = Limits {
        instance_calls: NonZeroU32::new(100),
        ..Limits::default()
    };
    let bench = Bench::misbehaving(limits).await;
    let lives = lives(&bench, 1_000).await;
    assert!(lives.len() >= 9, "{lives:?}");
    assert!(
        lives.iter().all(|calls| (50..=100).contains(calls)),
        "{lives:?}"
    );
}

/// A quarter of what it may have is what an instance may keep for the next call.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_a_call_left_with_much_memory_is_replaced() {
    let bench = Bench::misbehaving(Limits::default()).await;
    assert!(matches!(bench.run("keep 10").await, Ok(Ok(()))));
    assert_eq!(bench.count().await, 2, "it is little");
    assert!(matches!(bench.run("keep 10").await, Ok(Ok(()))));
    assert_eq!(bench.count().await, 1, "a new instance");
}

/// A job that opens as many handles as its name is long, closes none, and fails with a text as long as its instance has had
/// calls.
fn hoarding() -> String {
    format!(
        r#"(component
          (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
          (alias export $poll "pollable" (type $pollable))
          (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable (type $outer))
            (export "pollable" (type $pollable (eq $outer)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
          (core func $subscribe (canon lower (func $clock "subscribe-duration")))
          (core module $m
            (import "clock" "subscribe" (func $subscribe (param i64) (result i32)))
            (memory (export "memory") 1)
            (global $calls (mut i32) (i32.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
            (func (export "run") (param i32 i32 i64) (result i32)
              (loop $more
                (drop (call $subscribe (i64.const 1)))
                (br_if $more (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
              (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
              (i32.store8 (i32.const 2048) (i32.const 1))
              (i32.store (i32.const 2052) (i32.const 8192))
              (i32.store (i32.const 2056) (global.get $calls))
              i32.const 2048))
          (core instance $i (instantiate $m
            (with "clock" (instance (export "subscribe" (func $subscribe))))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_calls_left_with_many_handles_is_replaced() {
    let bench = Bench::empty(Limits::default());
    let it = bench.prepare_text(bench.spec(IT), &hoarding()).await;
    bench.go_live(IT, it.expect("prepared"));
    for (handles, calls) in [(8, 1), (4, 2), (33, 3), (1, 1), (1, 2)] {
        let had = bench.run(&"x".repeat(handles)).await.expect("a call");
        assert_eq!(had.expect_err("a text").len(), calls, "{handles} more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_counted_against_the_version() {
    let bench = Bench::misbehaving(Limits::default()).await;
    let live = bench.runtime.live(&id(IT)).expect("it is live");
    let before = live.stable.payload.figures();
    let trap = bench.run("trap").await;
    assert!(trap.is_err());
    bench.count().await;
    let since = live.stable.payload.figures().since(&before);
    // "count" answers by an error of its own, which is one of the job too.
    assert_eq!((since.calls, since.errors, since.in_flight), (2, 2, 0));
}

/// A job that has the host panic when its name has more than one letter.
fn provoking() -> String {
    format!(
        r#"(component
          (import "test:buggy/it" (instance $host (export "panic" (func))))
          (core func $panic (canon lower (func $host "panic")))
          (core module $m
            (import "host" "panic" (func $panic))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
            (func (export "run") (param i32 i32 i64) (result i32)
              (if (i32.gt_u (local.get 1) (i32.const 1)) (then (call $panic)))
              i32.const 2048))
          (core instance $i (instantiate $m
            (with "host" (instance (export "panic" (func $panic))))))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_host_is_an_error_of_that_call_and_speaks_against_the_version() {
    let bench = Bench::empty(Limits::default());
    let it = bench.prepare_text(bench.spec(IT), &provoking()).await;
    bench.go_live(IT, it.expect("prepared"));
    for _ in 0..3 {
        assert!(matches!(bench.run("x").await, Ok(Ok(()))));
        let failed = bench.run("xx").await;
        assert!(matches!(failed, Err(CallError::Panicked(_))), "{failed:?}");
    }
    let live = bench.runtime.live(&id(IT)).expect("it is live");
    let figures = live.stable.payload.figures();
    assert_eq!(
        (figures.calls, figures.errors, figures.in_flight),
        (6, 3, 0)
    );
}
