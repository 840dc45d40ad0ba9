//! Single rules of the actor, each for itself; that they hold together is the simulation's.

use std::collections::VecDeque;

use bytes::Bytes;
use marquee_bus::{Partition, Record};

use super::*;
use crate::Policy;

fn records(amount: i64) -> Vec<Incoming> {
    let one = |offset| Incoming {
        offset,
        published_at_ms: 1,
        record: Record {
            key: String::new(),
            value: Bytes::new(),
            headers: Vec::new(),
        },
    };
    (0..amount).map(one).collect()
}

fn at(next: i64, starts: u32) -> Position {
    let partition = Partition {
        topic: "t".to_owned(),
        number: 0,
    };
    Position {
        next,
        starts,
        began: Some(0),
        log: Some(LOG.to_owned()),
        ..Position::unseen("c", &partition)
    }
}

const LOG: &str = "the log";

/// An actor that was given a batch; hosts died here before, so often.
fn with_batch(amount: i64, deaths: u32, attempts: u32) -> (Actor, Action) {
    let mut consumer = Consumer::new("c");
    consumer.policy = Policy {
        attempts,
        ..Policy::default()
    };
    let (mut actor, action) = Actor::new(consumer, at(0, 0));
    assert!(matches!(action, Action::Load { log: true }));
    let log = Log {
        id: LOG.to_owned(),
        begin: 0,
        end: amount,
    };
    let action = actor.on(Event::Loaded(Ok((at(0, deaths), Some(log)))));
    assert!(matches!(action, Action::Seek(0)), "{action:?}");
    assert!(matches!(actor.on(Event::Sought(Ok(()))), Action::Await));
    let action = actor.on(Event::Batch(records(amount)));
    let Action::Start(position) = action else {
        panic!("the first batch of a holding is counted: {action:?}");
    };
    assert_eq!(position.starts(), deaths);
    let action = actor.on(Event::Started(Ok(at(0, deaths + 1))));
    (actor, action)
}

fn after(records: &[Incoming], done: usize) -> Summary {
    Summary {
        next: records.last().unwrap().offset + 1,
        done,
        ..Summary::default()
    }
}

fn failed(records: &Slice) -> Event {
    Event::Delivered(Delivered::Failed {
        error: "broken".to_owned(),
        messages: records.records().len(),
    })
}

