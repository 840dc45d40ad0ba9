//! `plan` and `judge` against a model that takes messages one at a time and knows nothing of batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// A message of the generated log: `(key, number)`; key 0 is the empty key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id {
    key: u8,
    number: i64,
    numbered: bool,
}

impl Id {
    fn event(self) -> Uuid {
        let key = u128::from(self.key);
        let number = u128::try_from(self.number).unwrap();
        Uuid::from_u128(1 + key + (number << 8) + (u128::from(self.numbered) << 64))
    }

    fn decoded(self, offset: i64, undecodable: bool) -> Decoded {
        let key = if self.key == 0 {
            String::new()
        } else {
            format!("k{}", self.key)
        };
        Decoded {
            offset,
            message: Message {
                event_id: self.event(),
                source: if self.numbered { "s" } else { "" }.to_owned(),
                seq: self.numbered.then_some(self.number),
                topic: "t".to_owned(),
                key,
                value: Bytes::new(),
                headers: Vec::new(),
                published_at_ms: 0,
                attempt: 1,
            },
            undecodable: undecodable.then(|| "bad".to_owned()),
            ordered: self.key != 0,
        }
    }
}

/// What a message will say when it is delivered; the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Done,
    Retry,
    Reject,
    Undecodable,
}

fn verdict(nature: Nature) -> Verdict {
    match nature {
        Nature::Done => Verdict::Done,
        Nature::Retry => Verdict::Retry("later".to_owned()),
        Nature::Reject | Nature::Undecodable => Verdict::Reject("never".to_owned()),
    }
}

/// A key's parked messages in their order: (number or 0, arrival) -> (event, dead).
type Parked = BTreeMap<(i64, usize), (Uuid, bool)>;

/// The world as one message after the other leaves it.
#[derive(Debug, Default, PartialEq, Eq)]
struct World {
    /// In the order of their effects.
    done: Vec<Uuid>,
    parked: BTreeMap<Key, Parked>,
    /// Without order.
    loose: Vec<(Uuid, bool)>,
    last: BTreeMap<Key, i64>,
    seen: std::collections::BTreeSet<Uuid>,
    arrivals: usize,
}

impl World {
    fn keep(&mut self, record: &Decoded, dead: bool) {
        let message = &record.message;
        self.arrivals += 1;
        if message.key.is_empty() {
            if !self.loose.iter().any(|(id, _)| *id == message.event_id) {
                self.loose.push((message.event_id, dead));
            }
            return;
        }
        let parked = self.parked.entry(key_of(message)).or_default();
        if !parked.values().any(|(id, _)| *id == message.event_id) {
            parked.insert(
                (message.seq.unwrap_or(0), self.arrivals),
                (message.event_id, dead),
            );
        }
    }

    fn blocked(&self, message: &Message) -> bool {
        self.parked.contains_key(&key_of(message))
    }

    fn deliver(&mut self, record: &Decoded, nature: Nature) {
        match nature {
            Nature::Done => self.done.push(record.message.event_id),
            Nature::Retry => self.keep(record, false),
            Nature::Reject | Nature::Undecodable => self.keep(record, true),
        }
    }

    /// The naive rules.
    fn take(&mut self, record: &Decoded, nature: Nature) {
        let message = &record.message;
        let dead = record.undecodable.is_some();
        if let Some(seq) = message.seq {
            let last = self.last.entry(key_of(message)).or_default();
            if seq <= *last {
                return;
            }
            let in_order = seq == *last + 1;
            if in_order {
                *last = seq;
            }
            if dead || !in_order || self.blocked(message) {
                self.keep(record, dead);
            } else {
                self.deliver(record, nature);
            }
        } else if dead {
            self.keep(record, true);
        } else if self.seen.insert(message.event_id) {
            if self.blocked(message) {
                self.keep(record, false);
            } else {
                self.deliver(record, nature);
            }
        }
    }

