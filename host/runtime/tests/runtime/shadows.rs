//! Shadows: copies of calls, and what comes of them.

use std::time::{Duration, Instant};

use marquee_registry::{Live, Shadow, Version, Weight};
use marquee_runtime::{Comparison, Limits, Prepared, Spec};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    calling::{caller, words},
    support::{Bench, IT, from_words, id},
};

/// Answers with another number than the live one.
const SEVEN: &str = "(i32.store (i32.const 1028) (i32.const 7))";
const TRAP: &str = "unreachable";
const SPIN: &str = "(loop $again (br $again))";
const GROW: &str =
    "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
/// Counts its calls in its own memory, and answers with that.
const COUNT: &str =
    "(i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
    (i32.store (i32.const 1028) (i32.load (i32.const 2048)))";

/// A caller of words that run this code, in whose shadow those of another stand.
struct Stage {
    bench: Bench,
    stop: CancellationToken,
}

impl Stage {
    async fn with(live: &str, shadow: &str, share: Weight) -> Self {
        let bench = Bench::empty(Limits {
            memory_bytes: 1 << 20,
            ..Limits::default()
        });
        let version = async |code: &str| -> Version<Prepared> {
            let payload = bench
                .prepare_text(bench.spec("words"), &words("async", code))
                .await
                .expect("words");
            Version {
                digest: payload.version(),
                payload,
            }
        };
        let live = Live {
            shadow: Some(Shadow {
                version: version(shadow).await,
                weight: share,
            }),
            ..{
                let stable = version(live).await;
                Live::only(stable.digest, stable.payload)
            }
        };
        bench.runtime.set_live(vec![(id("words"), live)]);
        let spec = Spec {
            dependencies: from_words(),
            ..bench.spec(IT)
        };
        let it = bench.prepare_text(spec, &caller("async", "say")).await;
        bench.go_live(IT, it.expect("a caller"));
        Self {
            bench,
            stop: CancellationToken::new(),
        }
    }

    /// From now on copies are made.
    fn begin(&self) {
        let (runtime, stop) = (self.bench.runtime.clone(), self.stop.clone());
        drop(TaskTracker::new().spawn(async move { runtime.shadow(stop).await }));
    }

    async fn call(&self) {
        assert_eq!(self.bench.run("x").await.expect("a call"), Ok(()));
    }

    fn known(&self) -> Comparison {
        let known = self.bench.runtime.comparison(&id("words"));
        known.expect("it has a shadow")
    }

    /// Wait until as many copies have come to an end.
    async fn ended(&self, copies: u64) -> Comparison {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let known = self.known();
            if known.compared + known.dropped == copies && known.copied == copies {
                return known;
            }
            assert!(Instant::now() < until, "{known:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_does_the_same_is_equal_and_in_no_figures() {
    // Another version of the same: what differs is the code that is never run.
    let stage = Stage::with("", "(if (i32.const 0) (then unreachable))", Weight::ALL).await;
    stage.begin();
    for _ in 0..5 {
        stage.call().await;
    }
    let known = stage.ended(5).await;
    assert_eq!((known.compared, known.equal), (5, 5), "{known:?}");
    assert!(known.differences.is_empty(), "{known:?}");
    assert_eq!(stage.bench.figures("words").calls, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_answers_otherwise_is_seen() {
    let stage = Stage::with("", SEVEN, Weight::ALL).await;
    stage.begin();
    stage.call().await;
    let known = stage.ended(1).await;
    assert_eq!((known.different, known.failed), (1, 0), "{known:?}");
    let difference = &known.differences[0];
    assert_eq!(difference.asked, "test:words/it.say");
    assert_eq!(difference.with, serde_json::json!({"n": 1}));
    let differs = &difference.differs[0];
    assert_eq!(differs.path, "answer.ok");
    assert_eq!((&differs.live, &differs.shadow), (&0.into(), &7.into()));
    assert_eq!((difference.differs.len(), difference.more), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_traps_hangs_or_takes_all_memory_harms_nobody_and_is_counted() {
    for (code, outcome) in [(TRAP, "trapped"), (SPIN, "late"), (GROW, "trapped")] {
        let stage = Stage::with("", code, Weight::ALL).await;
        stage.begin();
        let begun = Instant::now();
        for _ in 0..3 {
            stage.call().await;
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits");
        let known = stage.ended(3).await;
        assert_eq!((known.different, known.failed), (3, 3), "{known:?}");
        let differs = &known.differences[0].differs;
        assert!(
            differs
                .iter()
                .any(|one| one.path == "outcome" && one.shadow == outcome),
            "{differs:?}"
        );
        let figures = stage.bench.figures("words");
        assert_eq!((figures.calls, figures.errors, figures.excused), (3, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_live_version_does_not_do_twice_alike_is_no_difference() {
    let stage = Stage::with(COUNT, SEVEN, Weight::ALL).await;
    stage.begin();
    stage.call().await;
    let known = stage.ended(1).await;
    assert_eq!((known.unsteady, known.different), (1, 0), "{known:?}");
    // What the copies counted is in no memory that a call meets.
    let before = stage.bench.figures("words").calls;
    stage.call().await;
    assert_eq!(stage.bench.figures("words").calls, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_find_no_room_are_dropped_and_counted_and_calls_go_on() {
    let stage = Stage::with("", SEVEN, Weight::ALL).await;
    // Nobody makes them yet.
    for _ in 0..70 {
        stage.call().await;
    }
    let known = stage.known();
    assert_eq!((known.copied, known.dropped), (70, 6), "{known:?}");
    stage.begin();
    let known = stage.ended(70).await;
    assert_eq!((known.compared, known.different), (64, 64));
    assert_eq!(known.differences.len(), 50, "the newest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_copied_and_a_new_version_is_compared_from_the_beginning() {
    let stage = Stage::with("", SEVEN, "50%".parse().expect("a share")).await;
    for _ in 0..40 {
        stage.call().await;
    }
    let copied = stage.known().copied;
    assert!((5..=35).contains(&copied), "{copied} of 40");
    let live = stage.bench.runtime.live(&id("words")).expect("live");
    let only = Live::only(live.stable.digest, live.stable.payload.clone());
    stage.bench.runtime.set_live(vec![(id("words"), only)]);
    assert!(stage.bench.runtime.comparison(&id("words")).is_none());
    stage.call().await;
}
