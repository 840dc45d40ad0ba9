//! Releases: which versions of the components are live, and the steps that change it.
//!
//! Promise: a version is checked whole before it gets a call; a step that fails leaves what was live as it was; what
//! took effect is remembered over restarts and stands in the history, with who asked for it. What takes long in a step
//! holds up no other one. A rollback needs no disk: it takes effect, and is remembered when that can be. Not here:
//! compiling, calls, how a person asks.

mod compiler;
pub mod components;
mod desired;
mod drain;
mod error;
mod follow;
mod guard;
mod ledger;
mod migrations;
mod provenance;
mod ramp;
mod remember;
mod report;
mod start;
mod step;
pub mod telemetry;
mod versions;
mod waves;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use marquee_manifest::ComponentId;
use marquee_registry::{
    Book, Digest, Event, History, Live, Ramp, Refused, State, States, StoreError, Weight, together,
};
use marquee_runtime::{Comparison, Health, Prepared, Runtime, Spec};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use compiler::{CompileError, confine};
pub use error::{Error, LedgerError};
pub use ledger::{HostReport, Ledger};
pub use provenance::{KeyError, NotASignature, Signature, Trust, Unsigned, make_key, sign};
pub use report::{ComponentReport, Partitions, VersionReport};
pub use start::{Start, StartError};
pub use versions::Versions;

use desired::Desired;
use step::{Effect, Judged};

/// All that can be released. Cheap to clone.
#[derive(Clone)]
pub struct Releases(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    versions: Versions,
    components: BTreeMap<ComponentId, Component>,
    /// All of them, who is imported from before who imports.
    order: Vec<ComponentId>,
    history: History,
    /// Held while a step is committed.
    desired: tokio::sync::Mutex<Desired>,
    /// What all hosts share, if they share anything.
    ledger: Option<Ledger>,
    /// What other hosts wrote and is not live here yet.
    behind: Mutex<follow::Behind>,
    /// Held while it is made so.
    following: tokio::sync::Mutex<()>,
    progress: Mutex<follow::Progress>,
    /// Told when it has come further.
    news_of_us: Notify,
    /// Why what is live is not remembered, if it is not.
    unsaved: Mutex<Option<String>>,
    /// Read by each step, written by what removes old versions.
    under_way: Arc<tokio::sync::RwLock<()>>,
    watched: Mutex<BTreeMap<ComponentId, guard::Watch>>,
    /// When each live version became so, as far as this process knows.
    since: Mutex<BTreeMap<(ComponentId, Digest), SystemTime>>,
    draining: drain::Draining,
    tally: telemetry::Tally,
    /// Of each component, what was live until the last step: to go back to it, nothing is read or compiled.
    left: Mutex<BTreeMap<ComponentId, Vec<Prepared>>>,
    tasks: TaskTracker,
    /// The host is on its way down: what is not committed is given up.
    stop: CancellationToken,
}

