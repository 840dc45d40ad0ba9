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
    /// Why the bus gives nothing of it, if so.
    unreadable: Option<String>,
}

impl Watch {
    /// What it does with a consumer's partition; none where it does not hold it.
    pub fn state(&self, consumer: &str, partition: &Partition) -> Option<State> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.get(&(consumer.to_owned(), partition.clone()));
        held.map(|held| {
            held.unreadable
                .as_ref()
                .map_or(held.state, |_| State::Unreadable)
        })
    }

    /// Partitions that this host holds and cannot read, each with its consumer and the reason.
    pub fn unreadable(&self) -> Vec<String> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = held.iter().filter_map(|((consumer, partition), held)| {
            let reason = held.unreadable.as_ref()?;
            Some(format!("{consumer} cannot read {partition}: {reason}"))
        });
        unreadable.collect()
    }

    /// Where this host holds it: the bus gives nothing of it, and why; or does again. Returns whether that is new.
    pub(crate) fn reads(
        &self,
        consumer: &str,
        partition: &Partition,
        unreadable: Option<&str>,
    ) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.get_mut(&(consumer.to_owned(), partition.clone())) else {
            return false;
        };
        let is_new = held.unreadable.is_some() != unreadable.is_some();
        held.unreadable = unreadable.map(str::to_owned);
        is_new
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
            let known = held.entry(self.place.clone()).or_insert_with(|| Held {
                state,
                moved: Arc::clone(&self.moved),
                unreadable: None,
            });
            known.state = state;
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
