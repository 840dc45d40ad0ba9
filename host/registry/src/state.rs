//! What is live of a component, as it is remembered over restarts, and the steps that change it.
//!
//! Every step is a function from one state to the next, without effects: who makes it carry out decides when it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use marquee_manifest::ComponentId;
use serde::{Deserialize, Serialize};

use crate::{Digest, Ramp, Rising, Weight};

/// The state of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is live.
    pub active: Active,
    /// What was stable before, without what was tried beside it then; none after a rollback to it, so that a second one does
    /// not bring the bad version back.
    #[serde(default)]
    pub previous: Option<Active>,
    /// Names of versions.
    #[serde(default)]
    pub labels: BTreeMap<String, Digest>,
    /// Whether it stays as it is, whoever asks.
    #[serde(default)]
    pub pinned: bool,
    /// What the manifest's file was when it was last looked at: only if that changed does a start change what is live.
    pub source: Digest,
    /// The step to it has not reached every host yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<Wave>,
    /// The canary's share grows by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rising: Option<Rising>,
    /// What became stable in one step with what is stable, this component among them. Empty: it came alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub together: Together,
    /// The newest migration that versions were released with, of those that say: the tables that they know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub migrations: BTreeMap<Digest, i32>,
    /// This migration took away what versions may use that were released without it: they are not live again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contracted: Option<i32>,
}

/// Components that change in one step, with their versions.
pub type Together = BTreeMap<ComponentId, Digest>;

/// The states of the components of a step.
pub type States = BTreeMap<ComponentId, State>;

/// How far a step has come that reaches some hosts before others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The state of all other hosts.
    pub before: Box<State>,
    /// The hosts that it has reached, by their ids.
    pub hosts: BTreeSet<String>,
    /// The one that leads it.
    pub led_by: String,
}

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Gets every call that the canary does not.
    pub stable: Digest,
    /// A version that is tried.
    #[serde(default)]
    pub canary: Option<Trial>,
    /// A version that gets copies of calls, of which nothing stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Trial>,
}

/// A version that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub digest: Digest,
    /// With how much of the calls, or copies of how many of them.
    pub weight: Weight,
}

/// Why a version is kept, the weightiest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It gets calls.
    Live,
    /// A rollback brings it back.
    Previous,
    /// It has a name.
    Label,
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is pinned.
    #[error("it is pinned; take the pin away first")]
    Pinned,
    /// There is nothing before what is live.
    #[error("there is nothing to go back to; name a version to promote instead")]
    NoPrevious,
    /// It never passed every check, so it cannot have been live.
    #[error("version {0} was never live here; promote it instead")]
    NeverLive(Digest),
    /// A step of it reaches one host after the other.
    #[error("a step of it is on its way from host to host; wait for it, or roll it back")]
    UnderWay,
    /// There is nothing to be done any more.
    #[error("there is nothing to be done: another host was quicker")]
    Idle,
    /// The step that was on its way from host to host was taken back.
    #[error("it was taken back while it was on its way from host to host")]
    TakenBack,
    /// It is live, and may use what a migration takes away.
    #[error(
        "version {0} is live, and was not released with migration {1:04}, so it may use what that takes away; deploy a version with \
         --migrations first"
    )]
    NeedsOld(Digest, i32),
    /// It may use what a migration took away.
    #[error(
        "version {0} was not released with migration {1:04}, which took away what it may use; if it does not, deploy it with \
         --migrations"
    )]
    Contracted(Digest, i32),
    /// One of the components that it came with has changed since.
    #[error(
        "it came in one step with others, and {0} took another step since; name the version to go back to (--to)"
    )]
    Parted(ComponentId),
    /// One component of a step does not allow it.
    #[error("component {0}: {1}")]
    Of(ComponentId, Box<Refused>),
    /// A version cannot be tried against itself.
    #[error("version {0} is the stable one already")]
    IsStable(Digest),
    /// A version that gets calls needs no copies of them.
    #[error("version {0} gets calls already")]
    GetsCalls(Digest),
    /// No version gets copies of calls.
    #[error("it has no shadow")]
    NoShadow,
    /// A label is not one.
    #[error(
        "label {0:?} is not 1 to 64 letters, digits, dots, dashes or underscores, or could be a digest"
    )]
    Label(String),
    /// No version has this name.
    #[error("no version is called {0:?}")]
    Unknown(String),
    /// Several versions have names that begin so.
    #[error("several versions begin with {0:?}; give more digits")]
    Ambiguous(String),
}

