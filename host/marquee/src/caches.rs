//! Answers of components that are kept, and what makes them void: for each database whose component has tags, a task looks
//! for what was touched.
//!
//! Promise: on this host an answer that is about something it touched itself is not given any more once the write is
//! acknowledged; one that another host touched is given for some milliseconds (NOTIFY), for [`LOOK`] and a look's time
//! where no notification comes, and never for longer than the answer's `max_age`. Not here: what is kept (the runtime), and
//! the rows that are looked for (`delivery`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use marquee_capabilities::postgres::Poke;
use marquee_database::{Database, Listener, chain};
use marquee_delivery::{
    outbox::Relay,
    touches::{self, Touched, Touches},
};
use marquee_manifest::{App, ComponentId};
use marquee_runtime::{Cache, Source};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{databases::Databases, tasks::Tasks};

/// What is kept, and what is looked at for it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Caches {
    /// What the runtime keeps.
    pub(crate) cache: Arc<Cache>,
    followed: Arc<BTreeMap<ComponentId, Follower>>,
}

/// Looks for what was touched in one database.
#[derive(Clone)]
struct Follower {
    source: Source,
    database: Database,
}

/// Where notifications come from.
enum Ear {
    Listens(Listener),
    /// It is deaf until then.
    Deaf(Instant),
}

impl Caches {
    pub(crate) fn new(app: &App, databases: &Databases) -> Self {
        let granted = app.components.values();
        let granted = granted.map(|component| (component.id.clone(), component.cache.clone()));
        let cache = Cache::new(granted.collect());
        let mut followed = BTreeMap::new();
        for (id, database) in &databases.by_component {
            let component = app.components.get(id);
            let cached = component.into_iter().flat_map(|component| &component.cache);
            if cached.into_iter().any(|cached| !cached.tags.is_empty()) {
                let follower = Follower {
                    source: cache.source(id),
                    database: database.clone(),
                };
                followed.insert(id.clone(), follower);
            }
        }
        Self {
            cache: Arc::new(cache),
            followed: Arc::new(followed),
        }
    }

    /// What is called when something that a component has published or touched stands.
    pub(crate) fn poke(&self, component: &ComponentId, relay: Option<&Relay>) -> Poke {
        let relay = relay.map(Relay::poke);
        let source = self.followed.get(component).map(|it| it.source.clone());
        Arc::new(move || {
            if let Some(source) = &source {
                source.wrote();
            }
            if let Some(relay) = &relay {
                relay.poke();
            }
        })
    }

    /// Look, until it stops.
    pub(crate) fn keep(&self, tasks: &Tasks, stop: &CancellationToken) {
        for (id, follower) in self.followed.iter() {
            let follower = follower.clone();
            tasks.keep(format!("touches of {id}"), stop, move |stop| {
                let follower = follower.clone();
                async move {
                    stop.run_until_cancelled(follower.follow()).await;
                }
            });
        }
    }
}

impl Follower {
    async fn follow(&self) {
        let mut touches = Touches::new(self.database.clone());
        let mut ear = Ear::Deaf(Instant::now());
        let mut told = Instant::now();
        // Whether others are to be told of a write of this host's, which the look before may have found.
        let (mut untold, mut found_before, mut is_well) = (false, false, true);
        loop {
            let look = self.source.look();
            match look_at(&mut touches).await {
                Ok(Touched::Tags(tags)) => {
                    is_well = true;
                    let found = !tags.is_empty();
                    untold |= look.is_after_a_write() && (found || found_before);
                    found_before = found;
                    look.touched(tags);
                }
                Ok(Touched::Unknown) => {
                    is_well = true;
                    look.lost();
                }
                // A write of this host's stays to be looked for, and the next look knows nothing.
                Err(reason) => {
                    if std::mem::take(&mut is_well) {
                        tracing::warn!(
                            database = self.database.name(),
                            reason,
                            "what was touched cannot be asked for; what is kept goes with its max_age"
                        );
                    }
                }
            }
            if untold && told.elapsed() >= TELL {
                (told, untold) = (Instant::now(), false);
                if let Err(error) = touches.tell().await {
                    tracing::debug!(%error, "other hosts were not told; they look by themselves");
                }
            }
            self.listen(&mut ear).await;
            tokio::select! {
                () = self.source.written() => {}
                () = ear.hears() => {}
                () = tokio::time::sleep(if untold { TELL } else { LOOK }) => {}
            }
        }
    }

    /// Where it does not listen, try to.
    async fn listen(&self, ear: &mut Ear) {
        if let Ear::Deaf(until) = ear
            && *until <= Instant::now()
        {
            let listening = self.database.listen(touches::CHANNEL);
            *ear = match tokio::time::timeout(PATIENCE, listening).await {
                Ok(Ok(listener)) => Ear::Listens(listener),
                // It looks all the same.
                _ => Ear::deaf(),
            };
        }
    }
}

async fn look_at(touches: &mut Touches) -> Result<Touched, String> {
    match tokio::time::timeout(PATIENCE, touches.look()).await {
        Ok(found) => found.map_err(|error| chain(&error)),
        Err(_) => Err("it did not answer in time".to_owned()),
    }
}

impl Ear {
    fn deaf() -> Self {
        Self::Deaf(Instant::now() + DEAF)
    }

    /// Wait for a notification. Cancel-safe.
    async fn hears(&mut self) {
        match self {
            Self::Listens(listener) => {
                if listener.next().await.is_err() {
                    *self = Self::deaf();
                }
            }
            Self::Deaf(_) => std::future::pending().await,
        }
    }
}

/// What is stale for so long where no notification comes; four statements a second.
const LOOK: Duration = Duration::from_millis(250);
/// Notifications are gathered: twenty a second at the most.
const TELL: Duration = Duration::from_millis(50);
/// Between tries to listen.
const DEAF: Duration = Duration::from_secs(1);
/// A look takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
