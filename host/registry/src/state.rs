//! What is live of a component, as it is remembered over restarts, and the steps that change it.
//!
//! Every step is a function from one state to the next, without effects: who makes it carry out decides when it stands.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Digest, Weight};

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
}

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Gets every call that the canary does not.
    pub stable: Digest,
    /// A version that is tried.
    #[serde(default)]
    pub canary: Option<Trial>,
}

/// A version that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub digest: Digest,
    /// With how much of the calls.
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
    /// A version cannot be tried against itself.
    #[error("version {0} is the stable one already")]
    IsStable(Digest),
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
        }
    }

    /// Its versions.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(self.stable).chain(self.canary.as_ref().map(|canary| canary.digest))
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
        }
    }

    /// A host starts, and the manifest's file is `source`. Who has built it anew means it to run; otherwise what was
    /// live is live.
    #[must_use]
    pub fn started(&self, source: Digest) -> Self {
        if source == self.source {
            return self.clone();
        }
        let mut next = self.clone();
        next.source = source;
        if !self.pinned {
            next.activate(Active::only(source));
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
        if weight == Weight::ALL {
            next.activate(Active::only(digest));
        } else if digest == self.active.stable {
            return Err(Refused::IsStable(digest));
        } else {
            next.activate(Active {
                stable: self.active.stable,
                canary: Some(Trial { digest, weight }),
            });
        }
        if let Some(label) = label {
            next = next.label(label, digest)?;
        }
        Ok(next)
    }

    /// Leave what came last, so that it gets no call: the canary, or else the stable version for the one before.
    pub fn rollback(&self) -> Result<Self, Refused> {
        let mut next = self.unpinned()?;
        if next.active.canary.take().is_none() {
            // A release before kept what was tried beside it too.
            let previous = next.previous.take().ok_or(Refused::NoPrevious)?;
            next.active = Active::only(previous.stable);
        }
        Ok(next)
    }

    /// Go back to this version, whatever came since. What is left gets no call, and a second rollback does not bring it back.
    pub fn rollback_to(&self, digest: Digest) -> Result<Self, Refused> {
        let mut next = self.unpinned()?;
        if digest != self.active.stable {
            next.previous = None;
        }
        next.active = Active::only(digest);
        Ok(next)
    }

    /// The canary is taken away, pinned or not. None if `digest` is not the canary.
    pub fn withdraw(&self, digest: Digest) -> Option<Self> {
        let is_canary = |trial: &Trial| trial.digest == digest;
        if !self.active.canary.as_ref().is_some_and(is_canary) {
            return None;
        }
        let mut next = self.clone();
        next.active.canary = None;
        // A rollback must not bring it back.
        next.previous.take_if(|previous| previous.stable == digest);
        Some(next)
    }

    /// Keep it as it is, or no longer.
    #[must_use]
    pub fn pin(&self, pinned: bool) -> Self {
        Self {
            pinned,
            ..self.clone()
        }
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
        let mut next = self.clone();
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
        live.chain(previous).chain(labels)
    }

    fn unpinned(&self) -> Result<Self, Refused> {
        if self.pinned {
            Err(Refused::Pinned)
        } else {
            Ok(self.clone())
        }
    }

    fn activate(&mut self, active: Active) {
        let before = std::mem::replace(&mut self.active, active);
        if before.stable != self.active.stable {
            self.previous = Some(Active::only(before.stable));
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