impl Inner {
    /// Nothing is live yet. The components are in the order of their dependencies.
    fn new(
        runtime: Runtime,
        versions: Versions,
        components: Vec<(ComponentId, Component)>,
        book: Book,
        ledger: Option<Ledger>,
    ) -> Self {
        Self {
            order: components.iter().map(|(id, _)| id.clone()).collect(),
            components: components.into_iter().collect(),
            history: History::of(versions.folder()),
            desired: tokio::sync::Mutex::new(Desired::new(book, ledger.clone())),
            ledger,
            behind: Mutex::default(),
            following: tokio::sync::Mutex::default(),
            progress: Mutex::default(),
            news_of_us: Notify::new(),
            runtime,
            versions,
            unsaved: Mutex::default(),
            under_way: Arc::default(),
            watched: Mutex::default(),
            since: Mutex::default(),
            draining: drain::Draining::default(),
            tally: telemetry::Tally::default(),
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
pub struct Deployment<B> {
    /// Yields the component's bytes.
    pub bytes: B,
    /// A name for the version.
    pub label: Option<String>,
    /// Who vouches for it, if somebody does.
    pub signature: Option<Signature>,
    /// Where it comes from, for the history.
    pub from: Option<String>,
    /// The newest migration that it was released with, if it says so.
    pub migration: Option<i32>,
    /// How it is made live.
    pub how: How,
}

/// Versions of the store that are to be live at one moment, each with all calls.
pub struct Release {
    /// Of each component.
    pub parts: BTreeMap<ComponentId, Part>,
    /// Whether they may ask for more than the versions that are live.
    pub widen: bool,
    /// How many hosts they reach first; the others when they are live there. None: all at once.
    pub hosts: Option<u32>,
}

/// A component's version in a release.
pub struct Part {
    /// A label, or the first digits of a digest.
    pub version: String,
    /// A name for it.
    pub label: Option<String>,
    /// Where it comes from, for the history.
    pub from: Option<String>,
    /// The newest migration that it was released with, if it says so.
    pub migration: Option<i32>,
}

/// Which version of the store is to be live.
pub struct Promotion {
    /// A label, or the first digits of a digest.
    pub version: String,
    /// How it is made live.
    pub how: How,
}

/// How a version is made live.
#[derive(Debug, Clone)]
pub struct How {
    /// With how much of the calls.
    pub share: Share,
    /// Whether it may ask for more than the version that is live.
    pub widen: bool,
    /// How many hosts it reaches first; the others when it is live there. None: all at once.
    pub hosts: Option<u32>,
}

/// How much of the calls a version gets.
#[derive(Debug, Clone)]
pub enum Share {
    /// So much, until somebody takes another step.
    Fixed(Weight),
    /// One share after the other, each for so long, unless somebody takes a step or the guard takes it back.
    Ramp(Ramp, Duration),
    /// None: it gets copies of so many of them, and is compared with the live version. Nothing that it does stands.
    Shadow(Weight),
}

impl Default for How {
    /// All calls, on all hosts, with the rights that there are.
    fn default() -> Self {
        Self {
            share: Share::Fixed(Weight::ALL),
            widen: false,
            hosts: None,
        }
    }
}

impl Share {
    /// The state in which a version has it.
    fn of(&self, state: &State, digest: Digest, label: Option<&str>) -> Result<State, Refused> {
        match self {
            Self::Fixed(weight) => state.deploy(digest, *weight, label),
            Self::Shadow(weight) => state.shadow(digest, *weight, label),
            Self::Ramp(ramp, every) => {
                let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
                state.ramp(digest, ramp, every_ms, now_ms(), label)
            }
        }
    }
}

/// What to go back to.
pub struct Back {
    /// This version: a label, or the first digits of a digest. None: the one before.
    pub to: Option<String>,
    /// Whether it is asked if it is healthy.
    pub health: Health,
}

impl Releases {
    /// The components with their stable versions, in the order of their names.
    pub fn stable(&self) -> Vec<(ComponentId, Digest)> {
        let digest = |id: &ComponentId| self.0.runtime.live(id).map(|live| live.stable.digest);
        let ids = self.0.components.keys();
        ids.filter_map(|id| Some((id.clone(), digest(id)?)))
            .collect()
    }

    /// The components of which no version is live.
    pub fn missing(&self) -> Vec<String> {
        let ids = self.0.components.keys();
        let missing = ids.filter(|id| self.0.runtime.live(id).is_none());
        missing.map(ToString::to_string).collect()
    }

    /// Until `stop`: take back new versions that do worse than the old ones, do what other hosts do, and remember what could
    /// not be.
    pub async fn run(self, stop: CancellationToken) {
        let remember = remember::run(self.clone(), stop.clone());
        let follow = follow::run(self.clone(), stop.clone());
        let ramp = ramp::run(self.clone(), stop.clone());
        tokio::join!(guard::run(self, stop), remember, follow, ramp);
    }

    /// Cancelled when nothing is to be begun any more.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Take a step to its end, whether the one who asked for it waits or not.
    pub async fn carry_out<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.0.tasks.spawn(step).await?
    }

    /// Whether the data folder is this host's, and no other one's on this machine.
    pub async fn is_ours(&self) -> bool {
        self.0.desired.lock().await.is_ours()
    }

    /// The hosts of the application, this one among them. Without a ledger hosts do not know each other.
    pub async fn hosts(&self) -> Result<Vec<HostReport>, Error> {
        match &self.0.ledger {
            Some(ledger) => Ok(ledger.hosts().await?),
            None => Ok(Vec::new()),
        }
    }

    /// Why this host does not do what the others do, if it does not.
    pub fn lags(&self) -> Option<String> {
        self.0.lags()
    }

    /// Give up what is not committed, wait until no version is draining, and remember what could not be.
    pub async fn drained(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.remember_all().await;
        if let Some(ledger) = &self.0.ledger
            && let Err(error) = ledger.leave().await
        {
            let error = marquee_runtime::chain(&error);
            tracing::debug!(error, "the other hosts do not hear that this one stops");
        }
    }

    /// Check a version and make it live. The same bytes twice are one version.
    pub async fn deploy(
        &self,
        who: &str,
        component: &ComponentId,
        deployment: Deployment<impl io::Read + Send + 'static>,
    ) -> Result<(), Error> {
        let mut step = self.0.step(who, component, "deploy").await;
        step.widen = deployment.how.widen;
        let result = self.0.deploy(&mut step, component, deployment).await;
        self.0.end(step, result).await.map(drop)
    }

    /// Have a version in the store, to be released later. Nothing of it is checked, but that it is whole.
    pub async fn store(
        &self,
        who: &str,
        component: &ComponentId,
        digest: Digest,
        version: (impl io::Read + Send + 'static, Option<Signature>),
    ) -> Result<(), Error> {
        self.0.component(component)?;
        let (bytes, signature) = version;
        let step = self.0.step(who, component, "store").await;
        let store = async {
            let stored = self.0.versions.put(bytes, component, who).await?;
            if stored != digest {
                return Err(Error::Others(stored));
            }
            self.0.versions.sign(digest, signature).await
        };
        self.0.bounded(&step, store).await
    }

    /// Make versions of several components live, that are in the store, as one step: checked together, live at one moment,
    /// on every host or on none.
    pub async fn release(&self, who: &str, release: Release) -> Result<(), Error> {
        let Release {
            parts,
            widen,
            hosts,
        } = release;
        let mut step = self.0.step_of(who, parts.keys(), "deploy").await;
        step.widen = widen;
        let from = parts.iter();
        let from = from.filter_map(|(id, part)| Some(format!("{id} {}", part.from.as_ref()?)));
        step.from = Some(from.collect::<Vec<_>>().join(", ")).filter(|from| !from.is_empty());
        let result = async {
            for (id, part) in &parts {
                self.0.component(id)?;
                let digest = self.0.named(id, &part.version).await?;
                step.versions.insert(id.clone(), digest);
            }
            let label = |id: &ComponentId| parts.get(id)?.label.clone();
            let with = |id: &ComponentId, state: &State| {
                let migration = parts.get(id).and_then(|part| part.migration);
                let digest = step.versions.get(id).copied();
                Ok(digest.map_or_else(|| state.clone(), |it| state.released_with(it, migration)))
            };
            let next = |states: &States| {
                let states = together::each(states, with)?;
                together::deploy(&states, &step.versions, label)
            };
            self.0.advance(&step, hosts, next).await
        };
        let result = result.await;
        self.0.end(step, result).await.map(drop)
    }

    /// Make a version live that is in the store: by label or by the first digits of its digest.
    pub async fn promote(
        &self,
        who: &str,
        component: &ComponentId,
        promotion: Promotion,
    ) -> Result<(), Error> {
        let Promotion { version, how } = promotion;
        let mut step = self.0.step(who, component, "promote").await;
        step.widen = how.widen;
        let result = async {
            let digest = self.0.named(component, &version).await?;
            step.versions.insert(component.clone(), digest);
            let next = |_: &ComponentId, state: &State| how.share.of(state, digest, None);
            let next = |states: &States| together::each(states, next);
            self.0.advance(&step, how.hosts, next).await
        };
        let result = result.await;
        self.0.end(step, result).await.map(drop)
    }

    /// Back to what was live before, one step or to a version. Components that came in one step go back in one.
    pub async fn rollback(
        &self,
        who: &str,
        component: &ComponentId,
        back: Back,
    ) -> Result<(), Error> {
        let action = match back.health {
            Health::Asked => "rollback",
            Health::Forced => "forced rollback",
        };
        let Some(name) = back.to else {
            let mut step = self.0.step_back(who, component, action).await?;
            step.health = back.health;
            let result = self.0.take(&step, together::rollback).await;
            return self.0.end(step, result).await.map(drop);
        };
        let mut step = self.0.step(who, component, action).await;
        // It had these rights before.
        step.widen = true;
        step.health = back.health;
        step.effect = Effect::AtOnce;
        let result = async {
            let digest = self.0.named(component, &name).await?;
            step.versions.insert(component.clone(), digest);
            let was_live = self.0.was_live(component, digest).await?;
            let next = |_: &ComponentId, state: &State| match was_live {
                true => state.rollback_to(digest),
                false => Err(Refused::NeverLive(digest)),
            };
            let next = |states: &States| together::each(states, next);
            self.0.take(&step, next).await
        };
        let result = result.await;
        self.0.end(step, result).await.map(drop)
    }

    /// Take a name of a version away.
    pub async fn unlabel(
        &self,
        who: &str,
        component: &ComponentId,
        label: &str,
    ) -> Result<(), Error> {
        let step = self.0.step(who, component, "unlabel").await;
        let next = |states: &States| together::each(states, |_, state| state.unlabel(label));
        let result = self.0.take(&step, next).await;
        self.0.end(step, result).await.map(drop)
    }

    /// The version that gets copies of calls gets none any more.
    pub async fn unshadow(&self, who: &str, component: &ComponentId) -> Result<(), Error> {
        let mut step = self.0.step(who, component, "unshadow").await;
        let shadow = self.0.state(component).await?.active.shadow;
        if let Some(shadow) = shadow {
            step.versions.insert(component.clone(), shadow.digest);
        }
        let next = |states: &States| together::each(states, |_, state| state.unshadow());
        let result = self.0.take(&step, next).await;
        self.0.end(step, result).await.map(drop)
    }

    /// What came of the copies that the shadow of a component got on this host. None: it has none.
    pub fn comparison(&self, component: &ComponentId) -> Result<Option<Comparison>, Error> {
        self.0.component(component)?;
        Ok(self.0.runtime.comparison(component))
    }

    /// Keep a component as it is, whoever asks; or no longer.
    pub async fn pin(&self, who: &str, component: &ComponentId, pinned: bool) -> Result<(), Error> {
        let action = if pinned { "pin" } else { "unpin" };
        let step = self.0.step(who, component, action).await;
        let next = |states: &States| together::each(states, |_, state| state.pin(pinned));
        let result = self.0.take(&step, next).await;
        self.0.end(step, result).await.map(drop)
    }

    /// The newest changes, newest first.
    pub async fn history(
        &self,
        count: usize,
        component: Option<ComponentId>,
    ) -> Result<Vec<Event>, Error> {
        if let Some(ledger) = &self.0.ledger {
            match ledger.newest(count, component.as_ref()).await {
                Ok(events) => return Ok(events),
                Err(error) => {
                    let error = marquee_runtime::chain(&error);
                    tracing::warn!(
                        error,
                        "the history of all hosts cannot be read; here is that of this one"
                    );
                }
            }
        }
        let history = self.0.history.clone();
        blocking(move || history.newest(count, component.as_ref())).await
    }

    /// The bytes of a version that a person names.
    pub async fn bytes(&self, component: &ComponentId, name: &str) -> Result<Vec<u8>, Error> {
        let digest = self.0.named(component, name).await?;
        self.0.versions.bytes(digest).await
    }
}

impl Inner {
    fn component(&self, id: &ComponentId) -> Result<&Component, Error> {
        self.components
            .get(id)
            .ok_or_else(|| Error::UnknownComponent(id.clone()))
    }

    async fn state(&self, id: &ComponentId) -> Result<State, Error> {
        let state = self.desired.lock().await.state(id);
        state.ok_or_else(|| Error::UnknownComponent(id.clone()))
    }

    /// The version that a person means.
    async fn named(&self, id: &ComponentId, name: &str) -> Result<Digest, Error> {
        let known = self.versions.of(id).await?;
        let mut known: Vec<Digest> = known.into_iter().map(|entry| entry.digest).collect();
        if let Some(ledger) = &self.ledger {
            // Those that other hosts brought. Without it, those of this one.
            known.extend(ledger.versions(id).await.unwrap_or_default());
            known.sort_unstable();
            known.dedup();
        }
        Ok(self.state(id).await?.resolve(name, &known)?)
    }

    async fn deploy(
        &self,
        step: &mut step::Step<'_>,
        id: &ComponentId,
        deployment: Deployment<impl io::Read + Send + 'static>,
    ) -> Result<States, Error> {
        self.component(id)?;
        let Deployment {
            bytes,
            label,
            signature,
            from,
            migration,
            how,
        } = deployment;
        step.from = from;
        let put = async {
            let digest = self.versions.put(bytes, id, step.who).await?;
            self.versions.sign(digest, signature).await?;
            Ok(digest)
        };
        let digest = self.bounded(step, put).await?;
        step.versions.insert(id.clone(), digest);
        let next = |_: &ComponentId, state: &State| {
            let state = state.released_with(digest, migration);
            how.share.of(&state, digest, label.as_deref())
        };
        let next = |states: &States| together::each(states, next);
        self.advance(step, how.hosts, next).await
    }

    /// A step back of a component, and of those that came with it.
    async fn step_back<'a>(
        &self,
        who: &'a str,
        component: &ComponentId,
        action: &'static str,
    ) -> Result<step::Step<'a>, Error> {
        // Of what another host has done since, too.
        let _ = tokio::time::timeout(step::PATIENCE, self.hear()).await;
        let state = self.state(component).await?;
        let mut of: BTreeSet<&ComponentId> = state.goes_back_with().collect();
        of.insert(component);
        let mut step = self.step_of(who, of, action).await;
        // They had these rights before.
        step.widen = true;
        step.effect = Effect::AtOnce;
        Ok(step)
    }

    /// Whether a version of the component passed every check once.
    async fn was_live(&self, id: &ComponentId, digest: Digest) -> Result<bool, Error> {
        let is_known = self
            .state(id)
            .await?
            .needed()
            .any(|(known, need)| known == digest && need != marquee_registry::Need::Label);
        if is_known {
            return Ok(true);
        }
        if let Some(ledger) = &self.ledger
            && let Ok(known) = ledger.versions(id).await
            && known.contains(&digest)
        {
            return Ok(true);
        }
        let stored = self.versions.of(id).await?;
        let mut ready = stored.iter().filter(|entry| entry.metadata.was_ready);
        Ok(ready.any(|entry| entry.digest == digest))
    }

    /// These are live from this moment on; what was, drains.
    fn set_live(&self, all: Vec<(ComponentId, Live<Prepared>, Judged)>) {
        let mut left = Vec::new();
        for (id, live, judged) in &all {
            let before = self.runtime.live(id);
            let stays: BTreeSet<Digest> = live.versions().map(|version| version.digest).collect();
            let mut since = lock(&self.since);
            since.retain(|(component, digest), _| component != id || stays.contains(digest));
            for digest in &stays {
                let key = (id.clone(), *digest);
                since.entry(key).or_insert_with(SystemTime::now);
            }
            drop(since);

            self.watch(id, before.as_deref(), live, *judged);
            let before = before.iter().flat_map(|live| live.versions());
            let leaves = before.filter(|version| !stays.contains(&version.digest));
            let leaves: Vec<Prepared> = leaves.map(|version| version.payload.clone()).collect();
            if !leaves.is_empty() {
                left.push((id.clone(), leaves));
            }
        }
        let all = all.into_iter().map(|(id, live, _)| (id, live));
        self.runtime.set_live(all.collect());
        for (id, leaves) in left {
            let patience = self.components.get(&id).map(|c| c.patience);
            for version in &leaves {
                let patience = patience.unwrap_or_default();
                let work = self.draining.watch(id.clone(), version.clone(), patience);
                self.tasks.spawn(work);
            }
            lock(&self.left).insert(id, leaves);
        }
    }
}

/// Work on the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    Ok(tokio::task::spawn_blocking(work).await??)
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
mod hosts_tests;
#[cfg(test)]
mod tests;
