//! A step: what is asked for, prepared, and committed.
//!
//! What takes long (compiling, linking, starting, asking whether it is healthy) is done before, while others take their
//! steps. What decides is done under the lock of the states: the step is applied to the state as it is then, and what was
//! prepared is checked once more against what is live of the others. Where another version is needed by then, it is
//! prepared and the step is tried again. Bounds: [`LONGEST`] for all of it; a host that stops gives up what is not
//! committed.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Active, Canary, Digest, Event, Live, Need, Refused, State, Version};
use marquee_runtime::{Health, LoadError, Prepared};
use tokio::sync::OwnedRwLockReadGuard;

use super::{Error, Inner, Ledger, blocking, desired::Written, lock, now_ms};
use crate::compiler::Meanwhile;

/// Who asks for what.
pub(super) struct Step<'a> {
    pub(super) who: &'a str,
    pub(super) component: &'a ComponentId,
    /// For the history.
    pub(super) action: &'static str,
    /// The version that it is about, once that is known.
    pub(super) version: Option<Digest>,
    /// Where that comes from.
    pub(super) from: Option<String>,
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
    /// Whether it can be remembered or not, and then it is when that can be: it ends harm, and neither a full disk nor a
    /// database that is away may keep it from that.
    AtOnce,
    /// It stands already: another host took it.
    Followed,
}

/// What has become of a step that was to be committed.
enum Committed {
    Done(Box<State>),
    /// Another version than those that are prepared is needed by now.
    Lacks,
    /// Another host took a step since.
    Behind,
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
            from: None,
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
        if step.effect != Effect::Followed {
            // A refusal must not rest on what is over by now. Without the ledger it is found out when the step is written.
            let _ = tokio::time::timeout(PATIENCE, self.hear()).await;
        }
        loop {
            let wanted = next(&self.state(step.component).await?)?;
            self.bounded(step, self.prepare(step, &wanted, &mut ready))
                .await?;
            match Box::pin(self.commit(step, next, &ready)).await? {
                Committed::Done(state) => {
                    self.were_live(&ready).await;
                    return Ok(*state);
                }
                Committed::Lacks => {}
                Committed::Behind => match step.effect {
                    // What another host brought need not be live before it ends.
                    Effect::AtOnce => drop(self.bounded(step, self.hear()).await?),
                    _ => self.bounded(step, self.catch_up()).await?,
                },
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

    /// The same of a step that each host begins when its time has come: those that come too late say nothing. What failed is in
    /// the log and the history, and tried again.
    pub(super) async fn end_unless_idle(&self, step: Step<'_>, result: Result<State, Error>) {
        if !matches!(result, Err(Error::Refused(Refused::Idle))) {
            let _ = self.end(step, result).await;
        }
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
        for digest in self.here(wanted).digests() {
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
        let fetched = self.fetch(id, digest).await;
        let left = lock(&self.left).get(id).and_then(|left| {
            let left = left.iter().find(|version| version.version() == digest);
            left.cloned()
        });
        if let Some(left) = left {
            self.versions.want(digest, health).await?;
            return Ok(self.runtime.prepare_again(&left, health).await?);
        }
        fetched?;
        let spec = self.component(id)?.spec.clone();
        let artifact = self.versions.compiled(digest, meanwhile, health).await?;
        Ok(self.runtime.prepare(spec, digest, artifact, health).await?)
    }

    /// Have a version on this host that another one brought.
    async fn fetch(&self, id: &ComponentId, digest: Digest) -> Result<(), Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        if !self.versions.has(id, digest).await? {
            let stored = ledger.version(id, digest).await?;
            let bytes = io::Cursor::new(stored.bytes);
            self.versions.put(bytes, id, &stored.by).await?;
            self.versions.sign(digest, stored.signature).await?;
        }
        Ok(())
    }

    /// What is live in a state on this host.
    pub(super) fn here<'a>(&self, state: &'a State) -> &'a Active {
        state.on(self.ledger.as_ref().map(Ledger::host).unwrap_or_default())
    }

