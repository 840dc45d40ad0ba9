//! Traces as a processor is given them, and what is told of them.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor as _};

use super::{Bounds, Missing, Ring, Wanted};
use crate::traces::names;

fn context(trace: u64, span: u64) -> SpanContext {
    let mut id = [0; 16];
    // The first digits differ, as those of ids do.
    id[..8].copy_from_slice(&trace.to_be_bytes());
    id[15] = 1;
    SpanContext::new(
        TraceId::from_bytes(id),
        SpanId::from_bytes(span.to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// A span of that many milliseconds, from a moment on. Parent 0: it has none.
fn span(trace: u64, span: u64, parent: u64, at_ms: u64, took_ms: u64) -> SpanData {
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms);
    SpanData {
        span_context: context(trace, span),
        parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: format!("span {span}").into(),
        start_time: start,
        end_time: start + Duration::from_millis(took_ms),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn failed(mut span: SpanData) -> SpanData {
    span.status = Status::error("it broke");
    span
}

fn of(mut span: SpanData, component: &'static str) -> SpanData {
    span.attributes
        .push(KeyValue::new(names::COMPONENT, component));
    span
}

fn linked(mut span: SpanData, to: SpanContext) -> SpanData {
    span.links.links.push(Link::with_context(to));
    span
}

fn kept(spans: impl IntoIterator<Item = SpanData>) -> Ring {
    let ring = Ring::default();
    for span in spans {
        ring.on_end(span);
    }
    ring
}

fn all(ring: &Ring, wanted: Wanted) -> Vec<u64> {
    let limit = 1_000_000;
    let listed = ring.list(&Wanted { limit, ..wanted });
    let number = |trace: &str| u64::from_str_radix(&trace[..16], 16).expect("an id");
    listed.iter().map(|it| number(&it.trace)).collect()
}

#[test]
fn a_list_has_what_failed_first_then_the_slowest_or_the_newest_where_that_is_asked_for() {
    let ring = kept([
        span(1, 1, 0, 1_000, 5),
        span(2, 1, 0, 2_000, 50),
        failed(span(3, 1, 0, 3_000, 1)),
        span(4, 1, 0, 4_000, 20),
    ]);
    assert_eq!(all(&ring, Wanted::default()), [3, 2, 4, 1]);
    let newest = Wanted {
        newest: true,
        ..Wanted::default()
    };
    assert_eq!(all(&ring, newest), [4, 3, 2, 1]);
}

#[test]
fn a_list_leaves_out_what_is_not_wanted() {
    let mut routed = of(span(1, 1, 0, 1_000, 5), "gateway");
    routed
        .attributes
        .push(KeyValue::new(names::HTTP_ROUTE, "/v1/movies/..."));
    let ring = kept([
        of(span(1, 2, 1, 1_001, 1), "rating"),
        routed,
        failed(span(2, 2, 1, 2_000, 1)),
        span(2, 1, 0, 2_000, 50),
    ]);
    let check = |wanted: Wanted, expected: &[u64]| assert_eq!(all(&ring, wanted), expected);
    let component = |name: &str| Wanted {
        component: Some(name.to_owned()),
        ..Wanted::default()
    };
    check(component("rating"), &[1]);
    check(component("metadata"), &[]);
    let route = |route: &str| Wanted {
        route: Some(route.to_owned()),
        ..Wanted::default()
    };
    check(route("/v1/movies/..."), &[1]);
    check(route("/v1"), &[]);
    let slow = Wanted {
        at_least: Some(Duration::from_millis(50)),
        ..Wanted::default()
    };
    check(slow, &[2]);
    // The trace as a whole did not fail, and something in it did.
    let failed = Wanted {
        failed: true,
        ..Wanted::default()
    };
    check(failed, &[2]);
    let late = Wanted {
        since: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
        ..Wanted::default()
    };
    check(late, &[2]);
    let listed = ring.list(&Wanted {
        limit: 1,
        ..Wanted::default()
    });
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].failed, listed[0].errors), (false, 1));
}

#[test]
fn a_trace_is_told_of_by_what_began_it_whichever_span_ends_first() {
    let mut later = span(1, 9, 7, 1_400, 300);
    later.parent_span_is_remote = true;
    let ring = kept([
        of(span(1, 3, 2, 1_002, 1), "rating"),
        of(span(1, 2, 1, 1_001, 3), "gateway"),
        later,
        span(1, 1, 0, 1_000, 5),
    ]);
    let listed = ring.list(&Wanted {
        limit: 9,
        ..Wanted::default()
    });
    let it = &listed[0];
    assert_eq!(
        (it.name.as_str(), it.took_us, it.spans),
        ("span 1", 5_000, 4)
    );
    assert!(it.whole && it.start_ms == 1_000, "{it:?}");
    assert_eq!(it.components, ["gateway", "rating"]);
}

#[test]
fn a_waterfall_has_each_span_behind_the_one_that_led_to_it_with_its_place_in_time() {
    let ring = kept([
        of(span(1, 3, 2, 1_003, 1), "rating"),
        span(1, 4, 3, 1_004, 1),
        span(1, 2, 1, 1_001, 5),
        span(1, 5, 1, 1_002, 1),
        of(span(1, 1, 0, 1_000, 8), "gateway"),
    ]);
    let shown = ring.show("0000000000000001").expect("it is there");
    let rows: Vec<_> = { shown.rows.iter() }
        .map(|it| (it.depth, it.name.as_str(), it.at_us, it.took_us))
        .collect();
    let expected = [
        (0, "span 1", 0, 8_000),
        (1, "span 2", 1_000, 5_000),
        (2, "span 3", 3_000, 1_000),
        (3, "span 4", 4_000, 1_000),
        (1, "span 5", 2_000, 1_000),
    ];
    assert_eq!(rows, expected);
    let components: Vec<_> = { shown.rows.iter() }
        .map(|it| it.component.as_deref().unwrap_or("-"))
        .collect();
    assert_eq!(
        components,
        ["gateway", "gateway", "rating", "rating", "gateway"]
    );
    assert_eq!((shown.start_ms, shown.took_us), (1_000, 8_000));
}

#[test]
fn what_goes_on_with_a_message_stands_below_what_it_is_linked_to() {
    let mut batch = linked(
        linked(span(7, 1, 0, 1_100, 40), context(1, 2)),
        context(8, 2),
    );
    batch.span_kind = SpanKind::Consumer;
    let ring = kept([
        span(1, 1, 0, 1_000, 8),
        of(span(1, 2, 1, 1_001, 5), "gateway"),
        batch,
        of(span(7, 2, 1, 1_110, 4), "rating"),
        linked(span(9, 1, 0, 1_200, 1), context(7, 2)),
        span(5, 1, 0, 1_000, 8),
    ]);
    let shown = ring.show("0000000000000001").expect("it is there");
    let rows: Vec<_> = { shown.rows.iter() }
        .map(|it| (it.depth, it.linked, &it.trace[..16], it.name.as_str()))
        .collect();
    let expected = [
        (0, false, "0000000000000001", "span 1"),
        (1, false, "0000000000000001", "span 2"),
        (2, true, "0000000000000007", "span 1"),
        (3, false, "0000000000000007", "span 2"),
        (4, true, "0000000000000009", "span 1"),
    ];
    assert_eq!(rows, expected);
    let components: Vec<_> = { shown.rows.iter() }
        .map(|it| it.component.as_deref().unwrap_or("-"))
        .collect();
    assert_eq!(components, ["-", "gateway", "rating", "rating", "rating"]);
    let elsewhere: Vec<_> = { shown.rows[2].links.iter() }
        .map(|it| &it.trace[..16])
        .collect();
    assert_eq!(elsewhere, ["0000000000000008"], "what is not shown here");
    assert_eq!(shown.took_us, 201_000);
}

#[test]
fn spans_without_their_parents_or_in_a_circle_are_shown_all_the_same() {
    let ring = kept([
        span(1, 3, 99, 1_000, 1),
        span(1, 5, 6, 1_001, 1),
        span(1, 6, 5, 1_002, 1),
        linked(span(1, 8, 0, 1_003, 1), context(1, 9)),
        linked(span(1, 9, 0, 1_004, 1), context(1, 8)),
    ]);
    let shown = ring.show("0000000000000001").expect("it is there");
    let mut names: Vec<_> = shown.rows.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["span 3", "span 5", "span 6", "span 8", "span 9"]);
}