impl Active {
    /// One version and nothing else.
    pub fn only(stable: Digest) -> Self {
        Self {
            stable,
            canary: None,
            shadow: None,
        }
    }

    /// The versions that get calls, the stable one first.
    pub fn called(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(self.stable).chain(self.canary.as_ref().map(|canary| canary.digest))
    }

    /// Those, and the one that gets copies.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.called()
            .chain(self.shadow.as_ref().map(|shadow| shadow.digest))
    }

    /// The same beside the shadow that was there, unless that is one of these.
    fn keeping(self, shadow: Option<Trial>) -> Self {
        let is_other = |shadow: &Trial| self.digests().all(|digest| digest != shadow.digest);
        let shadow = shadow.filter(is_other);
        Self { shadow, ..self }
    }
}

impl State {
    /// The state of a component that was never here: the manifest's version is live.
    pub fn new(source: Digest) -> Self {
        Self {
            active: Active::only(source),
            previous: None,
            labels: BTreeMap::new(),
            pinned: false,
            source,
            wave: None,
            rising: None,
            together: Together::new(),
            migrations: BTreeMap::new(),
            contracted: None,
        }
    }

    /// This state, knowing with which migrations a version is released, if it says so.
    #[must_use]
    pub fn released_with(&self, digest: Digest, migration: Option<i32>) -> Self {
        let mut next = self.clone();
        let Some(migration) = migration else {
            return next;
        };
        let needed: BTreeSet<Digest> = self.needed().map(|(digest, _)| digest).collect();
        next.migrations.retain(|known, _| needed.contains(known));
        let known = next.migrations.entry(digest).or_insert(migration);
        *known = migration.max(*known);
        next
    }

    /// This migration is about to take something away: from now on only versions that were released with it are live, as all
    /// are now.
    pub fn contract(&self, migration: i32) -> Result<Self, Refused> {
        let mut next = self.at_rest()?;
        next.contracted = next.contracted.max(Some(migration));
        for digest in self.active.digests() {
            next.fits(digest).map_err(|refused| match refused {
                Refused::Contracted(digest, migration) => Refused::NeedsOld(digest, migration),
                refused => refused,
            })?;
        }
        Ok(next)
    }

    /// Whether a version knows of what was taken away.
    fn fits(&self, digest: Digest) -> Result<(), Refused> {
        match self.contracted {
            Some(migration) if self.migrations.get(&digest) < Some(&migration) => {
                Err(Refused::Contracted(digest, migration))
            }
            _ => Ok(()),
        }
    }

    /// What is live on a host.
    pub fn on(&self, host: &str) -> &Active {
        match &self.wave {
            Some(wave) if !wave.hosts.contains(host) => &wave.before.active,
            _ => &self.active,
        }
    }

    /// This state, on these hosts, while all others stay in the one before.
    #[must_use]
    pub fn first_on(self, hosts: BTreeSet<String>, led_by: &str, before: &Self) -> Self {
        let before = Box::new(before.clone());
        let led_by = led_by.to_owned();
        let wave = Some(Wave {
            before,
            hosts,
            led_by,
        });
        Self { wave, ..self }
    }

    /// The step that a host leads reaches these hosts too; None: all of them, and it is done.
    pub fn reach(
        &self,
        led_by: &str,
        more: Option<&BTreeSet<String>>,
        now_ms: u64,
    ) -> Result<Self, Refused> {
        let mut next = self.clone();
        if let Some(rising) = &mut next.rising {
            // Its first share counts from when all have it.
            rising.next_ms = now_ms + rising.every_ms;
        }
        let wave = next.wave.take().filter(|wave| wave.led_by == led_by);
        let mut wave = wave.ok_or(Refused::TakenBack)?;
        next.wave = more.map(|more| {
            wave.hosts.extend(more.iter().cloned());
            wave
        });
        Ok(next)
    }

    /// The step that a host leads is taken back on all hosts. None if there is none.
    pub fn give_up(&self, led_by: &str) -> Option<Self> {
        let wave = self.wave.as_ref();
        let wave = wave.filter(|wave| wave.led_by == led_by)?;
        Some((*wave.before).clone())
    }

