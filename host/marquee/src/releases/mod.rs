//! Releases: which versions of the components are live, and the steps that change it.
//!
//! Promise: a version is checked whole before it gets a call; a step that fails leaves what was live as it was; what
//! took effect is remembered over restarts and stands in the history, with who asked for it. What takes long in a step
//! holds up no other one. A rollback needs no disk: it takes effect, and is remembered when that can be. Not here:
//! compiling, calls, how a person asks.

mod drain;
mod error;
mod guard;
mod remember;
mod report;
mod start;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Book, Digest, Event, History, Live, Refused, State, Weight};
use marquee_runtime::{Health, Prepared, Runtime, Spec};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use error::{Error, HostError};
pub(crate) use report::{ComponentReport, Share, VersionReport};

use crate::versions::Versions;
use step::{Effect, Judged};

/// All that can be released. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Releases(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    versions: Versions,
    components: BTreeMap<ComponentId, Component>,
    history: History,
    /// Held while a step is committed.
    book: Arc<tokio::sync::Mutex<Book>>,
    /// Why what is live is not remembered, if it is not.
    unsaved: Mutex<Option<String>>,
    /// Read by each step, written by what removes old versions.
    under_way: Arc<tokio::sync::RwLock<()>>,
    watched: Mutex<BTreeMap<ComponentId, guard::Watch>>,
    /// When each live version became so, as far as this process knows.
    since: Mutex<BTreeMap<(ComponentId, Digest), SystemTime>>,
    draining: drain::Draining,
    /// Of each component, what was live until the last step: to go back to it, nothing is read or compiled.
    left: Mutex<BTreeMap<ComponentId, Vec<Prepared>>>,
    tasks: TaskTracker,
    /// The host is on its way down: what is not committed is given up.
    stop: CancellationToken,
}

impl Inner {
    /// Nothing is live yet. The folder is that of the versions.
    fn new(
        runtime: Runtime,
        versions: Versions,
        components: BTreeMap<ComponentId, Component>,
        folder: &Path,
        book: Book,
    ) -> Self {
        Self {
            runtime,
            versions,
            components,
            history: History::of(folder),
            book: Arc::new(tokio::sync::Mutex::new(book)),
            unsaved: Mutex::default(),
            under_way: Arc::default(),
            watched: Mutex::default(),
            since: Mutex::default(),
            draining: drain::Draining::default(),
            left: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
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

/// What to go back to.
pub(crate) struct Back {
    /// This version: a label, or the first digits of a digest. None: the one before.
    pub(crate) to: Option<String>,
    /// Whether it is asked if it is healthy.
    pub(crate) health: Health,
}

impl Releases {
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

    /// Until `stop`: take back new versions that do worse than the old ones, and remember what could not be.
    pub(crate) async fn guard(self, stop: CancellationToken) {
        let remember = remember::run(self.clone(), stop.clone());
        tokio::join!(guard::run(self, stop), remember);
    }

    /// Cancelled when nothing is to be begun any more.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
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

    /// Give up what is not committed, wait until no version is draining, and remember what could not be.
    pub(crate) async fn drained(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.remember_all().await;
    }

    /// Check a version and make it live. The same bytes twice are one version.
    pub(crate) async fn deploy(
        &self,
        who: &str,
        component: &ComponentId,
        deployment: Deployment<impl io::Read + Send + 'static>,
    ) -> Result<(), Error> {
        let mut step = self.0.step(who, component, "deploy").await;
        step.widen = deployment.widen;
        let result = self.0.deploy(&mut step, deployment).await;
        self.0.end(step, result).await.map(drop)
    }

    /// Make a version live that is in the store: by label or by the first digits of its digest.
    pub(crate) async fn promote(
        &self,
        who: &str,
        component: &ComponentId,
        name: &str,
        weight: Weight,
        widen: bool,
    ) -> Result<(), Error> {
        let mut step = self.0.step(who, component, "promote").await;
        step.widen = widen;
        let result = async {
            let digest = self.0.named(component, name).await?;
            step.version = Some(digest);
            let next = |state: &State| state.deploy(digest, weight, None);
            self.0.take(&step, next).await
        };
        let result = result.await;
        self.0.end(step, result).await.map(drop)
    }

    /// Back to what was live before, one step or to a version.
    pub(crate) async fn rollback(
        &self,
        who: &str,
        component: &ComponentId,
        back: Back,
    ) -> Result<(), Error> {
        let action = match back.health {
            Health::Asked => "rollback",
            Health::Forced => "forced rollback",
        };
        let mut step = self.0.step(who, component, action).await;
        // It had these rights before.
        step.widen = true;
        step.health = back.health;
        step.effect = Effect::AtOnce;
        let result = async {
            let Some(name) = back.to else {
                return self.0.take(&step, State::rollback).await;
            };
            let digest = self.0.named(component, &name).await?;
            step.version = Some(digest);
            let was_live = self.0.was_live(component, digest).await?;
            let next = |state: &State| match was_live {
                true => state.rollback_to(digest),
                false => Err(Refused::NeverLive(digest)),
            };
            self.0.take(&step, next).await
        };
        let result = result.await;
        self.0.end(step, result).await.map(drop)
    }

    /// Take a name of a version away.
    pub(crate) async fn unlabel(
        &self,
        who: &str,
        component: &ComponentId,
        label: &str,
    ) -> Result<(), Error> {
        let step = self.0.step(who, component, "unlabel").await;
        let result = self.0.take(&step, |state| state.unlabel(label)).await;
        self.0.end(step, result).await.map(drop)
    }

    /// Keep a component as it is, whoever asks; or no longer.
    pub(crate) async fn pin(
        &self,
        who: &str,
        component: &ComponentId,
        pinned: bool,
    ) -> Result<(), Error> {
        let action = if pinned { "pin" } else { "unpin" };
        let step = self.0.step(who, component, action).await;
        let next = |state: &State| Ok(state.pin(pinned));
        let result = self.0.take(&step, next).await;
        self.0.end(step, result).await.map(drop)
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

    async fn deploy(
        &self,
        step: &mut step::Step<'_>,
        deployment: Deployment<impl io::Read + Send + 'static>,
    ) -> Result<State, Error> {
        let id = step.component;
        self.component(id)?;
        let Deployment {
            bytes,
            weight,
            label,
            ..
        } = deployment;
        let put = async { Ok(self.versions.put(bytes, id, step.who).await?) };
        let digest = self.bounded(step, put).await?;
        step.version = Some(digest);
        let next = |state: &State| state.deploy(digest, weight, label.as_deref());
        self.take(step, next).await
    }

    /// Whether a version of the component passed every check once.
    async fn was_live(&self, id: &ComponentId, digest: Digest) -> Result<bool, Error> {
        let is_known = self
            .state(id)
            .await?
            .needed()
            .any(|(known, need)| known == digest && need != marquee_registry::Need::Label);
        let stored = self.versions.of(id).await?;
        let mut ready = stored.iter().filter(|entry| entry.metadata.was_ready);
        Ok(is_known || ready.any(|entry| entry.digest == digest))
    }

    fn set_live(&self, id: &ComponentId, live: Live<Prepared>, judged: Judged) {
        let before = self.runtime.live(id);
        let stays: BTreeSet<Digest> = live.versions().map(|version| version.digest).collect();
        let mut since = lock(&self.since);
        since.retain(|(component, digest), _| component != id || stays.contains(digest));
        for digest in &stays {
            let key = (id.clone(), *digest);
            since.entry(key).or_insert_with(SystemTime::now);
        }
        drop(since);

        self.watch(id, before.as_deref(), &live, judged);
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

#[cfg(test)]
mod tests;
