//! A step: what is asked for, prepared, and committed.
//!
//! What takes long (compiling, linking, starting, asking whether it is healthy) is done before, while others take their
//! steps. What decides is done under the lock of the states: the step is applied to the state as it is then, and what was
//! prepared is checked once more against what is live of the others. Where another version is needed by then, it is
//! prepared and the step is tried again. A step of several components is one: checked against each other's new versions,
//! written as one revision, live at one moment. Bounds: [`LONGEST`] for all of it; a host that stops gives up what is not
//! committed.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{
    Active, Canary, Digest, Event, Live, Need, Refused, Shadow, State, States, Together, Version,
    together,
};
use marquee_runtime::{Beside, Health, LoadError, Prepared};
use marquee_telemetry::Histogram;
use tokio::sync::OwnedRwLockReadGuard;

use super::{Error, Inner, Ledger, blocking, desired::Written, lock, now_ms};
use crate::compiler::Meanwhile;

/// Who asks for what.
#[derive(Clone)]
pub(super) struct Step<'a> {
    pub(super) who: &'a str,
    /// Those that it changes, who is imported from before who imports.
    pub(super) components: Vec<ComponentId>,
    /// For the history.
    pub(super) action: &'static str,
    /// The versions that it is about, once they are known.
    pub(super) versions: Together,
    /// Where they come from.
    pub(super) from: Option<String>,
    /// Whether a version may ask for more than the live one.
    pub(super) widen: bool,
    pub(super) health: Health,
    pub(super) effect: Effect,
    /// What it did beside, for the history.
    pub(super) also: String,
    until: Instant,
    /// While one is held, nothing is removed from the store.
    _under_way: Arc<OwnedRwLockReadGuard<()>>,
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
    /// It stands. These components wait here until calls that need what it takes away have ended.
    Done(States, Vec<ComponentId>),
    /// Another version than those that are prepared is needed by now.
    Lacks,
    /// Another host took a step since.
    Behind,
    /// A version that is on its way out still has calls that need what this step takes away.
    Waits(Prepared),
}

/// Notes how long it was there.
struct Timed<'a>(&'a Histogram, Instant);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.0.observe(self.1.elapsed());
    }
}

/// Versions that are prepared.
pub(super) type Ready = BTreeMap<(ComponentId, Digest), Prepared>;

impl Step<'_> {
    /// The part of it that is about these components, which stands already.
    fn rest(&self, components: Vec<ComponentId>, patience: Duration) -> Self {
        Self {
            components,
            effect: Effect::Followed,
            until: Instant::now() + patience + LONGEST,
            ..self.clone()
        }
    }
}