    /// A host starts, and the manifest's file is `source`. Who has built it anew means it to run; otherwise, and where it may use
    /// what was taken away, what was live is live.
    #[must_use]
    pub fn started(&self, source: Digest) -> Self {
        if source == self.source {
            return self.clone();
        }
        let mut next = self.clone();
        next.source = source;
        if !self.pinned && self.fits(source).is_ok() {
            next.activate(Active::only(source));
            next.wave = None;
            next.rising = None;
        }
        next
    }

    /// Make a version live: with all calls, or with a share of them.
    pub fn deploy(
        &self,
        digest: Digest,
        weight: Weight,
        label: Option<&str>,
    ) -> Result<Self, Refused> {
        let mut next = self.unpinned()?;
        next.fits(digest)?;
        if weight == Weight::ALL {
            next.activate(Active::only(digest));
        } else if digest == self.active.stable {
            return Err(Refused::IsStable(digest));
        } else {
            next.activate(Active {
                stable: self.active.stable,
                canary: Some(Trial { digest, weight }),
                shadow: None,
            });
        }
        if let Some(label) = label {
            next = next.label(label, digest)?;
        }
        Ok(next)
    }

    /// Give a version copies of a share of the calls. What is live, and what its share is, stays.
    pub fn shadow(
        &self,
        digest: Digest,
        weight: Weight,
        label: Option<&str>,
    ) -> Result<Self, Refused> {
        let mut next = self.at_rest()?;
        if self.pinned {
            return Err(Refused::Pinned);
        }
        next.fits(digest)?;
        next.active.shadow = None;
        if next.active.digests().any(|live| live == digest) {
            return Err(Refused::GetsCalls(digest));
        }
        next.active.shadow = Some(Trial { digest, weight });
        match label {
            Some(label) => next.label(label, digest),
            None => Ok(next),
        }
    }

    /// No version gets copies of calls any more.
    pub fn unshadow(&self) -> Result<Self, Refused> {
        let mut next = self.at_rest()?;
        let had = next.active.shadow.take();
        had.map(|_| next).ok_or(Refused::NoShadow)
    }

    /// Make a version live with shares that grow: the first from now on, each of the others so much later than the one before.
    pub fn ramp(
        &self,
        digest: Digest,
        ramp: &Ramp,
        every_ms: u64,
        now_ms: u64,
        label: Option<&str>,
    ) -> Result<Self, Refused> {
        let (first, then) = ramp.split();
        let mut next = self.deploy(digest, first, label)?;
        next.rising = (!then.is_empty()).then(|| Rising {
            then: then.to_vec(),
            every_ms,
            next_ms: now_ms + every_ms,
        });
        Ok(next)
    }

    /// The canary gets the next share of its ramp. None: there is none, or its time has not come.
    pub fn risen(&self, now_ms: u64) -> Option<Self> {
        let rising = self.rising.as_ref()?;
        let (weight, then) = rising.then.split_first()?;
        let trial = self.active.canary.as_ref()?;
        if now_ms < rising.next_ms || self.pinned || self.wave.is_some() {
            return None;
        }
        let mut next = self.deploy(trial.digest, *weight, None).ok()?;
        next.rising = (!then.is_empty()).then(|| Rising {
            then: then.to_vec(),
            next_ms: now_ms + rising.every_ms,
            ..*rising
        });
        Some(next)
    }

    /// Leave what came last, so that it gets no call: the canary, or else the stable version for the one before.
    pub fn rollback(&self) -> Result<Self, Refused> {
        if let Some(wave) = &self.wave {
            return Ok((*wave.before).clone());
        }
        let mut next = self.unpinned()?;
        if next.active.canary.take().is_none() {
            // A release before kept what was tried beside it too.
            let previous = next.previous.take().ok_or(Refused::NoPrevious)?;
            next.fits(previous.stable)?;
            let shadow = next.active.shadow.take();
            next.active = Active::only(previous.stable).keeping(shadow);
            next.together.clear();
        }
        Ok(next)
    }

    /// Go back to this version, whatever came since. What is left gets no call, and a second rollback does not bring it back.
    pub fn rollback_to(&self, digest: Digest) -> Result<Self, Refused> {
        let next = self.wave.as_ref().map(|wave| &*wave.before);
        let mut next = next.unwrap_or(self).unpinned()?;
        next.fits(digest)?;
        if digest != self.active.stable {
            next.previous = None;
            next.together.clear();
        }
        let shadow = next.active.shadow.take();
        next.active = Active::only(digest).keeping(shadow);
        Ok(next)
    }

