//! A step: what is asked for, prepared, and committed.
//!
//! What takes long (compiling, linking, starting, asking whether it is healthy) is done before, while others take their
//! steps. What decides is done under the lock of the states: the step is applied to the state as it is then, and what was
//! prepared is checked once more against what is live of the others. Where another version is needed by then, it is
//! prepared and the step is tried again. Bounds: [`LONGEST`] for all of it; a host that stops gives up what is not
//! committed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{
    Book, Canary, Digest, Event, Live, Need, Refused, State, StoreError, Version,
};
use marquee_runtime::{Health, LoadError, Prepared};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard};

use super::{Error, HostError, Inner, blocking, lock, now_ms};
use crate::compiler::Meanwhile;

/// Who asks for what.
pub(super) struct Step<'a> {
    pub(super) who: &'a str,
    pub(super) component: &'a ComponentId,
    /// For the history.
    pub(super) action: &'static str,
    /// The version that it is about, once that is known.
    pub(super) version: Option<Digest>,
    /// Whether a version may ask for more than the live one.
    pub(super) widen: bool,
    pub(super) health: Health,
    pub(super) effect: Effect,
    until: Instant,
    /// While one is held, nothing is removed from the store.
    _under_way: OwnedRwLockReadGuard<()>,
}

/// When a step takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// When it is remembered: else it is refused.
    Remembered,
    /// At once, and it is remembered when that can be: it ends harm, and a full disk must not keep it from that.
    AtOnce,
}

/// What has become of a step that was to be committed.
enum Committed {
    Done(State),
    /// Another version than those that are prepared is needed by now.
    Lacks,
    /// A version that is on its way out still has calls that need what this step takes away.
    Waits(Prepared),
}

