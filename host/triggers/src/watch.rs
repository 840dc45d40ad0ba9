//! The partitions that this host holds: what it does with them, for people who ask, and a word to one that a person has
//! paused or set back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use marquee_bus::Partition;
use marquee_delivery::partition::State;
use tokio::sync::Notify;

/// What this host holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    held: Arc<Mutex<BTreeMap<Place, Held>>>,
    /// Whose task panicked until the next one has gone on for a while: how many times in a row, and with what.
    panicked: Arc<Mutex<BTreeMap<Place, (u32, String)>>>,
}

/// A consumer and a partition.
type Place = (String, Partition);

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
        let held = lock(&self.held);
        let held = held.get(&(consumer.to_owned(), partition.clone()));
        held.map(|held| {
            held.unreadable
                .as_ref()
                .map_or(held.state, |_| State::Unreadable)
        })
    }

    /// Partitions that this host holds and does not get on with: those that it cannot read, and those whose task panicked.
    /// Each with its consumer and the reason.
    pub fn failing(&self) -> Vec<String> {
        let held = lock(&self.held);
        let unreadable = held.iter().filter_map(|((consumer, partition), held)| {
            let reason = held.unreadable.as_ref()?;
            Some(format!("{consumer} cannot read {partition}: {reason}"))
        });
        let panicked = lock(&self.panicked);
        let panicked = panicked.iter().map(|((consumer, partition), (_, reason))| {
            format!("{consumer} begins {partition} again: {reason}")
        });
        unreadable.chain(panicked).collect()
    }

    /// Its task panicked and is begun again. Returns how many have in a row, without one that went on for a while.
    pub(crate) fn panicked(&self, consumer: &str, partition: &Partition, reason: String) -> u32 {
        let mut panicked = lock(&self.panicked);
        let place = (consumer.to_owned(), partition.clone());
        let known = panicked.entry(place).or_default();
        *known = (known.0.saturating_add(1), reason);
        known.0
    }

    /// Its task has gone on for a while, or is over.
    pub(crate) fn is_well(&self, consumer: &str, partition: &Partition) {
        lock(&self.panicked).remove(&(consumer.to_owned(), partition.clone()));
    }

    /// Where this host holds it: the bus gives nothing of it, and why; or does again. Returns whether that is new.
    pub(crate) fn reads(
        &self,
        consumer: &str,
        partition: &Partition,
        unreadable: Option<&str>,
    ) -> bool {
        let mut held = lock(&self.held);
        let Some(held) = held.get_mut(&(consumer.to_owned(), partition.clone())) else {
            return false;
        };
        let is_new = held.unreadable.is_some() != unreadable.is_some();
        held.unreadable = unreadable.map(str::to_owned);
        is_new
    }

    /// Where this host holds it: its position is to be read again.
    pub(crate) fn poke(&self, consumer: &str, partition: &Partition) {
        let held = lock(&self.held);
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
            well_at: Some(Instant::now() + WELL),
            moved: Arc::default(),
        }
    }
}

/// A partition that is told of.
pub(crate) struct Told {
    watch: Watch,
    place: Place,
    last: Option<State>,
    /// When it has gone on for a while; none once that was told.
    well_at: Option<Instant>,
    moved: Arc<Notify>,
}

impl Told {
    /// It is in that state now.
    pub(crate) fn tell(&mut self, state: State) {
        if self.last.replace(state) != Some(state) {
            let mut held = lock(&self.watch.held);
            let known = held.entry(self.place.clone()).or_insert_with(|| Held {
                state,
                moved: Arc::clone(&self.moved),
                unreadable: None,
            });
            known.state = state;
        }
        if state != State::Waiting && self.well_at.is_some_and(|at| Instant::now() > at) {
            self.well_at = None;
            let (consumer, partition) = &self.place;
            self.watch.is_well(consumer, partition);
        }
    }

    /// Its position is to be read again.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut held = lock(&self.watch.held);
        held.remove(&self.place);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever panicked and goes on for so long is well again: what it panicked at came at once.
const WELL: Duration = Duration::from_secs(5);