impl Inner {
    /// A step of one component.
    pub(super) async fn step<'a>(
        &self,
        who: &'a str,
        component: &ComponentId,
        action: &'static str,
    ) -> Step<'a> {
        self.step_of(who, [component], action).await
    }

    /// A step of these components.
    pub(super) async fn step_of<'a>(
        &self,
        who: &'a str,
        components: impl IntoIterator<Item = &ComponentId>,
        action: &'static str,
    ) -> Step<'a> {
        let mut components: Vec<ComponentId> = components.into_iter().cloned().collect();
        components.sort_by_key(|id| self.order.iter().position(|it| it == id));
        Step {
            who,
            components,
            action,
            versions: Together::new(),
            from: None,
            widen: false,
            health: Health::Asked,
            effect: Effect::Remembered,
            also: String::new(),
            until: Instant::now() + LONGEST,
            _under_way: Arc::new(Arc::clone(&self.under_way).read_owned().await),
        }
    }

    /// Take a step from whatever states its components are in to the next.
    pub(super) async fn take(
        &self,
        step: &Step<'_>,
        next: impl Fn(&States) -> Result<States, Refused> + Send + Sync,
    ) -> Result<States, Error> {
        let mut ready = Ready::new();
        let (states, later) = self.take_with(step, &next, &mut ready).await?;
        if later.is_empty() {
            return Ok(states);
        }
        let of = |id: &ComponentId| Some(self.components.get(id)?.patience);
        let patience = later.iter().filter_map(of).max();
        let rest = step.rest(later, patience.unwrap_or_default());
        let as_it_is = |states: &States| Ok(states.clone());
        let taken = Box::pin(self.take_with(&rest, &as_it_is, &mut ready)).await;
        match taken {
            // It is remembered: the next start has it.
            Ok(_) | Err(Error::Stopping) => Ok(states),
            Err(error) => Err(error),
        }
    }

    /// The same, with what is prepared already. Which components are not live in their new states yet, since calls under
    /// way need what was live.
    async fn take_with(
        &self,
        step: &Step<'_>,
        next: &(impl Fn(&States) -> Result<States, Refused> + Send + Sync),
        ready: &mut Ready,
    ) -> Result<(States, Vec<ComponentId>), Error> {
        if step.effect != Effect::Followed {
            // A refusal must not rest on what is over by now. Without the ledger it is found out when the step is written.
            let _ = tokio::time::timeout(PATIENCE, self.hear()).await;
        }
        loop {
            let wanted = next(&self.states(step).await?)?;
            let begun = Instant::now();
            let prepared = self.bounded(step, self.prepare(step, &wanted, ready)).await;
            self.tally.prepare.observe(begun.elapsed());
            prepared?;
            match Box::pin(self.commit(step, next, ready)).await? {
                Committed::Done(states, later) => {
                    self.were_live(ready).await;
                    return Ok((states, later));
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

    /// The states of a step's components.
    pub(super) async fn states(&self, step: &Step<'_>) -> Result<States, Error> {
        let mut states = States::new();
        for id in &step.components {
            states.insert(id.clone(), self.state(id).await?);
        }
        Ok(states)
    }

    /// In the history and the log, whether it took effect or not; then what nobody needs any more is removed.
    pub(super) async fn end(
        &self,
        mut step: Step<'_>,
        result: Result<States, Error>,
    ) -> Result<States, Error> {
        for (id, state) in result.iter().flatten() {
            let version = step.versions.entry(id.clone());
            version.or_insert(state.active.stable);
        }
        self.tally.step(step.action, &result);
        self.note(&step, result.as_ref()).await;
        drop(step);
        if result.is_ok() {
            self.collect().await;
        }
        result
    }

    /// The same of a step that each host begins when its time has come: those that come too late say nothing. What failed is in
    /// the log and the history, and tried again.
    pub(super) async fn end_unless_idle(&self, step: Step<'_>, result: Result<States, Error>) {
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

    /// Load what the states need and is not live, who is imported from before who imports.
    async fn prepare(
        &self,
        step: &Step<'_>,
        wanted: &States,
        ready: &mut Ready,
    ) -> Result<(), Error> {
        // Of those behind it in the order nothing is known yet.
        let mut beside: BTreeMap<ComponentId, Vec<Prepared>> =
            wanted.keys().map(|id| (id.clone(), Vec::new())).collect();
        for id in &step.components {
            let Some(state) = wanted.get(id) else {
                continue;
            };
            let here = self.here(state);
            let mut versions = Vec::new();
            for digest in here.digests() {
                let key = (id.clone(), digest);
                let known = self.is_live(id, digest);
                let known = known.or_else(|| ready.get(&key).cloned());
                let version = match known {
                    Some(version) => version,
                    None => {
                        let beside = Beside::of(beside.clone());
                        let how = (Meanwhile::Serves, step.health);
                        let loaded = self.load(id, digest, how, &beside).await?;
                        ready.insert(key, loaded.clone());
                        loaded
                    }
                };
                if here.called().any(|it| it == digest) {
                    versions.push(version);
                }
            }
            beside.insert(id.clone(), versions);
        }
        Ok(())
    }

    /// A version from the store: compiled, checked and tried. What was live just now is checked and tried anew.
    pub(super) async fn load(
        &self,
        id: &ComponentId,
        digest: Digest,
        (meanwhile, health): (Meanwhile, Health),
        beside: &Beside,
    ) -> Result<Prepared, Error> {
        let fetched = self.fetch(id, digest).await;
        let left = lock(&self.left).get(id).and_then(|left| {
            let left = left.iter().find(|version| version.version() == digest);
            left.cloned()
        });
        if let Some(left) = left {
            self.versions.want(digest, health).await?;
            let again = self.runtime.prepare_again(&left, health, beside);
            return Ok(again.await?);
        }
        fetched?;
        let spec = self.component(id)?.spec.clone();
        let artifact = self.versions.compiled(digest, meanwhile, health).await?;
        let prepared = self.runtime.prepare(spec, digest, artifact, health, beside);
        Ok(prepared.await?)
    }

    /// Have a version on this host that another one brought.
    async fn fetch(&self, id: &ComponentId, digest: Digest) -> Result<(), Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        if self.versions.has(id, digest).await? {
            // It may have come before somebody vouched for it, and others have heard who does.
            if !self.versions.is_trusted(digest).await?
                && let Ok(stored) = ledger.version(id, digest).await
            {
                self.versions.sign(digest, stored.signature).await?;
            }
            return Ok(());
        }
        let stored = ledger.version(id, digest).await?;
        let bytes = io::Cursor::new(stored.bytes);
        self.versions.put(bytes, id, &stored.by).await?;
        self.versions.sign(digest, stored.signature).await
    }

    /// What is live in a state on this host.
    pub(super) fn here<'a>(&self, state: &'a State) -> &'a Active {
        state.on(self.ledger.as_ref().map(Ledger::host).unwrap_or_default())
    }

    /// Let the step stand, if what was prepared is what it needs. Not to be dropped half-way: nothing in it takes long.
    async fn commit(
        &self,
        step: &Step<'_>,
        next: &(impl Fn(&States) -> Result<States, Refused> + Send + Sync),
        ready: &Ready,
    ) -> Result<Committed, Error> {
        let mut desired = self.desired.lock().await;
        let _timed = Timed(&self.tally.commit, Instant::now());
        let mut states = States::new();
        for id in &step.components {
            let state = desired.state(id);
            let state = state.ok_or_else(|| Error::UnknownComponent(id.clone()))?;
            states.insert(id.clone(), state);
        }
        let next = next(&states)?;
        let mut kept = BTreeMap::new();
        let mut beside = BTreeMap::new();
        let mut new = Vec::new();
        for (id, next) in &next {
            let here = self.here(next);
            let (mut all, mut called) = (BTreeMap::new(), Vec::new());
            for digest in here.digests() {
                let known = self.is_live(id, digest);
                let known = known.or_else(|| ready.get(&(id.clone(), digest)).cloned());
                let Some(version) = known else {
                    return Ok(Committed::Lacks);
                };
                if !self.is_as_before(id, digest, here) {
                    new.push((id, version.clone()));
                }
                if here.called().any(|it| it == digest) {
                    called.push(version.clone());
                }
                all.insert(digest, version);
            }
            kept.insert(id, all);
            beside.insert(id.clone(), called);
        }
        let all = Beside::of(beside.clone());
        for (id, version) in &new {
            // Others may have changed since it was prepared.
            self.runtime.check(version, &all)?;
            if let Some(leaving) = self.needs_more(version) {
                return Ok(Committed::Waits(leaving));
            }
            self.check_rights(step, id, version)?;
        }
        let later = self.later(step, &new, &beside)?;
        let mut lives = Vec::new();
        for (id, next) in &next {
            let versions = kept.remove(id).unwrap_or_default();
            match live(id, self.here(next), next, versions) {
                Some(_) if later.contains(id) => {}
                Some(live) => lives.push((id, live)),
                None => return Ok(Committed::Lacks),
            }
        }
        let judged = match step.effect {
            Effect::Remembered => {
                let states = next.clone().into_iter().collect();
                let written = desired.put(states, step.health, &self.versions).await?;
                if written == Written::Behind {
                    return Ok(Committed::Behind);
                }
                Some(Judged::Yes)
            }
            Effect::AtOnce => {
                let states: Vec<(ComponentId, State)> = next.clone().into_iter().collect();
                let written = desired.put(states.clone(), step.health, &self.versions);
                let error = match tokio::time::timeout(PATIENCE, written).await {
                    Ok(Ok(Written::Done)) => None,
                    Ok(Ok(Written::Behind)) => return Ok(Committed::Behind),
                    Ok(Err(error)) => Some(marquee_runtime::chain(&error)),
                    Err(_) => Some("the database of releases does not answer".to_owned()),
                };
                if error.is_some() {
                    desired.set(states, step.health)?;
                    self.is_remembered(error);
                }
                Some(Judged::No)
            }
            Effect::Followed => None,
        };
        let judge = |id: &ComponentId, state: Option<&State>| {
            judged.unwrap_or_else(|| self.comes_after(id, state))
        };
        let lives = lives.into_iter().map(|(id, live)| {
            let judged = judge(id, next.get(id));
            (id.clone(), live, judged)
        });
        self.set_live(lives.collect());
        Ok(Committed::Done(next, later))
    }

    /// The components of a step whose new versions take away what versions that leave in the same step still call: they
    /// follow when those are drained. Where the others cannot go before them, it is refused, or done at once if it ends harm.
    fn later(
        &self,
        step: &Step<'_>,
        new: &[(&ComponentId, Prepared)],
        beside: &BTreeMap<ComponentId, Vec<Prepared>>,
    ) -> Result<Vec<ComponentId>, Error> {
        if step.components.len() < 2 {
            return Ok(Vec::new());
        }
        let live = |id: &ComponentId| -> Vec<Prepared> {
            let live = self.runtime.live(id);
            let versions = live.iter().flat_map(|live| live.called());
            versions.map(|version| version.payload.clone()).collect()
        };
        let stays = |version: &Prepared| beside.values().flatten().any(|it| it.is(version));
        let mut leaving: Vec<Prepared> = step.components.iter().flat_map(live).collect();
        leaving.retain(|version| !stays(version));
        let mut later: Vec<ComponentId> = Vec::new();
        let mut why = None;
        // Nobody calls what gets copies.
        for (id, exporter) in new.iter().filter(|(_, version)| stays(version)) {
            let lacks = |importer| self.runtime.check_between(importer, exporter).err();
            if let Some(error) = leaving.iter().find_map(lacks) {
                later.push((*id).clone());
                why = Some(error);
            }
        }
        let Some(why) = why else {
            return Ok(later);
        };
        let mut first = beside.clone();
        first.retain(|id, _| !later.contains(id));
        let is_first = |(id, _): &&(&ComponentId, Prepared)| !later.contains(*id);
        let firsts = Beside::of(first.clone());
        let fit = |(_, version): &(&ComponentId, Prepared)| {
            let fits = self.runtime.check(version, &firsts);
            fits.is_ok()
        };
        let can_go = !first.is_empty() && new.iter().filter(is_first).all(fit);
        match (can_go, step.effect) {
            (true, _) => Ok(later),
            (false, Effect::Remembered) => Err(Error::Breaks(why)),
            (false, Effect::AtOnce | Effect::Followed) => Ok(Vec::new()),
        }
    }

    /// A state whose version before is the one that is live is a step forward, and looked at.
    fn comes_after(&self, id: &ComponentId, next: Option<&State>) -> Judged {
        let live = self.runtime.live(id).map(|live| live.stable.digest);
        let before = next.and_then(|next| next.previous.as_ref());
        let before = before.map(|previous| previous.stable);
        match before.is_some() && before == live {
            true => Judged::Yes,
            false => Judged::No,
        }
    }

    /// Whether a version has calls already, or has copies of them and gets no more than that.
    fn is_as_before(&self, id: &ComponentId, digest: Digest, next: &Active) -> bool {
        let Some(live) = self.runtime.live(id) else {
            return false;
        };
        let is_called = live.called().any(|version| version.digest == digest);
        let is_shadow = |shadow: Option<Digest>| shadow == Some(digest);
        is_called
            || is_shadow(live.shadow.as_ref().map(|shadow| shadow.version.digest))
                && is_shadow(next.shadow.as_ref().map(|shadow| shadow.digest))
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

    fn check_rights(&self, step: &Step<'_>, id: &ComponentId, new: &Prepared) -> Result<(), Error> {
        let Some(live) = self.runtime.live(id).filter(|_| !step.widen) else {
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
    pub(super) async fn were_live(&self, ready: &Ready) {
        for (_, digest) in ready.keys() {
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

    /// Into the history and the log: one step is one line.
    async fn note(&self, step: &Step<'_>, result: Result<&States, &Error>) {
        let text = match result {
            Ok(states) => format!("{}{}", step.also, together::told(states)),
            Err(error) => marquee_runtime::chain(error),
        };
        let mut of = step.components.clone();
        of.sort();
        let mut of = of.into_iter();
        let Some(component) = of.next() else {
            return;
        };
        let (who, action) = (step.who, step.action);
        let version = step.versions.get(&component).copied();
        let named = of.filter_map(|id| Some((id.clone(), *step.versions.get(&id)?)));
        let with: Together = named.collect();
        let told = version.map(|version| version.to_string());
        let others = with.keys().map(ToString::to_string);
        let others = others.collect::<Vec<_>>().join(" ");
        match result {
            Ok(_) => {
                tracing::info!(who, %component, version = told, with = others, action, result = text, "release");
            }
            Err(_) => {
                tracing::warn!(who, %component, version = told, with = others, action, error = text, "release refused");
            }
        }
        let event = Event {
            at_ms: now_ms(),
            who: who.to_owned(),
            component,
            action: action.to_owned(),
            version,
            with,
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
    let shadow = active.shadow.as_ref().and_then(|shadow| {
        Some(Shadow {
            version: take(shadow.digest)?,
            weight: shadow.weight,
        })
    });
    Some(Live {
        stable,
        canary,
        shadow,
        labels: state.labels.clone().into_iter().collect(),
    })
}

/// Of a step that ends harm: what does not answer by then is told later.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Of a step, from the last byte of its version to the moment when it is live: some times what it takes to compile a
/// large component on a busy machine.
const LONGEST: Duration = Duration::from_secs(600);
