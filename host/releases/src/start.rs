//! The start: what was live is live again, or what the manifest's files are where they changed since.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use marquee_manifest::{App, ComponentId};
use marquee_registry::{Active, Book, Digest, State};
use marquee_runtime::{Beside, Health, Runtime};

use super::{
    Component, Error, Inner, KeyError, Ledger, Releases, Signature, Versions, blocking,
    desired::Written,
    step::{Judged, live},
};
use crate::{
    compiler::Meanwhile,
    components::{self, Unreadable},
};

/// How to start.
pub struct Start<'a> {
    /// What the manifest's paths are relative to.
    pub root: &'a Path,
    /// With the versions that the manifest names, whatever was live before.
    pub manifest_versions: bool,
    /// The newest migration beside the manifest's file, of each component that has any.
    pub migrations: BTreeMap<ComponentId, i32>,
    /// What all hosts of the application share. None: this host is alone, and its folder remembers.
    pub ledger: Option<Ledger>,
}

/// Why nothing is live.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is remembered cannot be read.
    #[error("what was live is not known")]
    Unknown(#[source] Error),
    /// A file that the manifest names cannot be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// What vouches for it cannot be read.
    #[error(transparent)]
    Signature(#[from] KeyError),
    /// What the manifest names cannot be live.
    #[error("component {0} cannot be loaded")]
    Load(ComponentId, #[source] Box<Error>),
    /// What was live cannot be any more.
    #[error(
        "version {1} of component {0} was live and cannot be loaded; --manifest-versions starts with what the manifest names"
    )]
    WasLive(ComponentId, Digest, #[source] Box<Error>),
    /// It is live, and would not be after the next start.
    #[error("what is live cannot be remembered")]
    Remember(#[source] Error),
}

impl Releases {
    /// Load what was live before, or what the manifest's files are where they changed since, and make it live.
    pub async fn start(
        app: &App,
        how: Start<'_>,
        runtime: &Runtime,
        versions: Versions,
    ) -> Result<Self, StartError> {
        let folder = versions.folder().to_owned();
        let opened = blocking({
            let folder = folder.clone();
            move || Book::open(&folder)
        });
        let book = opened.await.map_err(StartError::Unknown)?;
        if !book.is_ours() && how.ledger.is_none() {
            tracing::warn!(
                folder = %folder.display(),
                "another host uses this data folder: what is live can be changed there, not here"
            );
        }
        for component in app.unused() {
            tracing::warn!(
                %component,
                "no trigger starts {component}, and no component depends on it: it is not loaded"
            );
        }
        let order = app.load_order();
        let components = order
            .iter()
            .map(|component| (component.id.clone(), Component::of(app, component)))
            .collect();
        let inner = Inner::new(runtime.clone(), versions, components, book, how.ledger);
        let sources = order
            .iter()
            .map(|component| inner.source(how.root, component));
        let sources = futures::future::try_join_all(sources).await?;
        inner.read_anew().await.map_err(StartError::Unknown)?;
        let beside = inner.has_others().await.map_err(StartError::Unknown)?;
        loop {
            let mut states = Vec::new();
            // One after the other: who is imported from must be live before.
            for (component, source) in order.iter().zip(&sources) {
                let id = &component.id;
                let migration = how.migrations.get(id).copied();
                let state = match inner.desired.lock().await.state(id) {
                    Some(state) if !how.manifest_versions => {
                        let state = state.released_with(*source, migration);
                        inner.started(id, &state, *source, beside).await?
                    }
                    known => State {
                        contracted: known.and_then(|known| known.contracted),
                        ..State::new(*source).released_with(*source, migration)
                    },
                };
                states.push((id.clone(), inner.begin(id, state).await?));
            }
            if inner.ledger.is_none() && !inner.desired.lock().await.is_ours() {
                break;
            }
            match inner.write(states).await.map_err(StartError::Remember)? {
                Written::Done => break,
                // Another host started, or took a step, at the same moment.
                Written::Behind => inner.read_anew().await.map_err(StartError::Unknown)?,
            }
        }
        let releases = Self(Arc::new(inner));
        releases.0.arrive().await;
        releases.0.collect().await;
        Ok(releases)
    }
}

impl Inner {
    /// The version that the manifest names, stored and compiled.
    async fn source(
        &self,
        root: &Path,
        component: &marquee_manifest::Component,
    ) -> Result<Digest, StartError> {
        let bytes = components::read(root, component)?;
        let signature = Signature::beside(&root.join(&component.source))?;
        let id = &component.id;
        let compiled = async {
            let digest = self.versions.keep(bytes, id).await?;
            self.versions.sign(digest, signature).await?;
            let waits = Meanwhile::Waits;
            self.versions.compiled(digest, waits, Health::Asked).await?;
            Ok(digest)
        };
        let compiled: Result<Digest, Error> = compiled.await;
        compiled.map_err(|error| StartError::Load(id.clone(), Box::new(error)))
    }

    /// The state of a component at a start with this file. Beside other hosts only what none of them ever had is news: the
    /// same rollout starts one host after the other, and one that starts late has an old file.
    pub(super) async fn started(
        &self,
        id: &ComponentId,
        state: &State,
        source: Digest,
        beside: bool,
    ) -> Result<State, StartError> {
        if let Some(ledger) = self.ledger.as_ref().filter(|_| beside) {
            let known = ledger.versions(id).await.map_err(Error::from);
            if known.map_err(StartError::Unknown)?.contains(&source) {
                return Ok(state.clone());
            }
        }
        Ok(state.started(source))
    }

    /// What all hosts share, as it is now.
    pub(super) async fn read_anew(&self) -> Result<(), Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        // Only this start writes: what is read is what is learnt, or it is read once more from its beginning.
        loop {
            let mut desired = self.desired.lock().await;
            let since = desired.revision();
            let news = ledger.news(since).await?;
            if desired.learn(since, news).await.is_some() {
                return Ok(());
            }
        }
    }

    pub(super) async fn write(&self, states: Vec<(ComponentId, State)>) -> Result<Written, Error> {
        let mut desired = self.desired.lock().await;
        desired.put(states, Health::Asked, &self.versions).await
    }

    /// At a start: make live what a component's state says.
    pub(super) async fn begin(&self, id: &ComponentId, state: State) -> Result<State, StartError> {
        let stable = self.here(&state).stable;
        let prepared = self.load(id, stable, AT_START, &Beside::default()).await;
        let prepared = prepared.map_err(|error| {
            let (id, error) = (id.clone(), Box::new(error));
            if stable == state.source {
                StartError::Load(id, error)
            } else {
                StartError::WasLive(id, stable, error)
            }
        })?;
        let mut state = state;
        let mut ready = BTreeMap::from([((id.clone(), stable), prepared)]);
        let Active { canary, shadow, .. } = self.here(&state).clone();
        let tried = canary.map(|trial| ("canary", trial.digest)).into_iter();
        for (what, digest) in tried.chain(shadow.map(|trial| ("shadow", trial.digest))) {
            match self.load(id, digest, AT_START, &Beside::default()).await {
                Ok(prepared) => {
                    ready.insert((id.clone(), digest), prepared);
                }
                Err(error) => {
                    // What is tried is not needed.
                    tracing::error!(
                        component = %id, version = %digest, error = %marquee_runtime::chain(&error),
                        "a {what} cannot be loaded and is taken away"
                    );
                    let without = match what {
                        "canary" => state.withdraw(digest),
                        _ => state.unshadow().ok(),
                    };
                    state = without.unwrap_or(state);
                }
            }
        }
        self.were_live(&ready).await;
        let ready = ready.into_iter().map(|((_, digest), it)| (digest, it));
        if let Some(live) = live(id, self.here(&state), &state, ready.collect()) {
            self.set_live(vec![(id.clone(), live, Judged::No)]);
        }
        Ok(state)
    }
}

impl Component {
    fn of(app: &App, component: &marquee_manifest::Component) -> Self {
        let subscriptions = component.subscriptions.iter().map(|s| s.deadline);
        let schedules = component.schedules.iter().map(|s| s.deadline);
        let longest = subscriptions
            .chain(schedules)
            .chain([component.limits.deadline])
            .max();
        Self {
            spec: components::spec(app, component),
            guard: component.guard.clone(),
            patience: longest.unwrap_or_default() + Duration::from_secs(1),
        }
    }
}

/// Whoever started it waits.
const AT_START: (Meanwhile, Health) = (Meanwhile::Waits, Health::Asked);