    /// The same through `plan` and `judge`, as a caller goes through a batch. Returns the deliveries it took.
    fn take_batch(&mut self, records: &[(Decoded, Nature)]) -> usize {
        let mut states = States::default();
        for (record, _) in records {
            let key = key_of(&record.message);
            let state = KeyState {
                last_seq: self.last.get(&key).copied().unwrap_or(0),
                last_event: None,
                parked: self
                    .parked
                    .get(&key)
                    .map_or(0, |rows| i32::try_from(rows.len()).unwrap()),
            };
            if state != KeyState::default() {
                states.keys.insert(key, state);
            }
            if !self.seen.contains(&record.message.event_id) {
                states.fresh.insert(record.message.event_id);
            }
        }
        let decoded = records.iter().map(|(record, _)| record.clone()).collect();
        let plan = plan(decoded, &states, false);
        let delivered: Vec<Uuid> = plan.deliveries().map(|message| message.event_id).collect();
        let natures: HashMap<Uuid, Nature> = records
            .iter()
            .map(|(record, nature)| (record.message.event_id, *nature))
            .collect();
        let verdicts: Vec<Verdict> = delivered.iter().map(|id| verdict(natures[id])).collect();
        let policy = Policy::default();
        match plan.judge(&verdicts, &policy, "retry").unwrap() {
            Judged::Split(first) => {
                assert!(first > 0 && first < records.len(), "a split gets nowhere");
                self.take_batch(&records[..first]) + self.take_batch(&records[first..])
            }
            Judged::Settle(outcome) => {
                for id in &delivered {
                    if natures[id] == Nature::Done {
                        self.done.push(*id);
                    }
                }
                for (record, _) in records {
                    if record.message.seq.is_none() && record.undecodable.is_none() {
                        self.seen.insert(record.message.event_id);
                    }
                }
                self.check_due(&outcome);
                for row in &outcome.rows {
                    let ordered = !row.message.key.is_empty();
                    let record = Decoded {
                        offset: row.offset,
                        message: row.message.clone(),
                        undecodable: (row.reason == "undecodable").then(String::new),
                        ordered,
                    };
                    self.keep(&record, row.state == "dead");
                    assert_eq!(row.ordered, ordered);
                }
                for (key, after) in outcome.keys {
                    let last = self.last.entry(key).or_default();
                    *last = after.last_seq.max(*last);
                }
                delivered.len()
            }
        }
    }

    /// Of each key at most the first kept row is due; where no row of the key was kept before, that one is, unless it
    /// is dead or beyond a gap.
    fn check_due(&self, outcome: &Outcome) {
        let mut first: BTreeMap<Key, &Row> = BTreeMap::new();
        for row in outcome.rows.iter().filter(|row| row.ordered) {
            let entry = first.entry(key_of(&row.message)).or_insert(row);
            if row.message.seq.unwrap_or(0) < entry.message.seq.unwrap_or(0) {
                *entry = row;
            }
        }
        for row in outcome.rows.iter().filter(|row| row.ordered) {
            let is_first = std::ptr::eq(first[&key_of(&row.message)], row);
            let can_be = is_first && row.state == "parked" && row.reason != "gap";
            assert_eq!(row.due_in.is_some(), can_be, "{row:?}");
        }
    }
}

fn ids() -> impl Strategy<Value = (Id, Nature)> {
    let nature = prop_oneof![
        12 => Just(Nature::Done),
        2 => Just(Nature::Retry),
        1 => Just(Nature::Reject),
        1 => Just(Nature::Undecodable),
    ];
    (0_u8..4, 1_i64..8, any::<bool>(), nature).prop_map(|(key, number, numbered, nature)| {
        let id = Id {
            key,
            number,
            numbered: numbered && key > 0,
        };
        (id, nature)
    })
}

