//! Releases: which versions of the components are live, and the steps that change it.
//!
//! Promise: a version is checked whole before it gets a call; a step that fails leaves what was live as it was; what
//! took effect is remembered over restarts and stands in the history, with who asked for it. One step at a time: what
//! was checked still holds when it takes effect. Compiling is no part of a step, so a rollback does not wait for it.
//! Not here: compiling, calls, how a person asks.

mod drain;
mod error;
mod guard;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use marquee_manifest::{App, ComponentId, Guarded};
use marquee_registry::{
    Active, Book, Canary, Digest, Event, History, Live, Refused, State, StoreError, Version, Weight,
};
use marquee_runtime::{Artifact, Prepared, Runtime, Spec};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;

pub(crate) use error::{Error, HostError};
pub(crate) use report::{ComponentReport, Share, VersionReport};

use crate::{compiler::Meanwhile, components, settings::Settings, versions::Versions};

/// All that can be released. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Releases(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    versions: Versions,
    components: BTreeMap<ComponentId, Component>,
    history: History,
    /// Held for the whole of a step.
    book: Arc<tokio::sync::Mutex<Book>>,
    trials: Mutex<BTreeMap<ComponentId, guard::Trial>>,
    /// When each live version became so, as far as this process knows.
    since: Mutex<BTreeMap<(ComponentId, Digest), SystemTime>>,
    draining: drain::Draining,
    /// Of each component, what was live until the last step: to go back to it, nothing is read or compiled.
    left: Mutex<BTreeMap<ComponentId, Vec<Prepared>>>,
    tasks: TaskTracker,
}

/// What does not change about a component.
struct Component {
    spec: Spec,
    guard: marquee_manifest::Guard,
    /// The longest that a call of it may take: after it a version without calls has none left.
    patience: Duration,
}

/// What is to be released.
pub(crate) struct Deployment<B> {
    /// Yields the component's bytes.
    pub(crate) bytes: B,
    /// With how much of the calls.
    pub(crate) weight: Weight,
    /// A name for the version.
    pub(crate) label: Option<String>,
    /// Whether it may ask for more than the version that is live.
    pub(crate) widen: bool,
}

/// Who asks for what, for the history.
struct Step<'a> {
    who: &'a str,
    component: &'a ComponentId,
    action: &'static str,
    version: Option<Digest>,
    /// Loaded for the step.
    prepared: Option<Prepared>,
    widen: bool,
}

impl<'a> Step<'a> {
    /// One that names no version and adds no rights.
    fn of(who: &'a str, component: &'a ComponentId, action: &'static str) -> Self {
        Self {
            who,
            component,
            action,
            version: None,
            prepared: None,
            widen: false,
        }
    }
}

impl Releases {
    /// Load what was live before, or what the manifest's files are where they changed since, and make it live.
    pub(crate) async fn start(
        app: &App,
        settings: &Settings,
        runtime: &Runtime,
        versions: Versions,
    ) -> anyhow::Result<Self> {
        let folder = versions.folder().to_owned();
        let book = blocking({
            let folder = folder.clone();
            move || Book::open(&folder)
        })
        .await?
        .context("what was live is not known")?;
        if !book.is_ours() {
            tracing::warn!(
                folder = %folder.display(),
                "another host uses this data folder: what is live can be changed there, not here"
            );
        }
        let order = app.load_order();
        let components = order
            .iter()
            .map(|component| (component.id.clone(), Component::of(app, component)))
            .collect();
        let releases = Self(Arc::new(Inner {
            runtime: runtime.clone(),
            versions,
            components,
            history: History::of(&folder),
            book: Arc::new(tokio::sync::Mutex::new(book)),
            trials: Mutex::default(),
            since: Mutex::default(),
            draining: drain::Draining::default(),
            left: Mutex::default(),
            tasks: TaskTracker::new(),
        }));
        let compiled = order.iter().map(|component| {
            let versions = &releases.0.versions;
            async move {
                let file = components::open(settings.root(), component)?;
                let digest = versions.put(file, &component.id, "manifest").await?;
                let artifact = versions
                    .compiled(digest, Meanwhile::Waits)
                    .await
                    .with_context(|| format!("component {} cannot be loaded", component.id))?;
                anyhow::Ok((digest, artifact))
            }
        });
        let compiled = futures::future::try_join_all(compiled).await?;
        let mut book = Arc::clone(&releases.0.book).lock_owned().await;
        let mut states = Vec::new();
        // One after the other: who is imported from must be live before.
        for (component, (source, artifact)) in order.into_iter().zip(compiled) {
            let id = &component.id;
            let state = match book.state(id) {
                Some(state) if !settings.manifest_versions.value => state.started(source),
                _ => State::new(source),
            };
            let state = releases.0.begin(id, state, source, artifact).await?;
            states.push((id.clone(), state));
        }
        if book.is_ours() {
            let result;
            (book, result) = put(book, states).await?;
            result.context("what is live cannot be remembered")?;
            releases.0.versions.collect(book.needed().collect()).await?;
        }
        drop(book);
        Ok(releases)
    }

