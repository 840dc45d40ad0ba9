//! The start: what was live is live again, or what the manifest's files are where they changed since.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use marquee_manifest::{App, ComponentId};
use marquee_registry::{Book, Digest, State};
use marquee_runtime::{Artifact, Health, Runtime};

use super::{
    Component, Inner, Releases, blocking,
    step::{Judged, live, put},
};
use crate::{compiler::Meanwhile, components, settings::Settings, versions::Versions};

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
        for component in app.unused() {
            tracing::warn!(
                %component,
                "no trigger starts {component}, and no component depends on it: it is not loaded"
            );
        }
        let order = app.load_order();
        let components = order
            .iter()
            .map(|component| (component.id.clone(), Component::of(app, component)))
            .collect();
        let releases = Self(Arc::new(Inner::new(
            runtime.clone(),
            versions,
            components,
            &folder,
            book,
        )));
        let compiled = order.iter().map(|component| {
            let versions = &releases.0.versions;
            async move {
                let bytes = components::read(settings.root(), component)?;
                let digest = versions.keep(bytes, &component.id).await?;
                let artifact = versions
                    .compiled(digest, Meanwhile::Waits, Health::Asked)
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
            book = put(book, states)
                .await
                .context("what is live cannot be remembered")?;
            releases.0.collect_but(book.needed()).await;
        }
        drop(book);
        Ok(releases)
    }
}

impl Inner {
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
        let prepared = if stable == source {
            let prepared = self
                .runtime
                .prepare(spec, source, artifact, Health::Asked)
                .await?;
            self.versions.mark_ready(source).await?;
            prepared
        } else {
            self.load(id, stable, Meanwhile::Waits, Health::Asked)
                .await
                .with_context(|| {
                    format!(
                        "version {stable} of component {id} was live and cannot be loaded; \
                     --manifest-versions starts with what the manifest names"
                    )
                })?
        };
        let mut state = state;
        let mut versions = BTreeMap::from([(stable, prepared)]);
        if let Some(trial) = state.active.canary.clone() {
            let digest = trial.digest;
            match self.load(id, digest, Meanwhile::Waits, Health::Asked).await {
                Ok(prepared) => {
                    versions.insert(digest, prepared);
                }
                Err(error) => {
                    // What is tried is not needed.
                    tracing::error!(
                        component = %id, version = %digest, error = %marquee_runtime::chain(&error),
                        "a canary cannot be loaded and is rolled back"
                    );
                    state = state.withdraw(digest).unwrap_or(state);
                }
            }
        }
        let live = live(id, &state, versions).context("a version is not loaded")?;
        self.set_live(id, live, Judged::No);
        Ok(state)
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
