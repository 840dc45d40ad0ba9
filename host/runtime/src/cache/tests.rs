//! What is kept, for how long, and what makes it void: with calls that are stepped by hand.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::{FutureExt as _, future::join_all};
use tokio::sync::Semaphore;

use super::*;

/// A cache with one function, whose calls are counted and answered with their number.
struct Bench {
    cache: Cache,
    shelf: Shelf,
    calls: AtomicUsize,
    /// Lets calls answer.
    go: Semaphore,
}

impl Bench {
    /// Calls answer at once.
    fn new() -> Self {
        Self::with(Semaphore::MAX_PERMITS)
    }

    /// So many calls answer.
    fn with(answers: usize) -> Self {
        let cache = Cache::default();
        Self {
            shelf: Shelf::of_test(&cache, MAX_AGE),
            cache,
            calls: AtomicUsize::new(0),
            go: Semaphore::new(answers),
        }
    }

    /// Ask, and answer so where a call is made.
    async fn ask_for(
        &self,
        params: Vec<Val>,
        answer: impl FnOnce(u32) -> Result<Val, CallError>,
    ) -> Result<Val, CallError> {
        let make = || async {
            let number = self.calls.fetch_add(1, Ordering::SeqCst);
            self.go.acquire().await.expect("open").forget();
            answer(u32::try_from(number).expect("few"))
        };
        let deadline = (Instant::now() + DEADLINE).into();
        self.cache
            .answer(&self.shelf, &params, deadline, make)
            .await
    }