    /// The components with their stable versions, in the order of their names.
    pub(crate) fn stable(&self) -> Vec<(ComponentId, Digest)> {
        let digest = |id: &ComponentId| self.0.runtime.live(id).map(|live| live.stable.digest);
        let ids = self.0.components.keys();
        ids.filter_map(|id| Some((id.clone(), digest(id)?)))
            .collect()
    }

    /// The components of which no version is live.
    pub(crate) fn missing(&self) -> Vec<String> {
        let ids = self.0.components.keys();
        let missing = ids.filter(|id| self.0.runtime.live(id).is_none());
        missing.map(ToString::to_string).collect()
    }

    /// Take back, from now on, new versions that do worse than the old ones; until `stop`.
    pub(crate) async fn guard(self, stop: tokio_util::sync::CancellationToken) {
        guard::run(self, stop).await;
    }

    /// Take a step to its end, whether the one who asked for it waits or not.
    pub(crate) async fn carry_out<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = self.0.tasks.spawn(step);
        let ended = task.await.context("the step ended without an answer");
        ended?
    }

    /// Whether what is live can be changed through this host.
    pub(crate) async fn is_ours(&self) -> bool {
        self.0.book.lock().await.is_ours()
    }

    /// Wait until no version is draining.
    pub(crate) async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Check a version and make it live. The same bytes twice are one version.
    pub(crate) async fn deploy(
        &self,
        who: &str,
        component: &ComponentId,
        deployment: Deployment<impl io::Read + Send + 'static>,
    ) -> Result<Digest, Error> {
        let mut step = Step {
            widen: deployment.widen,
            ..Step::of(who, component, "deploy")
        };
        let digest = match self.0.bring(&mut step, deployment.bytes).await {
            Ok(digest) => digest,
            Err(error) => {
                self.0.note(&step, Err(&error)).await;
                return Err(error);
            }
        };
        self.0
            .change(step, |state| {
                state.deploy(digest, deployment.weight, deployment.label.as_deref())
            })
            .await?;
        Ok(digest)
    }

    /// Make a version live that is in the store: by label or by the first digits of its digest.
    pub(crate) async fn promote(
        &self,
        who: &str,
        component: &ComponentId,
        name: &str,
        weight: Weight,
        widen: bool,
    ) -> Result<Digest, Error> {
        let mut step = Step {
            widen,
            ..Step::of(who, component, "promote")
        };
        let digest = match self.0.named(component, name).await {
            Ok(digest) => digest,
            Err(error) => {
                self.0.note(&step, Err(&error)).await;
                return Err(error);
            }
        };
        step.version = Some(digest);
        self.0
            .change(step, |state| state.deploy(digest, weight, None))
            .await?;
        Ok(digest)
    }

    /// Back to what was live before, one step.
    pub(crate) async fn rollback(
        &self,
        who: &str,
        component: &ComponentId,
    ) -> Result<Digest, Error> {
        let step = Step {
            // It had these rights before.
            widen: true,
            ..Step::of(who, component, "rollback")
        };
        let state = self.0.change(step, State::rollback).await?;
        Ok(state.active.stable)
    }

    /// Keep a component as it is, whoever asks; or no longer.
    pub(crate) async fn pin(
        &self,
        who: &str,
        component: &ComponentId,
        pinned: bool,
    ) -> Result<(), Error> {
        let step = Step::of(who, component, if pinned { "pin" } else { "unpin" });
        self.0.change(step, |state| Ok(state.pin(pinned))).await?;
        Ok(())
    }

    /// The newest changes, newest first.
    pub(crate) async fn history(
        &self,
        count: usize,
        component: Option<ComponentId>,
    ) -> Result<Vec<Event>, Error> {
        let history = self.0.history.clone();
        Ok(blocking(move || history.newest(count, component.as_ref())).await??)
    }

    /// The bytes of a version that a person names.
    pub(crate) async fn bytes(
        &self,
        component: &ComponentId,
        name: &str,
    ) -> Result<Vec<u8>, Error> {
        let digest = self.0.named(component, name).await?;
        Ok(self.0.versions.bytes(digest).await?)
    }
}

