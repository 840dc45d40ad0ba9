//! What should be live: the states of all components, as the folder of this host has them and, where there is a ledger, as
//! all hosts have them.
//!
//! Without a ledger the folder is the truth. With one the ledger is, and the folder a copy, for a start while the database is
//! away. What is set at once, to end harm, is written to the truth when that can be; if another host has changed the
//! component by then, its word stands.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use marquee_manifest::ComponentId;
use marquee_registry::{Book, Digest, Need, State, StoreError};
use marquee_runtime::Health;

use crate::{
    Error, Ledger, Versions, blocking,
    ledger::{Change, News},
    lock,
};

/// The states of all components.
pub(crate) struct Desired {
    book: Arc<Mutex<Book>>,
    shared: Option<Shared>,
}

/// What is known of the ledger.
struct Shared {
    ledger: Ledger,
    /// What is known stands in it up to here. 0: nothing was read yet.
    revision: i64,
    /// What was set here and is not in the ledger yet.
    unsaved: BTreeMap<ComponentId, Health>,
}

/// What became of states that were to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    /// Another host wrote something since.
    Behind,
}

impl Desired {
    pub(crate) fn new(book: Book, ledger: Option<Ledger>) -> Self {
        Self {
            book: Arc::new(Mutex::new(book)),
            shared: ledger.map(|ledger| Shared {
                ledger,
                revision: 0,
                unsaved: BTreeMap::new(),
            }),
        }
    }

    /// The state of a component, if it was ever live.
    pub(crate) fn state(&self, component: &ComponentId) -> Option<State> {
        lock(&self.book).state(component).cloned()
    }

    /// Every version that some component needs, with the weightiest reason.
    pub(crate) fn needed(&self) -> BTreeMap<Digest, Need> {
        lock(&self.book).needed()
    }

    /// Whether this process writes to the folder.
    pub(crate) fn is_ours(&self) -> bool {
        lock(&self.book).is_ours()
    }

    /// What is known is that of this revision.
    pub(crate) fn revision(&self) -> i64 {
        self.shared.as_ref().map_or(0, |shared| shared.revision)
    }

    /// Remember states, with the versions that they need: all of it or, on an error, nothing.
    pub(crate) async fn put(
        &mut self,
        states: Vec<(ComponentId, State)>,
        health: Health,
        versions: &Versions,
    ) -> Result<Written, Error> {
        if self.shared.is_none() {
            self.on_disk(move |book| book.put(states)).await?;
            return Ok(Written::Done);
        }
        let changes = new_in(&lock(&self.book), states, health);
        self.commit(changes, versions).await
    }

    /// These are the states from now on, whether they can be remembered or not.
    pub(crate) fn set(
        &mut self,
        states: Vec<(ComponentId, State)>,
        health: Health,
    ) -> Result<(), StoreError> {
        let mut book = lock(&self.book);
        match &mut self.shared {
            None => book.set(states)?,
            Some(shared) => {
                let ids = states.iter().map(|(id, _)| (id.clone(), health));
                shared.unsaved.extend(ids);
                book.adopt(states);
            }
        }
        Ok(())
    }

    /// Whether something was set that is not remembered.
    pub(crate) fn is_unsaved(&self) -> bool {
        match &self.shared {
            None => lock(&self.book).is_unsaved(),
            Some(shared) => !shared.unsaved.is_empty(),
        }
    }

    /// Remember what was set.
    pub(crate) async fn save(&mut self, versions: &Versions) -> Result<Written, Error> {
        let Some(shared) = &mut self.shared else {
            self.on_disk(Book::save).await?;
            return Ok(Written::Done);
        };
        let changes = set_in(&lock(&self.book), &shared.unsaved);
        self.commit(changes, versions).await
    }

    /// Write to the ledger, where there is one.
    async fn commit(
        &mut self,
        changes: Vec<Change>,
        versions: &Versions,
    ) -> Result<Written, Error> {
        let Some(shared) = self.shared.as_mut().filter(|_| !changes.is_empty()) else {
            return Ok(Written::Done);
        };
        let written = shared.ledger.commit(shared.revision, &changes, versions);
        let Some(revision) = written.await? else {
            return Ok(Written::Behind);
        };
        shared.revision = revision;
        for change in &changes {
            shared.unsaved.remove(&change.component);
        }
        self.copy(changes).await;
        Ok(Written::Done)
    }

    /// What other hosts have written since a revision. The components whose states are others now, with how they are to be
    /// loaded and the step that brought them; None: something was written here since, and it is to be read anew.
    pub(crate) async fn learn(
        &mut self,
        since: i64,
        news: News,
    ) -> Option<BTreeMap<ComponentId, (Health, i64)>> {
        let shared = self.shared.as_mut()?;
        if shared.revision != since {
            return None;
        }
        if news.revision < since {
            tracing::error!(
                known = since,
                revision = news.revision,
                "the database of releases went back in time; its word stands"
            );
            shared.revision = 0;
            return None;
        }
        shared.revision = news.revision;
        let mut changed = BTreeMap::new();
        for change in &news.changes {
            let known = lock(&self.book).state(&change.component) == Some(&change.state);
            if shared.unsaved.remove(&change.component).is_some() && !known {
                tracing::error!(
                    component = %change.component,
                    "what was done here while the database of releases was away does not stand: another host changed it meanwhile"
                );
            }
            let how = (change.health, change.revision);
            changed.insert(change.component.clone(), how);
        }
        if !news.changes.is_empty() {
            self.copy(news.changes).await;
        }
        Some(changed)
    }

    /// The ledger has these states. That they are in the folder too helps a start while the database is away, no more.
    async fn copy(&self, changes: Vec<Change>) {
        let states = changes.into_iter().map(|it| (it.component, it.state));
        let states: Vec<(ComponentId, State)> = states.collect();
        let copied = self.on_disk(move |book| {
            book.adopt(states);
            book.save()
        });
        if let Err(error) = copied.await {
            let error = marquee_runtime::chain(&error);
            tracing::warn!(
                error,
                "what should be live cannot be copied to the data folder"
            );
        }
    }

    async fn on_disk(
        &self,
        work: impl FnOnce(&mut Book) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), Error> {
        let book = Arc::clone(&self.book);
        blocking(move || work(&mut lock(&book))).await
    }
}

/// Those of these states that are not what is known.
fn new_in(known: &Book, states: Vec<(ComponentId, State)>, health: Health) -> Vec<Change> {
    let new = states
        .into_iter()
        .filter(|(id, state)| known.state(id) != Some(state));
    let changes = new.map(|(component, state)| Change {
        component,
        state,
        health,
        revision: 0,
    });
    changes.collect()
}

/// The states of these components.
fn set_in(known: &Book, unsaved: &BTreeMap<ComponentId, Health>) -> Vec<Change> {
    let changes = unsaved.iter().filter_map(|(id, health)| {
        Some(Change {
            component: id.clone(),
            state: known.state(id)?.clone(),
            health: *health,
            revision: 0,
        })
    });
    changes.collect()
}
