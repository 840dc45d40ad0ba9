//! Answers of components that are kept for a while, so that an equal call need not be made.
//!
//! Promise: an answer that is given from here comes from a call that began no longer than its `max_age` ago, and after all
//! that was heard by now of what it is about ([`Source`]). Equal calls at once are one call. What is kept are answers only: no
//! error of an interface, no trap, nothing late. Bound: [`BYTES`] of all components together, an eighth of a MiB of one
//! answer. Not here: which calls may have an answer from here ([`crate::Call`] says so), and who hears of what was touched.

mod key;
mod shelf;
mod source;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use marquee_manifest::{Cached, ComponentId};
use quick_cache::{
    Weighter, sync,
    sync::{EntryAction, EntryResult},
};
use tokio::time::Instant;
use wasmtime::component::Val;

pub use self::source::{Look, Source};
pub(crate) use self::{
    key::size as size_of,
    shelf::{Shelf, Shelves, shelves},
};
use crate::{CallError, is_error};

/// All answers that are kept, of all components.
pub struct Cache {
    kept: sync::Cache<Vec<u8>, Arc<Kept>, Weigh>,
    granted: BTreeMap<ComponentId, Vec<Cached>>,
    sources: Mutex<HashMap<ComponentId, Source>>,
    /// Numbers shelves.
    shelves: AtomicU64,
}

/// What came of a call.
struct Kept {
    /// None: nothing to keep. It is there for those who waited for it, who ask for themselves.
    answer: Option<Val>,
    bytes: usize,
    tags: Vec<Box<str>>,
    /// What had been heard when it began, and when that was.
    mark: u64,
    begun: Instant,
    ended: Instant,
}

/// What a call asks for.
struct Asked {
    key: Vec<u8>,
    tags: Vec<Box<str>>,
}

/// How a call that waited for an equal one goes on.
enum Waited {
    Has(Val),
    AsksItself,
}

impl Default for Cache {
    /// Keeps nothing.
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Cache {
    /// Keeps what is granted, by the component that exports it.
    pub fn new(granted: BTreeMap<ComponentId, Vec<Cached>>) -> Self {
        Self {
            kept: sync::Cache::with_weighter(ITEMS, BYTES, Weigh),
            granted,
            sources: Mutex::default(),
            shelves: AtomicU64::new(0),
        }
    }

    /// What is heard of a component's data.
    pub fn source(&self, component: &ComponentId) -> Source {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.entry(component.clone()).or_default().clone()
    }

    /// The answer to a call: one that is kept, or what `make` makes, which others then have too.
    pub(crate) async fn answer<F>(
        &self,
        shelf: &Shelf,
        params: &[Val],
        deadline: std::time::Instant,
        make: impl FnOnce() -> F,
    ) -> Result<Val, CallError>
    where
        F: Future<Output = Result<Val, CallError>>,
    {
        let asked = shelf.source.is_true().then(|| shelf.asked(params));
        let Some(Asked { key, tags }) = asked.flatten() else {
            return make().await;
        };
        if let Some(kept) = self.kept.get(key.as_slice())
            && shelf.is_good(&kept)
            && let Some(answer) = &kept.answer
        {
            return Ok(answer.clone());
        }
        let arrived = Instant::now();
        let waiting = self.kept.entry_async(key.as_slice(), |_, kept| {
            match &kept.answer {
                Some(answer) if shelf.is_good(kept) => {
                    EntryAction::Retain(Waited::Has(answer.clone()))
                }
                // One by one behind a call that fails, the last would wait for all of them.
                None if kept.ended >= arrived => EntryAction::Retain(Waited::AsksItself),
                _ => EntryAction::ReplaceWithGuard,
            }
        });
        // Whoever makes the call may have longer.
        let waited = tokio::time::timeout_at(deadline.into(), waiting).await;
        let waited = waited.map_err(|_| CallError::Deadline(shelf.component.clone()))?;
        let guard = match waited {
            EntryResult::Retained(Waited::Has(answer)) => return Ok(answer),
            EntryResult::Replaced(guard, _) | EntryResult::Vacant(guard) => guard,
            EntryResult::Retained(Waited::AsksItself)
            | EntryResult::Removed(..)
            | EntryResult::Timeout => return make().await,
        };
        // Before anything is read.
        let (mark, begun) = (shelf.source.mark(), Instant::now());
        // Where this is dropped meanwhile, so is the guard, and the next who waits makes the call.
        let made = make().await;
        let answer = made.as_ref().ok().filter(|answer| !is_error(answer));
        let answer = answer.map(|answer| (answer, key::size(answer)));
        let answer = answer.filter(|(_, bytes)| *bytes <= ANSWER_BYTES);
        // Where it was pushed out meanwhile, it is not kept.
        let _ = guard.insert(Arc::new(Kept {
            bytes: answer.map_or(0, |(_, bytes)| bytes),
            answer: answer.map(|(answer, _)| answer.clone()),
            tags,
            mark,
            begun,
            ended: Instant::now(),
        }));
        made
    }

    fn granted(&self, component: &ComponentId) -> &[Cached] {
        self.granted.get(component).map_or(&[], Vec::as_slice)
    }

    fn number(&self) -> u64 {
        self.shelves.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shelf {
    fn is_good(&self, kept: &Kept) -> bool {
        kept.begun.elapsed() < self.max_age && self.source.is_good(kept.mark, &kept.tags)
    }
}

/// What an entry takes, in bytes, and no less than its own parts do.
#[derive(Clone)]
struct Weigh;

impl Weighter<Vec<u8>, Arc<Kept>> for Weigh {
    fn weight(&self, key: &Vec<u8>, kept: &Arc<Kept>) -> u64 {
        let tags: usize = kept.tags.iter().map(|tag| tag.len() + 16).sum();
        u64::try_from(OWN_BYTES + key.len() + tags + kept.bytes).unwrap_or(u64::MAX)
    }
}

/// Tens of thousands of small answers; a small part of what instances have.
const BYTES: u64 = 32 << 20;
/// One that is larger is worth its call.
const ANSWER_BYTES: usize = 128 << 10;
/// The map's and the allocator's share of an entry: 64,000 at the most.
const OWN_BYTES: usize = 512;
/// For the map's first size: it grows.
const ITEMS: usize = 1_024;

#[cfg(test)]
mod tests;