impl Inner {
    fn component(&self, id: &ComponentId) -> Result<&Component, Error> {
        self.components
            .get(id)
            .ok_or_else(|| Error::UnknownComponent(id.clone()))
    }

    async fn state(&self, id: &ComponentId) -> Result<State, Error> {
        let book = self.book.lock().await;
        let state = book.state(id).cloned();
        state.ok_or_else(|| Error::UnknownComponent(id.clone()))
    }

    /// The version that a person means.
    async fn named(&self, id: &ComponentId, name: &str) -> Result<Digest, Error> {
        let known = self.versions.of(id).await?;
        let known: Vec<Digest> = known.into_iter().map(|entry| entry.digest).collect();
        Ok(self.state(id).await?.resolve(name, &known)?)
    }

    /// At a start: make live what a component's state says.
    async fn begin(
        &self,
        id: &ComponentId,
        state: State,
        source: Digest,
        artifact: Artifact,
    ) -> anyhow::Result<State> {
        let spec = self.component(id)?.spec.clone();
        let stable = state.active.stable;
        let stable = if stable == source {
            let prepared = self.runtime.prepare(spec, source, artifact).await?;
            self.versions.mark_ready(source).await?;
            prepared
        } else {
            self.load(id, stable, Meanwhile::Waits)
                .await
                .with_context(|| {
                    format!(
                        "version {stable} of component {id} was live and cannot be loaded; \
                     --manifest-versions starts with what the manifest names"
                    )
                })?
        };
        let mut state = state;
        let mut live = Live::only(stable.version(), stable);
        live.labels = labels(&state);
        if let Some(trial) = state.active.canary.clone() {
            match self.load(id, trial.digest, Meanwhile::Waits).await {
                Ok(payload) => live.canary = Some(canary(&trial, payload)),
                Err(error) => {
                    // What is tried is not needed.
                    tracing::error!(
                        component = %id, version = %trial.digest, error = %marquee_runtime::chain(&error),
                        "a canary cannot be loaded and is rolled back"
                    );
                    state = state.withdraw(trial.digest).unwrap_or(state);
                }
            }
        }
        self.set_live(id, live);
        Ok(state)
    }

    /// Store what a step brings, and check it.
    async fn bring(
        &self,
        step: &mut Step<'_>,
        bytes: impl io::Read + Send + 'static,
    ) -> Result<Digest, Error> {
        let id = step.component;
        self.component(id)?;
        let digest = self.versions.put(bytes, id, step.who).await?;
        step.version = Some(digest);
        step.prepared = Some(self.load(id, digest, Meanwhile::Serves).await?);
        Ok(digest)
    }