#[test]
fn a_component_that_fails_at_everything_parks_few_messages_and_is_asked_seldom() {
    let (mut actor, mut action) = with_batch(500, 0, 8);
    let (mut calls, mut parked, mut pauses) = (0, 0, Vec::new());
    while pauses.len() < 10 {
        action = match action {
            Action::Deliver { records, .. } => {
                calls += 1;
                actor.on(failed(&records))
            }
            Action::Keep { record, .. } => {
                parked += 1;
                actor.on(Event::Kept(Ok(after(&[record], 0))))
            }
            Action::Rest { tries } => {
                pauses.push(tries);
                actor.on(Event::Rested)
            }
            other => panic!("{other:?}"),
        };
    }
    assert!(calls <= 30, "{calls} calls");
    assert_eq!(
        parked, 14,
        "five before the breaker opened, then one a pause"
    );
    assert!(pauses.is_sorted() && pauses[9] > pauses[0], "{pauses:?}");
    // It works again: all that is left goes in large pieces, without pauses.
    let mut sizes = VecDeque::new();
    loop {
        action = match action {
            Action::Deliver { records, .. } => {
                sizes.push_back(records.records().len());
                let summary = after(records.records(), records.records().len());
                actor.on(Event::Delivered(Delivered::Settled(summary)))
            }
            Action::More => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(sizes.pop_front(), Some(1), "one is tried");
    assert!(sizes.len() <= 8, "{sizes:?}");
}

#[test]
fn a_consumer_with_too_many_parked_messages_is_an_error_in_the_log_each_time_that_it_comes_to_that()
{
    let errors = marquee_testkit::errors();
    let (mut actor, _) = with_batch(4, 0, 8);
    for (next, crowded, said) in [(1, true, 1), (2, true, 1), (3, false, 1), (4, true, 2)] {
        let summary = Summary {
            next,
            done: 1,
            crowded,
            ..Summary::default()
        };
        actor.on(Event::Delivered(Delivered::Settled(summary)));
        assert_eq!(errors.with("parked and dead messages"), said);
    }
}

#[test]
fn the_death_of_a_host_costs_no_message_an_attempt() {
    for (deaths, expected) in [(0, (3, 1)), (1, (3, 1)), (2, (1, 1)), (3, (1, 2))] {
        let (_, action) = with_batch(3, deaths, 8);
        let Action::Deliver {
            records, attempt, ..
        } = action
        else {
            panic!("{action:?}");
        };
        let found = (records.records().len(), attempt);
        assert_eq!(found, expected, "after {deaths} deaths");
    }
    // With two attempts, a message has been delivered alone at least once before it is dead.
    for (deaths, is_kept) in [(2, false), (3, true)] {
        let (_, action) = with_batch(3, deaths, 2);
        assert_eq!(matches!(action, Action::Keep { .. }), is_kept);
    }
}

#[test]
fn a_delivery_that_others_are_always_in_the_way_of_is_halved_and_at_last_parked() {
    let (mut actor, mut action) = with_batch(2, 0, 8);
    let mut tries = Vec::new();
    loop {
        action = match action {
            Action::Deliver { records, .. } => {
                tries.push(records.records().len());
                actor.on(Event::Delivered(Delivered::Conflict))
            }
            Action::Rest { .. } => actor.on(Event::Rested),
            Action::Load { log: false } => actor.on(Event::Loaded(Ok((at(0, 1), None)))),
            Action::Keep { .. } => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(tries.iter().filter(|size| **size == 2).count(), 8);
    assert_eq!(tries.iter().filter(|size| **size == 1).count(), 8);
}

/// An actor at the beginning of a log that waits for records.
fn waiting(end: i64) -> Actor {
    let (mut actor, _) = Actor::new(Consumer::new("c"), at(0, 0));
    let log = log_from(0, end);
    let action = actor.on(Event::Loaded(Ok((at(0, 0), Some(log)))));
    assert!(matches!(action, Action::Seek(0)), "{action:?}");
    assert!(matches!(actor.on(Event::Sought(Ok(()))), Action::Await));
    actor
}

fn log_from(begin: i64, end: i64) -> Log {
    Log {
        id: LOG.to_owned(),
        begin,
        end,
    }
}

#[test]
fn what_retention_takes_from_a_consumer_that_is_at_work_is_lost_and_no_hole() {
    let mut actor = waiting(10);
    let late = records(10).split_off(7);
    let action = actor.on(Event::Batch(late.clone()));
    assert!(matches!(action, Action::Load { log: true }), "{action:?}");
    // The bus may be away just then; the question stays.
    let away = || Error::Database(marquee_database::Error::Refused("away"));
    let action = actor.on(Event::Loaded(Err(away())));
    assert!(matches!(action, Action::Rest { .. }), "{action:?}");
    let action = actor.on(Event::Rested);
    assert!(matches!(action, Action::Load { log: true }), "{action:?}");
    let action = actor.on(Event::Loaded(Ok((at(0, 0), Some(log_from(7, 10))))));
    let Action::Set { to, .. } = action else {
        panic!("{action:?}");
    };
    assert_eq!((to.next, to.why), (7, Why::Lost));
    // What was read comes once more, and the bus learns of it in its time.
    let action = actor.on(Event::Set(Ok(at(7, 0))));
    assert!(matches!(action, Action::Seek(7)), "{action:?}");
    assert!(matches!(actor.on(Event::Sought(Ok(()))), Action::Await));
    let action = actor.on(Event::Batch(late));
    assert!(matches!(action, Action::Start(_)), "{action:?}");
}

#[test]
fn offsets_without_a_message_are_passed_over_and_the_batch_is_not_read_twice() {
    let mut actor = waiting(10);
    let action = actor.on(Event::Batch(records(10).split_off(7)));
    assert!(matches!(action, Action::Load { log: true }), "{action:?}");
    let action = actor.on(Event::Loaded(Ok((at(0, 0), Some(log_from(0, 10))))));
    assert!(matches!(action, Action::Start(_)), "{action:?}");
    let action = actor.on(Event::Started(Ok(at(0, 1))));
    let Action::Deliver { records, .. } = action else {
        panic!("{action:?}");
    };
    assert_eq!(records.records().len(), 3);
}

#[test]
fn a_new_consumer_of_a_log_whose_beginning_is_gone_has_lost_nothing() {
    let mut new = at(0, 0);
    new.began = None;
    for (from, next) in [(crate::Begin::Earliest, 7), (crate::Begin::Latest, 10)] {
        let to = log::judge(&log_from(7, 10), &new, from).unwrap();
        assert_eq!((to.next, to.why), (next, Why::Anew), "{from:?}");
    }
}

#[test]
fn no_batch_waits_for_the_bus_to_learn_of_the_one_before_and_it_learns_before_the_partition_goes() {
    let (mut actor, action) = with_batch(3, 0, 8);
    let Action::Deliver { records, .. } = action else {
        panic!("{action:?}");
    };
    let summary = after(records.records(), 3);
    let action = actor.on(Event::Delivered(Delivered::Settled(summary)));
    assert!(matches!(action, Action::More), "{action:?}");
    assert!(matches!(actor.on(Event::Asked), Action::Await));
    let away = || marquee_bus::Error::Unavailable("away".to_owned());
    // Told when it is time, and again where it was not taken; reading goes on.
    assert!(matches!(actor.on(Event::Tell), Action::Commit(3)));
    let action = actor.on(Event::Committed(Err(away())));
    assert!(matches!(action, Action::Await), "{action:?}");
    let action = actor.on(Event::Leave);
    assert!(matches!(action, Action::Commit(3)), "{action:?}");
    let action = actor.on(Event::Committed(Err(away())));
    assert!(matches!(action, Action::GiveBack), "{action:?}");
}