    /// The canary is taken away, pinned or not. None if `digest` is not the canary.
    pub fn withdraw(&self, digest: Digest) -> Option<Self> {
        let is_canary = |trial: &Trial| trial.digest == digest;
        if !self.active.canary.as_ref().is_some_and(is_canary) {
            return None;
        }
        if let Some(wave) = &self.wave {
            return Some((*wave.before).clone());
        }
        let mut next = self.clone();
        next.rising = None;
        next.active.canary = None;
        // A rollback must not bring it back.
        next.previous.take_if(|previous| previous.stable == digest);
        Some(next)
    }

    /// Keep it as it is, or no longer.
    pub fn pin(&self, pinned: bool) -> Result<Self, Refused> {
        let next = self.at_rest()?;
        Ok(Self { pinned, ..next })
    }

    /// Give a version a name; the name leaves another that had it.
    pub fn label(&self, label: &str, digest: Digest) -> Result<Self, Refused> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if !(1..=64).contains(&label.len()) || !label.bytes().all(plain) || is_prefix(label) {
            return Err(Refused::Label(label.to_owned()));
        }
        let mut next = self.clone();
        next.labels.insert(label.to_owned(), digest);
        Ok(next)
    }

    /// Take a name away. The version stays for as long as something else keeps it.
    pub fn unlabel(&self, label: &str) -> Result<Self, Refused> {
        let mut next = self.at_rest()?;
        let had = next.labels.remove(label);
        had.map(|_| next)
            .ok_or_else(|| Refused::Unknown(label.to_owned()))
    }

    /// The version that a person means: by label, or by the first digits, six at least, of one that is `known`.
    pub fn resolve(&self, name: &str, known: &[Digest]) -> Result<Digest, Refused> {
        if let Some(digest) = self.labels.get(name) {
            return Ok(*digest);
        }
        if !is_prefix(name) {
            return Err(Refused::Unknown(name.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        let mut found = known
            .iter()
            .filter(|digest| format!("{digest:#}").starts_with(&name));
        match (found.next(), found.next()) {
            (Some(digest), None) => Ok(*digest),
            (None, _) => Err(Refused::Unknown(name)),
            (Some(_), Some(_)) => Err(Refused::Ambiguous(name)),
        }
    }

    /// Every version that it needs, and why.
    pub fn needed(&self) -> impl Iterator<Item = (Digest, Need)> {
        let live = self.active.digests().map(|digest| (digest, Need::Live));
        let previous = self.previous.iter().flat_map(Active::digests);
        let previous = previous.map(|digest| (digest, Need::Previous));
        let labels = self.labels.values().map(|digest| (*digest, Need::Label));
        let before = self.wave.iter().map(|wave| &wave.before);
        let before = before.flat_map(|before| before.active.digests().map(|it| (it, Need::Live)));
        live.chain(previous).chain(labels).chain(before)
    }

    fn unpinned(&self) -> Result<Self, Refused> {
        if self.pinned {
            return Err(Refused::Pinned);
        }
        let next = self.at_rest()?;
        // Who takes a step decides the share.
        Ok(Self {
            rising: None,
            ..next
        })
    }

    /// No step is on its way from host to host.
    fn at_rest(&self) -> Result<Self, Refused> {
        if self.wave.is_some() {
            Err(Refused::UnderWay)
        } else {
            Ok(self.clone())
        }
    }

    fn activate(&mut self, active: Active) {
        let shadow = self.active.shadow.clone();
        let before = std::mem::replace(&mut self.active, active.keeping(shadow));
        if before.stable != self.active.stable {
            self.previous = Some(Active::only(before.stable));
            self.together.clear();
        }
    }
}

/// What is live, in words.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is live", self.active.stable)?;
        if let Some(Trial { digest, weight }) = &self.active.canary {
            write!(f, ", {weight} of the calls go to {digest}")?;
        }
        if let Some(next) = self.rising.as_ref().and_then(|it| it.then.first()) {
            write!(f, ", {next} come next")?;
        }
        if let Some(Trial { digest, weight }) = &self.active.shadow {
            write!(f, ", {weight} of the calls are copied to {digest}")?;
        }
        if self.pinned {
            f.write_str(", pinned")?;
        }
        Ok(())
    }
}

/// Whether it could be the beginning of a digest.
fn is_prefix(name: &str) -> bool {
    (6..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
