//! Calls of which nothing stands: what they would have done is noted instead.
//!
//! Promise: what a capability does outside of a call's own memory it asks here first ([`crate::Call::dry_run`]): in a dry run
//! it notes what it would have done, or refuses it. Bound: [`MESSAGES`] messages and [`BYTES`] of them are noted of one;
//! of what is beyond it is known how many there were.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// What a call that is a dry run would have done, and all calls that it leads to. Clones are of the same one.
#[derive(Debug, Clone, Default)]
pub struct DryRun(Arc<Mutex<Effects>>);

/// What would stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Messages, in the order in which they were published.
    pub published: Vec<Published>,
    /// How many more there were.
    pub left_out: usize,
    /// Of each table, by schema and name, how many rows were inserted, updated and deleted.
    pub written: BTreeMap<String, [i64; 3]>,
    /// It was ended for the sake of others: what came of it says nothing.
    pub gave_way: bool,
    bytes: usize,
}

/// A message that was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The topic.
    pub topic: String,
    /// What orders it.
    pub key: String,
    /// Those that the component gave it.
    pub headers: BTreeMap<String, String>,
    /// The payload.
    pub value: Bytes,
}

impl DryRun {
    /// It would have published this.
    pub fn publishes(&self, message: Published) {
        let mut effects = self.lock();
        let bytes = effects.bytes + message.topic.len() + message.key.len() + message.value.len();
        if effects.published.len() == MESSAGES || bytes > BYTES {
            effects.left_out += 1;
            return;
        }
        effects.bytes = bytes;
        effects.published.push(message);
    }

    /// It would have inserted, updated and deleted so many rows of a table.
    pub fn writes(&self, table: &str, rows: [i64; 3]) {
        let mut effects = self.lock();
        let known = effects.written.entry(table.to_owned()).or_default();
        for (known, more) in known.iter_mut().zip(rows) {
            *known += more;
        }
    }

    /// It, or a part of it, was ended since it was in the way of others, or they in its.
    pub fn gives_way(&self) {
        self.lock().gave_way = true;
    }

    /// All of it.
    pub fn effects(&self) -> Effects {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Effects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of one dry run.
const MESSAGES: usize = 100;
/// A few of the largest that the bus takes would be too much to keep for a comparison.
const BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_too_much_it_is_known_how_much_it_was() {
        let run = DryRun::default();
        let message = |bytes| Published {
            topic: "t".to_owned(),
            key: String::new(),
            headers: BTreeMap::new(),
            value: Bytes::from(vec![0; bytes]),
        };
        run.publishes(message(BYTES));
        assert_eq!(run.effects().left_out, 1);
        for _ in 0..=MESSAGES {
            run.publishes(message(1));
        }
        run.writes("public.notes", [1, 0, 0]);
        run.writes("public.notes", [1, 2, 0]);
        let effects = run.effects();
        assert_eq!((effects.published.len(), effects.left_out), (MESSAGES, 2));
        assert_eq!(effects.written["public.notes"], [2, 2, 0]);
    }
}