impl Inner {
    pub(super) async fn step<'a>(
        &self,
        who: &'a str,
        component: &'a ComponentId,
        action: &'static str,
    ) -> Step<'a> {
        Step {
            who,
            component,
            action,
            version: None,
            widen: false,
            health: Health::Asked,
            effect: Effect::Remembered,
            until: Instant::now() + LONGEST,
            _under_way: Arc::clone(&self.under_way).read_owned().await,
        }
    }

    /// Take a step from whatever state the component is in to the next.
    pub(super) async fn take(
        &self,
        step: &Step<'_>,
        next: impl Fn(&State) -> Result<State, Refused> + Send + Sync,
    ) -> Result<State, Error> {
        let mut ready = BTreeMap::new();
        let next = &next;
        loop {
            let wanted = next(&self.state(step.component).await?)?;
            self.bounded(step, self.prepare(step, &wanted, &mut ready))
                .await?;
            match Box::pin(self.commit(step, next, &ready)).await? {
                Committed::Done(state) => {
                    self.were_live(&ready).await;
                    return Ok(state);
                }
                Committed::Lacks => {}
                Committed::Waits(version) => {
                    let ended = self.draining.ended(&version).map(Ok);
                    self.bounded(step, ended).await?;
                }
            }
        }
    }

    /// In the history and the log, whether it took effect or not; then what nobody needs any more is removed.
    pub(super) async fn end(
        &self,
        mut step: Step<'_>,
        result: Result<State, Error>,
    ) -> Result<State, Error> {
        if let Ok(state) = &result
            && step.version.is_none()
        {
            step.version = Some(state.active.stable);
        }
        self.note(&step, result.as_ref()).await;
        drop(step);
        if result.is_ok() {
            self.collect().await;
        }
        result
    }

    /// Work of a step, for as long as there is time for it.
    pub(super) async fn bounded<T>(
        &self,
        step: &Step<'_>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            result = tokio::time::timeout_at(step.until.into(), Box::pin(work)) => {
                result.unwrap_or(Err(Error::Late(LONGEST)))
            }
            () = self.stop.cancelled() => Err(Error::Stopping),
        }
    }

    /// Load what the state needs and is not live.
    async fn prepare(
        &self,
        step: &Step<'_>,
        wanted: &State,
        ready: &mut BTreeMap<Digest, Prepared>,
    ) -> Result<(), Error> {
        let id = step.component;
        for digest in wanted.active.digests() {
            if self.is_live(id, digest).is_none() && !ready.contains_key(&digest) {
                let prepared = self
                    .load(id, digest, Meanwhile::Serves, step.health)
                    .await?;
                ready.insert(digest, prepared);
            }
        }
        Ok(())
    }

    /// A version from the store: compiled, checked and tried. What was live just now is checked and tried anew.
    pub(super) async fn load(
        &self,
        id: &ComponentId,
        digest: Digest,
        meanwhile: Meanwhile,
        health: Health,
    ) -> Result<Prepared, Error> {
        let left = lock(&self.left).get(id).and_then(|left| {
            let left = left.iter().find(|version| version.version() == digest);
            left.cloned()
        });
        if let Some(left) = left {
            self.versions.want(digest, health).await?;
            return Ok(self.runtime.prepare_again(&left, health).await?);
        }
        let spec = self.component(id)?.spec.clone();
        let artifact = self.versions.compiled(digest, meanwhile, health).await;
        let artifact = artifact.map_err(|error| match error.downcast::<StoreError>() {
            Ok(error) => Error::Store(error),
            Err(error) => Error::Compile(HostError(error)),
        })?;
        Ok(self.runtime.prepare(spec, digest, artifact, health).await?)
    }

    /// Let the step stand, if what was prepared is what it needs. Not to be dropped half-way: nothing in it takes long.
    async fn commit(
        &self,
        step: &Step<'_>,
        next: &(impl Fn(&State) -> Result<State, Refused> + Send + Sync),
        ready: &BTreeMap<Digest, Prepared>,
    ) -> Result<Committed, Error> {
        let id = step.component;
        let mut book = Arc::clone(&self.book).lock_owned().await;
        let state = book.state(id);
        let next = next(state.ok_or_else(|| Error::UnknownComponent(id.clone()))?)?;
        let mut versions = BTreeMap::new();
        for digest in next.active.digests() {
            let version = match (self.is_live(id, digest), ready.get(&digest)) {
                (Some(version), _) => version,
                (None, Some(version)) => {
                    // Others may have changed since it was prepared.
                    self.runtime.check(version)?;
                    if let Some(leaving) = self.needs_more(version) {
                        return Ok(Committed::Waits(leaving));
                    }
                    self.check_rights(step, version)?;
                    version.clone()
                }
                (None, None) => return Ok(Committed::Lacks),
            };
            versions.insert(digest, version);
        }
        let Some(live) = live(id, &next, versions) else {
            return Ok(Committed::Lacks);
        };
        let states = vec![(id.clone(), next.clone())];
        match step.effect {
            Effect::Remembered => {
                book = put(book, states).await?;
                self.set_live(id, live, Judged::Yes);
            }
            Effect::AtOnce => {
                book.set(states)?;
                self.set_live(id, live, Judged::No);
                book = self.remember(book).await;
            }
        }
        drop(book);
        Ok(Committed::Done(next))
    }

    /// A version of the component that is live.
    fn is_live(&self, id: &ComponentId, digest: Digest) -> Option<Prepared> {
        let live = self.runtime.live(id)?;
        let mut versions = live.versions();
        let found = versions.find(|version| version.digest == digest)?;
        Some(found.payload.clone())
    }

    /// A version on its way out that has more from this component than this version exports.
    fn needs_more(&self, version: &Prepared) -> Option<Prepared> {
        let lacks = |importer: &Prepared| -> Result<(), LoadError> {
            self.runtime.check_between(importer, version)
        };
        let mut leaving = self.draining.all().into_iter();
        leaving.find(|importer| lacks(importer).is_err())
    }

    fn check_rights(&self, step: &Step<'_>, new: &Prepared) -> Result<(), Error> {
        let Some(live) = self.runtime.live(step.component).filter(|_| !step.widen) else {
            return Ok(());
        };
        let had = self.runtime.rights(&live.stable.payload);
        let mut added = self.runtime.rights(new);
        added.retain(|right| !had.contains(right));
        if added.is_empty() {
            Ok(())
        } else {
            Err(Error::Widens(added))
        }
    }

    /// Versions that passed every check: a rollback may name them.
    async fn were_live(&self, ready: &BTreeMap<Digest, Prepared>) {
        for digest in ready.keys() {
            if let Err(error) = self.versions.mark_ready(*digest).await {
                let error = format!("{error:#}");
                tracing::warn!(version = %digest, error, "it is not noted that a version was live");
            }
        }
    }

    /// Remove what nobody needs, unless a step is under way that may be about to: the last one does it.
    async fn collect(&self) {
        let Ok(_alone) = self.under_way.try_write() else {
            return;
        };
        let needed = self.book.lock().await.needed();
        self.collect_but(needed).await;
    }

    /// Remove what is old, but none of these.
    pub(super) async fn collect_but(&self, needed: BTreeMap<Digest, Need>) {
        if let Err(error) = self.versions.collect(needed).await {
            let error = format!("{error:#}");
            tracing::warn!(error, "old versions were not removed");
        }
    }

    /// Into the history and the log.
    async fn note(&self, step: &Step<'_>, result: Result<&State, &Error>) {
        let text = match result {
            Ok(state) => state.to_string(),
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
        let added = blocking(move || history.add(event)).await;
        if let Err(error) = added.and_then(|added| added.map_err(Into::into)) {
            let error = format!("{error:#}");
            tracing::error!(error, "the history cannot be written; it is tried again");
        }
    }
}

/// Whether the guard looks at what is new about what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Yes,
    /// Somebody went back to it.
    No,
}

/// What is live in this state, of these versions.
pub(super) fn live(
    id: &ComponentId,
    state: &State,
    mut versions: BTreeMap<Digest, Prepared>,
) -> Option<Live<Prepared>> {
    let mut take = |digest: Digest| {
        let payload = versions.remove(&digest)?;
        Some(Version { digest, payload })
    };
    let stable = take(state.active.stable)?;
    let canary = match &state.active.canary {
        Some(trial) => Some(Canary::new(id, take(trial.digest)?, trial.weight)),
        None => None,
    };
    Some(Live {
        stable,
        canary,
        labels: state.labels.clone().into_iter().collect(),
    })
}

/// Remember states. The book comes back, so that it stays locked for the rest of the step.
pub(super) async fn put(
    mut book: OwnedMutexGuard<Book>,
    states: Vec<(ComponentId, State)>,
) -> Result<OwnedMutexGuard<Book>, Error> {
    let put = blocking(move || book.put(states).map(|()| book)).await?;
    Ok(put?)
}

/// Of a step, from the last byte of its version to the moment when it is live: some times what it takes to compile a
/// large component on a busy machine.
const LONGEST: Duration = Duration::from_secs(600);