    /// The number of the call whose answer it is.
    async fn ask(&self, note: &str) -> u32 {
        let answer = self.ask_for(vec![text(note)], |number| Ok(Val::U32(number)));
        match answer.await {
            Ok(Val::U32(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

fn late() -> Result<Val, CallError> {
    Err(CallError::Deadline("notes".parse().expect("a name")))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_age_from_the_beginning_of_its_call() {
    let bench = Bench::with(0);
    let (first, ()) = tokio::join!(bench.ask("a"), async {
        tokio::time::sleep(MAX_AGE / 2).await;
        bench.go.add_permits(10);
    });
    assert_eq!((first, bench.ask("a").await), (0, 0));
    tokio::time::advance(MAX_AGE / 2 - Duration::from_millis(1)).await;
    assert_eq!(bench.ask("a").await, 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(bench.ask("a").await, 1);
    assert_eq!(bench.ask("b").await, 2);
    assert_eq!(bench.ask("a").await, 1);
}

#[tokio::test]
async fn equal_calls_at_once_are_one() {
    let bench = Bench::with(0);
    let all = join_all((0..100).map(|_| bench.ask("a")));
    let (answers, ()) = tokio::join!(all, async { bench.go.add_permits(100) });
    assert_eq!(answers, [0; 100]);
    assert_eq!(bench.calls(), 1);
}

#[tokio::test]
async fn a_failure_is_kept_by_nobody_and_those_who_waited_do_not_queue_behind_each_other() {
    let failures: [fn() -> Result<Val, CallError>; 2] = [late, || Ok(Val::Result(Err(None)))];
    for failure in failures {
        let bench = Bench::with(0);
        let all = (0..10).map(|_| bench.ask_for(vec![Val::U8(1)], |_| failure()));
        let all = join_all(all);
        let (answers, ()) = tokio::join!(all, async {
            assert_eq!(bench.calls(), 1);
            bench.go.add_permits(1);
            while bench.calls() < 10 {
                tokio::task::yield_now().await;
            }
            // All the others are under way at once.
            bench.go.add_permits(20);
        });
        assert!(
            answers
                .iter()
                .all(|answer| { matches!(answer, Err(_) | Ok(Val::Result(Err(_)))) })
        );
        let answer = bench.ask_for(vec![Val::U8(1)], |number| Ok(Val::U32(number)));
        assert!(matches!(answer.await, Ok(Val::U32(10))));
        let answer = bench.ask_for(vec![Val::U8(1)], |_| late());
        assert!(matches!(answer.await, Ok(Val::U32(10))));
    }
}

#[tokio::test]
async fn where_whoever_makes_the_call_goes_away_the_next_one_makes_it() {
    let bench = Bench::with(0);
    let mut first = Box::pin(bench.ask("a"));
    assert!(first.as_mut().now_or_never().is_none());
    let go = &bench.go;
    let (second, ()) = tokio::join!(bench.ask("a"), async move {
        drop(first);
        go.add_permits(1);
    });
    assert_eq!(second, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_until_its_own_deadline() {
    let bench = Bench::with(0);
    let mut first = Box::pin(bench.ask("a"));
    assert!(first.as_mut().now_or_never().is_none());
    let second = bench.ask_for(vec![text("a")], |_| late()).await;
    assert!(matches!(second, Err(CallError::Deadline(_))));
    assert_eq!(bench.calls(), 1);
}

#[tokio::test]
async fn what_is_touched_is_void_and_what_is_not_stays() {
    let bench = Bench::new();
    assert_eq!((bench.ask("a").await, bench.ask("b").await), (0, 1));
    let source = &bench.shelf.source;
    source.look().touched(vec!["note:a".to_owned()]);
    assert_eq!((bench.ask("a").await, bench.ask("b").await), (2, 1));
    assert_eq!((bench.ask("a").await, bench.ask("b").await), (2, 1));
    source.look().touched(Vec::new());
    assert_eq!((bench.ask("a").await, bench.ask("b").await), (2, 1));
    source.look().lost();
    assert_eq!((bench.ask("a").await, bench.ask("b").await), (3, 4));
}

#[tokio::test]
async fn what_is_touched_while_it_is_made_is_given_to_nobody_who_comes_later() {
    let bench = Bench::with(0);
    let mut first = Box::pin(bench.ask("a"));
    assert!(first.as_mut().now_or_never().is_none());
    let touched = vec!["note:a".to_owned()];
    bench.shelf.source.look().touched(touched);
    bench.go.add_permits(2);
    let (first, second) = tokio::join!(first, bench.ask("a"));
    assert_eq!((first, second), (0, 1));
}

#[tokio::test]
async fn after_a_write_of_ones_own_nothing_is_true_before_somebody_has_looked() {
    let bench = Bench::new();
    let source = &bench.shelf.source;
    assert_eq!(bench.ask("a").await, 0);
    let before = source.look();
    source.wrote();
    assert_eq!(bench.ask("a").await, 1);
    // It began before the write, and may have missed it.
    before.touched(Vec::new());
    assert_eq!(bench.ask("a").await, 2);
    drop(source.look());
    assert_eq!(bench.ask("a").await, 3);
    source.look().touched(Vec::new());
    assert_eq!(bench.ask("a").await, 0);
}

#[tokio::test]
async fn with_too_many_tags_all_is_void_and_they_are_forgotten() {
    let bench = Bench::new();
    let source = &bench.shelf.source;
    assert_eq!(bench.ask("a").await, 0);
    for n in 0..4 {
        let tags = (0..6_000).map(|tag| format!("note:{n}-{tag}"));
        source.look().touched(tags.collect());
        assert_eq!(bench.ask("a").await, u32::from(n == 3));
    }
    source.look().touched(vec!["note:a".to_owned()]);
    assert_eq!(bench.ask("a").await, 2);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_a_large_answer_is_not_kept() {
    let bench = Bench::new();
    for n in 0..100_000 {
        let answer = bench.ask_for(vec![Val::U32(n)], |_| Ok(text(&"x".repeat(1_000))));
        answer.await.expect("an answer");
    }
    assert!(bench.cache.kept.weight() <= BYTES);
    assert!(bench.cache.kept.len() > 10_000);
    let large = || text(&"x".repeat(ANSWER_BYTES));
    for call in 0..2 {
        let calls = bench.calls();
        let answer = bench.ask_for(vec![text("large")], |_| Ok(large())).await;
        assert_eq!(answer.expect("an answer"), large());
        assert_eq!(bench.calls(), calls + 1, "{call}");
    }
}

#[tokio::test]
async fn a_call_with_other_arguments_is_another_call() {
    let bench = Bench::new();
    let pair = |a: &str, b: &str| vec![text(a), text(b)];
    let nested = |inner: Vec<Val>| vec![text("n"), Val::List(inner)];
    let maybe = |value: Option<Val>| vec![text("o"), Val::Option(value.map(Box::new))];
    let all = [
        pair("a", "bc"),
        pair("ab", "c"),
        pair("abc", ""),
        nested(vec![text("a"), text("b")]),
        nested(vec![text("ab")]),
        nested(Vec::new()),
        maybe(None),
        maybe(Some(text(""))),
        vec![text("v"), Val::Variant("a".to_owned(), None)],
        vec![text("v"), Val::Variant("b".to_owned(), None)],
        vec![text("f"), Val::Float64(0.0)],
        vec![text("f"), Val::Float64(-0.0)],
    ];
    for _ in 0..2 {
        for (n, params) in all.iter().enumerate() {
            let answer = bench
                .ask_for(params.clone(), |number| Ok(Val::U32(number)))
                .await;
            assert_eq!(
                answer.expect("an answer"),
                Val::U32(u32::try_from(n).expect("few"))
            );
        }
    }
}

#[tokio::test]
async fn each_item_of_a_list_is_a_tag() {
    let bench = Bench::new();
    let source = &bench.shelf.source;
    let list = |ids: &[&str]| vec![Val::List(ids.iter().map(|id| text(id)).collect())];
    let ask = async |ids: &[&str]| {
        let answer = bench.ask_for(list(ids), |number| Ok(Val::U32(number)));
        answer.await.expect("an answer")
    };
    assert_eq!(ask(&["a", "b"]).await, Val::U32(0));
    assert_eq!(ask(&["b", "c"]).await, Val::U32(1));
    source.look().touched(vec!["note:a".to_owned()]);
    assert_eq!(ask(&["b", "c"]).await, Val::U32(1));
    assert_eq!(ask(&["a", "b"]).await, Val::U32(2));
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(ask(&many).await, Val::U32(3));
    assert_eq!(ask(&many).await, Val::U32(4));
    assert_eq!(ask(&many[1..]).await, Val::U32(5));
    assert_eq!(ask(&many[1..]).await, Val::U32(5));
}

const MAX_AGE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(10);
