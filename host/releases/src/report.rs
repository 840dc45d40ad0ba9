//! What is live, for people and programs.

use std::{collections::BTreeSet, time::Duration};

use marquee_manifest::ComponentId;
use marquee_registry::{Active, Digest, Entry, Rising, State, Trial, Weight};
use marquee_runtime::{Figures, Prepared};
use serde::{Deserialize, Serialize};

use super::{Error, Releases, lock, ms};

/// A component and its versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ComponentReport {
    /// Its name.
    pub component: ComponentId,
    /// Whether it stays as it is, whoever asks.
    pub pinned: bool,
    /// What is live first, then what is on its way out, then what else is in the store and was ready once, the newest
    /// first.
    pub versions: Vec<VersionReport>,
    /// Of each topic that it consumes, what its canary gets, if there is one.
    #[serde(default)]
    pub shares: Vec<Partitions>,
    /// The canary's share grows by itself: what comes next, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rising: Option<Rising>,
    /// The components that came in one step with what is stable, this one among them: a rollback takes all of them back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<ComponentId>,
    /// Why what is live is not remembered yet, if it is not: after a restart it would be what was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_remembered: Option<String>,
}

/// What a canary gets of a topic: messages choose by their partition, so its weight is met only roughly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Partitions {
    /// The topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many of them are the canary's.
    pub canary: u32,
}

/// A version of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionReport {
    /// Its name.
    pub version: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// `stable`, `canary`, `shadow`, `draining`, `previous` or `stored`.
    pub state: String,
    /// Its share of the calls; of how many of them a shadow gets copies.
    pub weight: Option<Weight>,
    /// Calls that ended, since it was loaded.
    pub calls: Option<u64>,
    /// How many of them failed.
    pub errors: Option<u64>,
    /// Half of the calls took no longer, in microseconds.
    #[serde(default)]
    pub p50_us: Option<u64>,
    /// 99 of 100 calls took no longer, in microseconds.
    pub p99_us: Option<u64>,
    /// Calls under way.
    pub in_flight: Option<u64>,
    /// The linear memory of its instances on this host, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// When it became live, in milliseconds since 1970-01-01T00:00:00Z; a restart begins anew.
    pub since_ms: Option<u64>,
    /// When it was stored for the first time, in milliseconds since 1970-01-01T00:00:00Z.
    pub stored_at_ms: Option<u64>,
    /// Who brought it.
    pub by: Option<String>,
    /// The size of the component, in bytes.
    pub size_bytes: Option<u64>,
}

impl Releases {
    /// The versions of a component, or of all.
    pub async fn report(
        &self,
        component: Option<&ComponentId>,
    ) -> Result<Vec<ComponentReport>, Error> {
        if let Some(id) = component {
            self.0.component(id)?;
        }
        let desired = self.0.desired.lock().await;
        let states: Vec<(ComponentId, State)> = self
            .0
            .components
            .keys()
            .filter(|id| component.is_none_or(|wanted| wanted == *id))
            .filter_map(|id| Some((id.clone(), desired.state(id)?)))
            .collect();
        // Who only looks does not hold up a step.
        drop(desired);
        let mut reports = Vec::new();
        for (id, state) in states {
            let stored = self.0.versions.of(&id).await?;
            reports.push(self.of(id, &state, &stored));
        }
        Ok(reports)
    }

    /// What was counted of each version that gets calls, or got some that have not ended, since it was loaded.
    pub fn figures(&self) -> Vec<(ComponentId, Digest, Figures)> {
        let mut all = Vec::new();
        for id in self.0.components.keys() {
            let live = self.0.runtime.live(id);
            let live = live.iter().flat_map(|live| live.called());
            let live = live.map(|version| version.payload.clone());
            for version in live.chain(self.0.draining.of(id)) {
                all.push((id.clone(), version.version(), version.figures()));
            }
        }
        all
    }

    fn of(&self, component: ComponentId, state: &State, stored: &[Entry]) -> ComponentReport {
        let mut versions = Vec::new();
        let live = self.0.runtime.live(&component);
        for version in live.iter().flat_map(|live| live.versions()) {
            let here = self.0.here(state);
            let of = |trial: &Option<Trial>| {
                let trial = trial
                    .as_ref()
                    .filter(|trial| trial.digest == version.digest);
                trial.map(|trial| trial.weight)
            };
            let tried = here.canary.as_ref();
            let rest = || tried.map_or(Weight::ALL, |trial| trial.weight.rest());
            let (name, weight) = match (of(&here.canary), of(&here.shadow)) {
                (Some(weight), _) => ("canary", weight),
                (None, Some(weight)) => ("shadow", weight),
                (None, None) => ("stable", rest()),
            };
            let mut row = row(state, stored, version.digest, name);
            if name != "shadow" {
                // What becomes of copies is told by the comparison.
                row = row.with(&version.payload);
            }
            row.weight = Some(weight);
            let since = lock(&self.0.since);
            row.since_ms = since
                .get(&(component.clone(), version.digest))
                .copied()
                .map(ms);
            versions.push(row);
        }
        for version in self.0.draining.of(&component) {
            versions.push(row(state, stored, version.version(), "draining").with(&version));
        }
        let mut shown: BTreeSet<Digest> = state.active.digests().collect();
        let previous = state.previous.iter().flat_map(Active::digests);
        for digest in previous {
            if shown.insert(digest) {
                versions.push(row(state, stored, digest, "previous"));
            }
        }
        // A label may lead to a version that was never ready for this component.
        let ready = stored.iter().filter(|entry| entry.metadata.was_ready);
        let others = ready.map(|entry| entry.digest);
        for digest in others.chain(state.labels.values().copied()) {
            if shown.insert(digest) {
                versions.push(row(state, stored, digest, "stored"));
            }
        }
        ComponentReport {
            component,
            pinned: state.pinned,
            versions,
            shares: Vec::new(),
            rising: state.rising.clone(),
            together: state.goes_back_with().cloned().collect(),
            not_remembered: lock(&self.0.unsaved).clone(),
        }
    }
}

impl ComponentReport {
    /// The share of the calls that its canary is to have.
    pub fn canary(&self) -> Option<Weight> {
        let canary = self.versions.iter().find(|one| one.state == "canary");
        canary.and_then(|canary| canary.weight)
    }
}

impl VersionReport {
    fn with(mut self, version: &Prepared) -> Self {
        let figures = version.figures();
        self.calls = Some(figures.calls);
        self.errors = Some(figures.errors);
        self.in_flight = Some(figures.in_flight);
        self.memory_bytes = Some(version.memory_bytes());
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.p50_us = figures.percentile(50).map(us);
        self.p99_us = figures.percentile(99).map(us);
        self
    }
}

/// A version as it is known without its calls.
fn row(state: &State, stored: &[Entry], digest: Digest, name: &str) -> VersionReport {
    let labels = state.labels.iter().filter(|(_, one)| **one == digest);
    let mut entries = stored.iter();
    let metadata = entries
        .find(|entry| entry.digest == digest)
        .map(|entry| entry.metadata.clone());
    VersionReport {
        version: format!("{digest:#}"),
        labels: labels.map(|(label, _)| label.clone()).collect(),
        state: name.to_owned(),
        weight: None,
        calls: None,
        errors: None,
        p50_us: None,
        p99_us: None,
        in_flight: None,
        memory_bytes: None,
        since_ms: None,
        stored_at_ms: metadata.as_ref().map(|metadata| metadata.stored_at_ms),
        size_bytes: metadata.as_ref().map(|metadata| metadata.size_bytes),
        by: metadata.map(|metadata| metadata.by),
    }
}
