//! What instances hold, each for itself and all together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_runtime::{CallError, Limits, Room, chain};
use tokio::task::JoinSet;

use crate::support::{Bench, IT};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Calls at once that each wait until the deadline, and so many instances.
async fn burst(bench: &Arc<Bench>, name: &'static str, calls: usize) {
    let until = Instant::now() + Duration::from_millis(300);
    let mut waiting = JoinSet::new();
    for _ in 0..calls {
        let bench = Arc::clone(bench);
        waiting.spawn(async move { bench.run_in(name, "sleep 100", until).await });
    }
    while let Some(ended) = waiting.join_next().await {
        let ended = ended.expect("no panic");
        assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memories_of_an_instance_count_together() {
    let limits = Limits::default();
    let pages = limits.memory_bytes / 65_536 / 4;
    for (pages, fits) in [(pages, true), (pages + 1, false)] {
        let module = format!("(core module $m (memory {pages}))");
        let instance = "(core instance (instantiate $m))";
        let text = format!("(component {module} {})", instance.repeat(4));
        let bench = Bench::empty(limits.clone());
        let made = bench.prepare_text(bench.spec(IT), &text).await;
        assert_eq!(made.is_ok(), fits, "four memories of {pages} pages");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_an_instance_count_together() {
    for (elements, fits) in [(2_500, true), (2_501, false)] {
        let module = format!("(core module $m (table {elements} funcref))");
        let instance = "(core instance (instantiate $m))";
        let text = format!("(component {module} {})", instance.repeat(4));
        let bench = Bench::empty(Limits::default());
        let made = bench.prepare_text(bench.spec(IT), &text).await;
        let said = made.as_ref().err().map(|error| chain(error));
        assert_eq!(made.is_ok(), fits, "four tables of {elements}: {said:?}");
        let reason = "its tables may have 10000 elements together";
        assert!(said.is_none_or(|said| said.contains(reason)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_nobody_calls_for_long_go() {
    let room = Room {
        idle: Duration::from_millis(200),
        ..Room::default()
    };
    let bench = Arc::new(Bench::with_room(Limits::default(), room));
    bench.misbehave(IT).await;
    burst(&bench, IT, 4).await;
    let until = soon();
    while bench.places() > 0.0 {
        assert!(Instant::now() < until, "{} are there", bench.places());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.count().await, 1, "a new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_waits_for_a_call_gives_its_place_to_another_component() {
    let room = Room {
        instances: 4,
        ..Room::default()
    };
    let bench = Arc::new(Bench::with_room(Limits::default(), room));
    for name in [IT, "other"] {
        bench.misbehave(name).await;
    }
    burst(&bench, IT, 4).await;
    burst(&bench, "other", 4).await;
    burst(&bench, IT, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_place_is_taken_a_call_is_refused_and_no_version_is_to_blame() {
    let room = Room {
        instances: 1,
        ..Room::default()
    };
    let limits = Limits {
        queue_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let bench = Bench::with_room(limits, room);
    for name in [IT, "other"] {
        bench.misbehave(name).await;
    }
    let until = Instant::now() + Duration::from_secs(1);
    let (first, second) = tokio::join!(
        biased;
        bench.run_until("sleep 500", until),
        bench.run_in("other", "count", until)
    );
    assert!(matches!(first, Ok(Ok(()))), "{first:?}");
    assert!(matches!(second, Err(CallError::NoRoom(_))), "{second:?}");
    assert_eq!(bench.figures("other").errors, 0);
}

/// Eight that keep 10 MiB each, where there is room for five.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_calls_gives_its_memory_to_who_needs_it() {
    let room = Room {
        bytes: 60 << 20,
        ..Room::default()
    };
    let bench = Bench::with_room(Limits::default(), room);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        bench.misbehave(name).await;
    }
    for name in names.into_iter().cycle().take(24) {
        let kept = bench.run_in(name, "keep 10", soon()).await;
        assert!(matches!(kept, Ok(Ok(()))), "{name}: {kept:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_memory_left_a_call_fails_and_no_version_is_to_blame() {
    let room = Room {
        bytes: 20 << 20,
        ..Room::default()
    };
    let bench = Bench::with_room(Limits::default(), room);
    bench.misbehave(IT).await;
    let failed = bench.run("keep 30").await;
    assert!(matches!(failed, Err(CallError::NoRoom(_))), "{failed:?}");
    let figures = bench.figures(IT);
    assert_eq!((figures.errors, figures.excused), (0, 1));
    assert!(
        matches!(bench.run("keep 10").await, Ok(Ok(()))),
        "it goes on"
    );
}
