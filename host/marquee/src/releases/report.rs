//! What is live, for people and programs.

use std::collections::BTreeMap;

use marquee_manifest::ComponentId;
use marquee_registry::{Digest, State, Weight};
use marquee_runtime::Prepared;
use serde::{Deserialize, Serialize};

use super::{Error, Releases, lock, ms};

/// A component and its versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ComponentReport {
    /// Its name.
    pub(crate) component: ComponentId,
    /// Whether it stays as it is, whoever asks.
    pub(crate) pinned: bool,
    /// What is live first, then what is on its way out, then what a name or a rollback leads to.
    pub(crate) versions: Vec<VersionReport>,
}

/// A version of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VersionReport {
    /// Its name.
    pub(crate) version: String,
    /// Its labels.
    pub(crate) labels: Vec<String>,
    /// `stable`, `canary`, `draining`, `previous` or `stored`.
    pub(crate) state: String,
    /// Its share of the calls.
    pub(crate) weight: Option<Weight>,
    /// Calls that ended, since it was loaded.
    pub(crate) calls: Option<u64>,
    /// How many of them failed.
    pub(crate) errors: Option<u64>,
    /// 99 of 100 calls took no longer, in microseconds.
    pub(crate) p99_us: Option<u64>,
    /// Calls under way.
    pub(crate) in_flight: Option<u64>,
    /// When it became live, in milliseconds since 1970-01-01T00:00:00Z; a restart begins anew.
    pub(crate) since_ms: Option<u64>,
}

impl Releases {
    /// The versions of a component, or of all.
    pub(crate) async fn report(
        &self,
        component: Option<&ComponentId>,
    ) -> Result<Vec<ComponentReport>, Error> {
        if let Some(id) = component {
            self.0.component(id)?;
        }
        let book = self.0.book.lock().await;
        let reports = self
            .0
            .components
            .keys()
            .filter(|id| component.is_none_or(|wanted| wanted == *id))
            .filter_map(|id| Some((id.clone(), book.state(id)?.clone())))
            .map(|(id, state)| self.of(id, &state))
            .collect();
        drop(book);
        Ok(reports)
    }

    fn of(&self, component: ComponentId, state: &State) -> ComponentReport {
        let mut versions = Vec::new();
        let live = self.0.runtime.live(&component);
        for version in live.iter().flat_map(|live| live.versions()) {
            let canary = live
                .as_ref()
                .and_then(|live| live.canary.as_ref())
                .filter(|canary| canary.version.digest == version.digest);
            let name = if canary.is_some() { "canary" } else { "stable" };
            let mut row = row(state, version.digest, name).with(&version.payload);
            let tried = state.active.canary.as_ref();
            row.weight = match canary {
                Some(_) => tried.map(|trial| trial.weight),
                None => Some(tried.map_or(Weight::ALL, |trial| trial.weight.rest())),
            };
            let since = lock(&self.0.since);
            row.since_ms = since
                .get(&(component.clone(), version.digest))
                .copied()
                .map(ms);
            versions.push(row);
        }
        for version in self.0.draining.of(&component) {
            versions.push(row(state, version.version(), "draining").with(&version));
        }
        let mut others = BTreeMap::new();
        for digest in state.labels.values() {
            others.insert(*digest, "stored");
        }
        for digest in state
            .previous
            .iter()
            .flat_map(|previous| previous.digests())
        {
            others.insert(digest, "previous");
        }
        for (digest, name) in others {
            if !state.active.digests().any(|live| live == digest) {
                versions.push(row(state, digest, name));
            }
        }
        ComponentReport {
            component,
            pinned: state.pinned,
            versions,
        }
    }
}

impl VersionReport {
    fn with(mut self, version: &Prepared) -> Self {
        let figures = version.figures();
        self.calls = Some(figures.calls);
        self.errors = Some(figures.errors);
        self.in_flight = Some(figures.in_flight);
        self.p99_us = figures
            .percentile(99)
            .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        self
    }
}

fn row(state: &State, digest: Digest, name: &str) -> VersionReport {
    let labels = state.labels.iter().filter(|(_, one)| **one == digest);
    VersionReport {
        version: format!("{digest:#}"),
        labels: labels.map(|(label, _)| label.clone()).collect(),
        state: name.to_owned(),
        weight: None,
        calls: None,
        errors: None,
        p99_us: None,
        in_flight: None,
        since_ms: None,
    }
}