#[test]
fn a_trace_is_named_by_its_first_digits_where_no_other_begins_so() {
    let ring = kept([
        span(0xabcd_0000_0000_0000, 1, 0, 0, 1),
        span(0xabce_0000_0000_0000, 1, 0, 0, 1),
    ]);
    assert!(ring.show("ABCD").is_ok());
    for (name, missing) in [
        ("abc", Missing::Name),
        ("abcx", Missing::Name),
        ("abcf", Missing::Unknown),
        ("", Missing::Name),
        (&"a".repeat(33), Missing::Name),
    ] {
        assert_eq!(ring.show(name).err(), Some(missing), "{name}");
    }
    let ring = kept([
        span(0xabcd_0000_0000_0000, 1, 0, 0, 1),
        span(0xabcd_1000_0000_0000, 1, 0, 0, 1),
    ]);
    assert_eq!(ring.show("abcd").err(), Some(Missing::Several));
}

#[test]
fn where_room_is_short_what_failed_and_what_is_slow_for_its_name_stays() {
    let ring = Ring::new(Bounds {
        bytes: 256 << 10,
        slowest: 4,
        ..Bounds::default()
    });
    for number in 1..10_000_u64 {
        // Jobs always take long; a request seldom does.
        let it = match number {
            17 => failed(span(17, 1, 0, 17, 1)),
            976 | 1_953 | 2_930 => span(number, 1, 0, number, 5_000),
            n if n % 100 == 0 => span(n, 2, 0, n, 10_000),
            n => span(n, 1, 0, n, n % 977),
        };
        ring.on_end(it);
        assert!(ring.size().1 <= 256 << 10);
    }
    let left = all(&ring, Wanted::default());
    assert_eq!(left[0], 17);
    assert!(left.contains(&9_999), "and what is recent");
    for number in [976, 1_953, 2_930] {
        assert!(left.contains(&number), "the slowest of the requests");
    }
    let jobs = left.iter().filter(|it| **it % 100 == 0 && **it < 9_000);
    assert!(jobs.count() <= 4, "{left:?}");
}

#[test]
fn many_failures_take_nothing_from_what_was_slow_and_one_long_trace_not_all_room() {
    let ring = Ring::new(Bounds {
        bytes: 256 << 10,
        spans: 20,
        ..Bounds::default()
    });
    ring.on_end(span(1, 1, 0, 1, 60_000));
    for number in 2..3_000 {
        ring.on_end(failed(span(number, 1, 0, number, 1)));
    }
    for number in 0..50 {
        ring.on_end(span(5_000, number + 1, number, number, 1));
    }
    let slow = Wanted {
        at_least: Some(Duration::from_secs(1)),
        ..Wanted::default()
    };
    assert_eq!(all(&ring, slow), [1]);
    let long = ring.show("0000000000001388").expect("it is there");
    assert_eq!((long.rows.len(), long.left_out), (20, 30));
}
