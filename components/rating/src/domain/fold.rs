//! Folding acts: of each user's acts on a record only the newest matters.
//!
//! Law: folding parts and then what is left of them, in any split and any order, leaves what folding all at once
//! leaves. So a batch may be cut, repeated and reordered without changing what the ratings come to.

use std::collections::BTreeMap;

use super::Event;

/// The newest act of each user on each record, in the order of records and users.
pub fn newest<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<&'a Event> {
    let mut kept: BTreeMap<_, &Event> = BTreeMap::new();
    for event in events {
        kept.entry((event.record(), event.user()))
            .and_modify(|old| {
                if old.age() < event.age() {
                    *old = event;
                }
            })
            .or_insert(event);
    }
    kept.into_values().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Aggregate, Change};

    fn event(id: u128, record: &str, user: &str, value: Option<u8>, at: u64) -> Event {
        let id = uuid::Uuid::from_u128(id).to_string();
        let change = value.map_or(Change::Delete, Change::Put);
        Event::parse(&id, "movie", record, user, change, at).unwrap()
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let one = (0..3_u8, 0..3_u8, proptest::option::of(1..=10_u8), 0..6_u64);
        proptest::collection::vec(one, 0..40).prop_map(|acts| {
            let acts = acts.into_iter().zip(1..);
            acts.map(|((record, user, value, at), id)| {
                event(id, &record.to_string(), &user.to_string(), value, at)
            })
            .collect()
        })
    }

    fn aggregate(events: &[&Event], record: &str) -> Aggregate {
        let values = events.iter().filter(|event| event.record().id() == record);
        values
            .filter_map(|event| event.value())
            .fold(Aggregate::default(), |all, value| Aggregate {
                sum: all.sum + u64::from(value),
                count: all.count + 1,
            })
    }

    proptest! {
        #[test]
        fn a_fold_in_any_split_gives_the_same_aggregate(events in events(), cuts in proptest::collection::vec(0..40_usize, 0..5)) {
            let mut parts = vec![events.as_slice()];
            for cut in cuts {
                let last = parts.pop().unwrap();
                let (left, right) = last.split_at(cut.min(last.len()));
                parts.extend([left, right]);
            }
            let folded: Vec<&Event> = parts.into_iter().flat_map(newest).collect();
            let folded = newest(folded);
            let whole = newest(&events);
            for record in ["0", "1", "2"] {
                prop_assert_eq!(aggregate(&folded, record), aggregate(&whole, record));
            }
            prop_assert_eq!(folded, whole);
        }

        #[test]
        fn the_order_and_a_repetition_do_not_matter(events in events(), shuffled in any::<prop::sample::Index>()) {
            let mut other: Vec<&Event> = events.iter().rev().chain(&events).collect();
            if !other.is_empty() {
                let middle = shuffled.index(other.len());
                other.rotate_left(middle);
            }
            prop_assert_eq!(newest(other), newest(&events));
        }
    }

    #[test]
    fn of_two_acts_at_one_time_the_greater_id_is_newer() {
        let (low, high) = (event(1, "r", "u", Some(3), 5), event(2, "r", "u", None, 5));
        assert_eq!(newest([&low, &high]), [&high]);
        assert_eq!(newest([&high, &low]), [&high]);
    }

    #[test]
    fn other_users_and_records_are_kept_apart() {
        let acts = [
            event(1, "r", "u", Some(3), 5),
            event(2, "r", "v", Some(4), 1),
            event(3, "s", "u", Some(5), 1),
        ];
        assert_eq!(newest(&acts), acts.iter().collect::<Vec<_>>());
    }
}