    /// Let the step stand, if what was prepared is what it needs. Not to be dropped half-way: nothing in it takes long.
    async fn commit(
        &self,
        step: &Step<'_>,
        next: &(impl Fn(&State) -> Result<State, Refused> + Send + Sync),
        ready: &BTreeMap<Digest, Prepared>,
    ) -> Result<Committed, Error> {
        let id = step.component;
        let mut desired = self.desired.lock().await;
        let state = desired.state(id);
        let state = state.ok_or_else(|| Error::UnknownComponent(id.clone()))?;
        let next = next(&state)?;
        let mut versions = BTreeMap::new();
        for digest in self.here(&next).digests() {
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
        let Some(live) = live(id, self.here(&next), &next, versions) else {
            return Ok(Committed::Lacks);
        };
        let states = vec![(id.clone(), next.clone())];
        match step.effect {
            Effect::Remembered => {
                let written = desired.put(states, step.health, &self.versions).await?;
                if written == Written::Behind {
                    return Ok(Committed::Behind);
                }
                self.set_live(id, live, Judged::Yes);
            }
            Effect::AtOnce => {
                let written = desired.put(states.clone(), step.health, &self.versions);
                let error = match tokio::time::timeout(PATIENCE, written).await {
                    Ok(Ok(Written::Done)) => None,
                    Ok(Ok(Written::Behind)) => return Ok(Committed::Behind),
                    Ok(Err(error)) => Some(marquee_runtime::chain(&error)),
                    Err(_) => Some("the database of releases does not answer".to_owned()),
                };
                if error.is_some() {
                    desired.set(states, step.health)?;
                }
                self.set_live(id, live, Judged::No);
                if error.is_some() {
                    self.is_remembered(error);
                }
            }
            Effect::Followed => {
                let judged = self.comes_after(id, &next);
                self.set_live(id, live, judged);
            }
        }
        Ok(Committed::Done(Box::new(next)))
    }

    /// A state whose version before is the one that is live is a step forward, and looked at.
    fn comes_after(&self, id: &ComponentId, next: &State) -> Judged {
        let live = self.runtime.live(id).map(|live| live.stable.digest);
        let before = next.previous.as_ref().map(|previous| previous.stable);
        match before.is_some() && before == live {
            true => Judged::Yes,
            false => Judged::No,
        }
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
    pub(super) async fn were_live(&self, ready: &BTreeMap<Digest, Prepared>) {
        for digest in ready.keys() {
            if let Err(error) = self.versions.mark_ready(*digest).await {
                let error = marquee_runtime::chain(&error);
                tracing::warn!(version = %digest, error, "it is not noted that a version was live");
            }
        }
    }

    /// Remove what nobody needs, unless a step is under way that may be about to: the last one does it.
    pub(super) async fn collect(&self) {
        let Ok(_alone) = self.under_way.try_write() else {
            return;
        };
        let desired = self.desired.lock().await;
        let (needed, revision) = (desired.needed(), desired.revision());
        drop(desired);
        if let Some(ledger) = &self.ledger {
            let kept = self.versions.kept();
            let collected = ledger.collect(revision, kept, needed.keys().copied());
            if let Err(error) = collected.await {
                let error = marquee_runtime::chain(&error);
                tracing::warn!(
                    error,
                    "old versions were not removed from the database of releases"
                );
            }
        }
        self.collect_but(needed).await;
    }

    /// Remove what is old, but none of these.
    async fn collect_but(&self, needed: BTreeMap<Digest, Need>) {
        if let Err(error) = self.versions.collect(needed).await {
            let error = marquee_runtime::chain(&error);
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
            from: step.from.clone(),
            result: text,
            ok: result.is_ok(),
        };
        if let Some(ledger) = &self.ledger
            && let Err(error) = ledger.add(&event).await
        {
            let error = marquee_runtime::chain(&error);
            tracing::error!(
                error,
                "the history of all hosts cannot be written; that of this one is"
            );
        }
        let history = self.history.clone();
        let added = blocking(move || history.add(event)).await;
        if let Err(error) = added {
            let error = marquee_runtime::chain(&error);
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
    active: &Active,
    state: &State,
    mut versions: BTreeMap<Digest, Prepared>,
) -> Option<Live<Prepared>> {
    let mut take = |digest: Digest| {
        let payload = versions.remove(&digest)?;
        Some(Version { digest, payload })
    };
    let stable = take(active.stable)?;
    let canary = match &active.canary {
        Some(trial) => Some(Canary::new(id, take(trial.digest)?, trial.weight)),
        None => None,
    };
    Some(Live {
        stable,
        canary,
        labels: state.labels.clone().into_iter().collect(),
    })
}

/// Of a step that ends harm: what does not answer by then is told later.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of a step, from the last byte of its version to the moment when it is live: some times what it takes to compile a
/// large component on a busy machine.
const LONGEST: Duration = Duration::from_secs(600);