    /// A version from the store: compiled, checked and tried. What was live just now is checked and tried anew.
    async fn load(
        &self,
        id: &ComponentId,
        digest: Digest,
        meanwhile: Meanwhile,
    ) -> Result<Prepared, Error> {
        let left = lock(&self.left).get(id).and_then(|left| {
            let left = left.iter().find(|version| version.version() == digest);
            left.cloned()
        });
        if let Some(left) = left {
            self.versions.touch(digest).await?;
            return Ok(self.runtime.prepare_again(&left).await?);
        }
        let spec = self.component(id)?.spec.clone();
        let artifact = self.versions.compiled(digest, meanwhile).await;
        let artifact = artifact.map_err(|error| match error.downcast::<StoreError>() {
            Ok(error) => Error::Store(error),
            Err(error) => Error::Compile(HostError(error)),
        })?;
        let prepared = self.runtime.prepare(spec, digest, artifact).await?;
        self.versions.mark_ready(digest).await?;
        Ok(prepared)
    }

    /// Take a step, and write it into the history whether it took effect or not.
    async fn change(
        self: &Arc<Self>,
        mut step: Step<'_>,
        next: impl FnOnce(&State) -> Result<State, Refused>,
    ) -> Result<State, Error> {
        let book = Arc::clone(&self.book).lock_owned().await;
        let result = self.take(book, &mut step, next).await;
        if let Ok(state) = &result
            && step.version.is_none()
        {
            step.version = Some(state.active.stable);
        }
        self.note(&step, result.as_ref()).await;
        result
    }