/// A stream of numbered keys in order with redeliveries and holes, mixed with messages without numbers.
fn streams() -> impl Strategy<Value = Vec<(Id, Nature)>> {
    let mostly_in_order = prop::collection::vec((ids(), 0_u8..10), 0..60).prop_map(|drawn| {
        let mut next: BTreeMap<u8, i64> = BTreeMap::new();
        let mut stream = Vec::new();
        for ((mut id, nature), chance) in drawn {
            if id.numbered {
                let number = next.entry(id.key).or_insert(1);
                match chance {
                    // A redelivery of anything, or a hole.
                    0 => id.number = id.number.min(*number),
                    1 => {
                        *number += 1;
                        id.number = *number;
                        *number += 1;
                    }
                    _ => {
                        id.number = *number;
                        *number += 1;
                    }
                }
            }
            stream.push((id, nature));
        }
        stream
    });
    prop_oneof![3 => mostly_in_order, 1 => prop::collection::vec(ids(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_come_to_the_same_as_one_message_at_a_time(
        stream in streams(),
        cuts in prop::collection::vec(1_usize..20, 1..30),
    ) {
        // The nature belongs to the event: the first one drawn for an id holds.
        let mut natures: HashMap<Id, Nature> = HashMap::new();
        let records: Vec<(Decoded, Nature)> = stream
            .into_iter()
            .enumerate()
            .map(|(offset, (id, nature))| {
                let nature = *natures.entry(id).or_insert(nature);
                let offset = i64::try_from(offset).unwrap();
                (id.decoded(offset, nature == Nature::Undecodable), nature)
            })
            .collect();

        let mut naive = World::default();
        for (record, nature) in &records {
            naive.take(record, *nature);
        }
        let mut batched = World::default();
        let mut rest = records.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            batched.take_batch(batch);
            rest = after;
        }

        // Effects of different keys commute; those of one key do not.
        let by_key = |world: &World| {
            let mut keys: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
            for id in &world.done {
                let (record, _) = records.iter().find(|(record, _)| record.message.event_id == *id).unwrap();
                let key = &record.message.key;
                let source = &record.message.source;
                let name = if key.is_empty() { id.to_string() } else { format!("{source}/{key}") };
                keys.entry(name).or_default().push(*id);
            }
            keys
        };
        prop_assert_eq!(by_key(&naive), by_key(&batched));
        let kept = |world: &World| -> BTreeMap<Key, Vec<(Uuid, bool)>> {
            world.parked.iter().map(|(key, rows)| (key.clone(), rows.values().copied().collect())).collect()
        };
        prop_assert_eq!(kept(&naive), kept(&batched));
        prop_assert_eq!(&naive.loose, &batched.loose);
        let last = |world: &World| -> BTreeMap<Key, i64> {
            world.last.iter().filter(|(_, last)| **last > 0).map(|(key, last)| (key.clone(), *last)).collect()
        };
        prop_assert_eq!(last(&naive), last(&batched));
        prop_assert_eq!(&naive.seen, &batched.seen);
    }
}

#[test]
fn a_consumer_that_joins_late_may_take_the_first_number_it_sees_as_the_beginning() {
    let id = |number| Id {
        key: 1,
        number,
        numbered: true,
    };
    let records = || vec![id(5).decoded(0, false), id(6).decoded(1, false)];
    let strict = plan(records(), &States::default(), false);
    assert_eq!(strict.deliveries().count(), 0);
    let late = plan(records(), &States::default(), true);
    assert_eq!(late.deliveries().count(), 2);
}

#[test]
fn verdicts_that_are_not_one_for_each_message_are_refused() {
    let id = Id {
        key: 0,
        number: 1,
        numbered: false,
    };
    let states = States {
        fresh: [id.event()].into(),
        ..States::default()
    };
    let planned = plan(vec![id.decoded(0, false)], &states, false);
    let judged = planned.judge(&[], &Policy::default(), "retry");
    assert!(matches!(
        judged,
        Err(Error::Verdicts {
            expected: 1,
            given: 0
        })
    ));
}
