//! The partitions that this host holds: what it does with them, for people who ask, and a word to one that a person has
//! paused or set back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use marquee_bus::Partition;
use marquee_delivery::partition::State;
use tokio::sync::Notify;

/// What this host holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<BTreeMap<(String, Partition), Held>>>);

#[derive(Debug)]
struct Held {
    state: State,
    moved: Arc<Notify>,
}

impl Watch {
    /// What it does with a consumer's partition; none where it does not hold it.
    pub fn state(&self, consumer: &str, partition: &Partition) -> Option<State> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.get(&(consumer.to_owned(), partition.clone()));
        held.map(|held| held.state)
    }

    /// Where this host holds it: its position is to be read again.
    pub(crate) fn poke(&self, consumer: &str, partition: &Partition) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.get(&(consumer.to_owned(), partition.clone())) {
            held.moved.notify_one();
        }
    }

    /// Begin to tell of a partition; told no more when it is dropped.
    pub(crate) fn hold(&self, consumer: &str, partition: &Partition) -> Told {
        Told {
            watch: self.clone(),
            place: (consumer.to_owned(), partition.clone()),
            last: None,
            moved: Arc::default(),
        }
    }
}

/// A partition that is told of.
pub(crate) struct Told {
    watch: Watch,
    place: (String, Partition),
    last: Option<State>,
    moved: Arc<Notify>,
}

impl Told {
    /// It is in that state now.
    pub(crate) fn tell(&mut self, state: State) {
        if self.last.replace(state) != Some(state) {
            let mut held = self.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
            let moved = Arc::clone(&self.moved);
            held.insert(self.place.clone(), Held { state, moved });
        }
    }

    /// Its position is to be read again.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut held = self.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.place);
    }
}
