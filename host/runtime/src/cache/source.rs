//! What is heard of a component's data: that something of it was touched, and how far one has looked.
//!
//! Whoever follows it looks again and again at what was touched, and says what it found. Between a write of this host's own
//! and the end of a look that began after it, nothing that was kept is true. Bound: [`TAGS`] tags; with more, all that was
//! kept is void.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// Of one component. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Source(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Writes of this host's own, and how many of them a look has seen.
    written: AtomicU64,
    seen: AtomicU64,
    woken: Notify,
    heard: RwLock<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// Grows with all that is heard.
    mark: u64,
    /// What began before it is void.
    all: u64,
    /// What began before it and is about this is void.
    tags: HashMap<Box<str>, u64>,
}

/// A look at what was touched, from its beginning.
#[derive(Debug)]
#[must_use]
pub struct Look {
    source: Source,
    written: u64,
}

impl Source {
    /// This host has written, and may have touched something: it stands by now. To be said before anybody else is told of
    /// the write.
    pub fn wrote(&self) {
        self.0.written.fetch_add(1, Ordering::SeqCst);
        self.0.woken.notify_one();
    }

    /// Wait until this host has written since the last time.
    pub async fn written(&self) {
        self.0.woken.notified().await;
    }

    /// Begin to look: what stands by now will be found.
    pub fn look(&self) -> Look {
        Look {
            source: self.clone(),
            written: self.0.written.load(Ordering::SeqCst),
        }
    }

    /// Whether no write of this host's is still to be looked for.
    pub(super) fn is_true(&self) -> bool {
        self.0.written.load(Ordering::SeqCst) == self.0.seen.load(Ordering::SeqCst)
    }

    /// What has been heard by now. What is read from now on has all of it.
    pub(super) fn mark(&self) -> u64 {
        let heard = self.0.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.mark
    }

    /// Whether nothing was heard of these since.
    pub(super) fn is_good(&self, mark: u64, tags: &[Box<str>]) -> bool {
        let heard = self.0.heard.read().unwrap_or_else(PoisonError::into_inner);
        let touched = |tag: &str| heard.tags.get(tag).is_some_and(|touched| *touched > mark);
        heard.all <= mark && !tags.iter().any(|tag| touched(tag))
    }

    fn hear(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.0.heard.write().unwrap_or_else(PoisonError::into_inner);
        heard.mark += 1;
        change(&mut heard);
        if heard.tags.len() > TAGS {
            heard.all = heard.mark;
        }
        if heard.all == heard.mark {
            // It is of all of them.
            heard.tags.clear();
        }
    }
}

impl Look {
    /// Whether this host has written something that no look has seen.
    pub fn is_after_a_write(&self) -> bool {
        self.written > self.source.0.seen.load(Ordering::SeqCst)
    }

    /// This was touched since the look before, and nothing else.
    pub fn touched(self, tags: Vec<String>) {
        if !tags.is_empty() {
            self.source.hear(|heard| {
                let mark = heard.mark;
                let tags = tags.into_iter().map(|tag| (tag.into_boxed_str(), mark));
                heard.tags.extend(tags);
            });
        }
        self.end();
    }

    /// Nobody knows what was: all that was kept is void.
    pub fn lost(self) {
        self.source.hear(|heard| heard.all = heard.mark);
        self.end();
    }

    fn end(self) {
        self.source.0.seen.fetch_max(self.written, Ordering::SeqCst);
    }
}

/// A few MiB. They are forgotten together, seldom.
const TAGS: usize = 20_000;