    async fn take(
        self: &Arc<Self>,
        book: OwnedMutexGuard<Book>,
        step: &mut Step<'_>,
        next: impl FnOnce(&State) -> Result<State, Refused>,
    ) -> Result<State, Error> {
        let id = step.component;
        self.component(id)?;
        let state = book
            .state(id)
            .ok_or_else(|| Error::UnknownComponent(id.clone()))?;
        let next = next(state)?;
        let live = self.assemble(step, &next).await?;
        let (book, result) = put(book, vec![(id.clone(), next.clone())]).await?;
        result?;
        self.set_live(id, live);
        let needed = book.needed().collect();
        drop(book);
        if let Err(error) = self.versions.collect(needed).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "old versions were not removed"
            );
        }
        Ok(next)
    }

    /// What is to be live, all of it loaded and checked against what is live of the others.
    async fn assemble(&self, step: &mut Step<'_>, next: &State) -> Result<Live<Prepared>, Error> {
        let id = step.component;
        let current = self.runtime.live(id);
        let mut loaded = BTreeMap::new();
        for digest in next.active.digests() {
            let known = current
                .iter()
                .flat_map(|live| live.versions())
                .find(|version| version.digest == digest);
            let prepared = match (known, step.prepared.take_if(|p| p.version() == digest)) {
                (Some(version), _) => version.payload.clone(),
                (None, prepared) => {
                    let prepared = match prepared {
                        Some(prepared) => {
                            // Others may have changed since it was prepared.
                            self.runtime.check(&prepared)?;
                            prepared
                        }
                        None => self.load(id, digest, Meanwhile::Serves).await?,
                    };
                    if !step.widen
                        && let Some(live) = &current
                    {
                        self.check_rights(&live.stable.payload, &prepared)?;
                    }
                    prepared
                }
            };
            loaded.insert(digest, prepared);
        }
        let missing = || Error::Store(StoreError::Missing(next.active.stable));
        let stable = loaded.remove(&next.active.stable).ok_or_else(missing)?;
        let mut live = Live::only(next.active.stable, stable);
        live.labels = labels(next);
        if let Some(trial) = &next.active.canary
            && let Some(payload) = loaded.remove(&trial.digest)
        {
            live.canary = Some(canary(trial, payload));
        }
        Ok(live)
    }

    fn check_rights(&self, old: &Prepared, new: &Prepared) -> Result<(), Error> {
        let had = self.runtime.rights(old);
        let wants = self.runtime.rights(new);
        let added: BTreeSet<String> = wants.difference(&had).cloned().collect();
        if added.is_empty() {
            Ok(())
        } else {
            Err(Error::Widens(added))
        }
    }

    fn set_live(&self, id: &ComponentId, live: Live<Prepared>) {
        let before = self.runtime.live(id);
        let stays: BTreeSet<Digest> = live.versions().map(|version| version.digest).collect();
        let mut since = lock(&self.since);
        since.retain(|(component, digest), _| component != id || stays.contains(digest));
        for digest in &stays {
            let key = (id.clone(), *digest);
            since.entry(key).or_insert_with(SystemTime::now);
        }
        drop(since);

        self.watch(id, before.as_deref(), &live);
        self.runtime.set_live(id.clone(), live);
        let before = before.iter().flat_map(|live| live.versions());
        let left: Vec<Prepared> = before
            .filter(|version| !stays.contains(&version.digest))
            .map(|version| version.payload.clone())
            .collect();
        if left.is_empty() {
            return;
        }
        let patience = self.components.get(id).map(|c| c.patience);
        for version in &left {
            let patience = patience.unwrap_or_default();
            let work = self.draining.watch(id.clone(), version.clone(), patience);
            self.tasks.spawn(work);
        }
        lock(&self.left).insert(id.clone(), left);
    }

    /// Judge what is new about what is live, if the component's guard is on.
    fn watch(&self, id: &ComponentId, before: Option<&Live<Prepared>>, live: &Live<Prepared>) {
        let Some(component) = self.components.get(id) else {
            return;
        };
        let guarded = component.guard.on;
        let trial = match (&live.canary, before) {
            (Some(canary), _) if guarded != Guarded::Never => Some(guard::Trial::beside(
                canary.version.payload.clone(),
                live.stable.payload.clone(),
            )),
            (None, Some(before))
                if guarded == Guarded::Always && before.stable.digest != live.stable.digest =>
            {
                Some(guard::Trial::after(
                    live.stable.payload.clone(),
                    before.stable.payload.figures(),
                ))
            }
            _ => None,
        };
        let mut trials = lock(&self.trials);
        match trial {
            // The same canary with another weight: what was seen of it counts.
            Some(trial) if trials.get(id).is_some_and(|old| old.is_of(&trial)) => {}
            Some(trial) => {
                trials.insert(id.clone(), trial);
            }
            None => {
                trials.remove(id);
            }
        }
    }

    /// Into the history and the log.
    async fn note(&self, step: &Step<'_>, result: Result<&State, &Error>) {
        let text = match result {
            Ok(state) => describe(&state.active, state.pinned),
            Err(error) => marquee_runtime::chain(error),
        };
        let (who, component, action) = (step.who, step.component, step.action);
        let version = step.version.map(|version| version.to_string());
        match result {
            Ok(_) => tracing::info!(who, %component, version, action, result = text, "release"),
            Err(_) => {
                tracing::warn!(who, %component, version, action, error = text, "release refused");
            }
        }
        let event = Event {
            at_ms: now_ms(),
            who: who.to_owned(),
            component: component.clone(),
            action: action.to_owned(),
            version: step.version,
            result: text,
            ok: result.is_ok(),
        };
        let history = self.history.clone();
        let added = blocking(move || history.add(&event)).await;
        if let Err(error) = added.and_then(|added| added.map_err(Into::into)) {
            tracing::error!(
                error = format!("{error:#}"),
                "the history cannot be written"
            );
        }
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

fn canary(trial: &marquee_registry::Trial, payload: Prepared) -> Canary<Prepared> {
    Canary {
        version: Version {
            digest: trial.digest,
            payload,
        },
        per_mille: trial.weight.per_mille(),
    }
}

fn labels(state: &State) -> std::collections::HashMap<String, Digest> {
    state.labels.clone().into_iter().collect()
}

/// In words, for the history.
fn describe(active: &Active, pinned: bool) -> String {
    let pinned = if pinned { ", pinned" } else { "" };
    match &active.canary {
        None => format!("{} is live{pinned}", active.stable),
        Some(trial) => format!(
            "{} is live, {} of the calls go to {}{pinned}",
            active.stable, trial.weight, trial.digest
        ),
    }
}

/// Remember states. The book comes back, so that it stays locked for the rest of the step.
async fn put(
    mut book: OwnedMutexGuard<Book>,
    states: Vec<(ComponentId, State)>,
) -> anyhow::Result<(OwnedMutexGuard<Book>, Result<(), StoreError>)> {
    blocking(move || {
        let result = book.put(states);
        (book, result)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("work on the disk failed")
}

fn now_ms() -> u64 {
    ms(SystemTime::now())
}

fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
