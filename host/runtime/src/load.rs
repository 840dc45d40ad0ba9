//! From a compiled component to something that can be called.
//!
//! Check that every import is provided with the types that it expects and granted, link, instantiate once, ask whether
//! it is healthy. Only what passed all of it is returned, and nothing that is live was touched.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use marquee_manifest::{ComponentId, Dependencies};
use marquee_registry::Digest;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre,
    types::{ComponentInstance, ComponentItem},
};

use crate::{
    Artifact, Call, CallError, Limits, LoadError, State, View,
    guest::{self, probe},
    link, pool,
    pool::Pool,
    runtime::{Shared, chain},
    stats::Stats,
};

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What the manifest calls it.
    pub id: ComponentId,
    /// What other components provide to it.
    pub dependencies: Dependencies,
    /// The exported interfaces whose calls are units of work.
    pub transactional: BTreeSet<String>,
    /// The exported interfaces that the host itself calls, and what for.
    pub entry_points: BTreeMap<String, String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The bounds of its calls.
    pub limits: Limits,
}

/// A version of a component, ready to be called.
pub(crate) struct Loaded {
    pub(crate) spec: Spec,
    pub(crate) version: Digest,
    pub(crate) pre: InstancePre<State>,
    pub(crate) pool: Pool,
    pub(crate) stats: Stats,
    /// Ends every call of it that is under way.
    pub(crate) stop: CancellationToken,
    component: Component,
    grants: link::Grants,
    exports: HashMap<String, HashMap<String, Export>>,
}

/// A function of an exported interface.
#[derive(Clone, Copy)]
pub(crate) struct Export {
    pub(crate) index: ComponentExportIndex,
    /// How many results it has: none or one.
    pub(crate) results: usize,
}

impl Loaded {
    /// Load a version of a component whose dependencies are live.
    pub(crate) async fn load(
        shared: &Arc<Shared>,
        spec: Spec,
        version: Digest,
        artifact: Artifact,
    ) -> Result<Arc<Self>, LoadError> {
        let id = spec.id.clone();
        let engine = shared.clocked.engine.clone();
        let component = tokio::task::spawn_blocking(move || artifact.component(&engine))
            .await
            .unwrap_or_else(|panic| Err(wasmtime::Error::new(panic)))
            .map_err(|source| LoadError::Artifact {
                component: id,
                source,
            })?;
        Self::link(shared, spec, version, component).await
    }

    /// The same version, checked and tried anew.
    pub(crate) async fn again(&self, shared: &Arc<Shared>) -> Result<Arc<Self>, LoadError> {
        let component = self.component.clone();
        Self::link(shared, self.spec.clone(), self.version, component).await
    }

    async fn link(
        shared: &Arc<Shared>,
        spec: Spec,
        version: Digest,
        component: Component,
    ) -> Result<Arc<Self>, LoadError> {
        let id = spec.id.clone();
        let grants = link::grants(shared, &spec, &component)?;
        let linker = link::linker(shared, &spec, &component, &grants)?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|source| LoadError::Link {
                component: id.clone(),
                source,
            })?;
        let exports = exports(shared, &component);
        for (interface, purpose) in &spec.entry_points {
            if !exports.contains_key(interface) {
                return Err(LoadError::MissingExport {
                    component: id,
                    interface: interface.clone(),
                    purpose: purpose.clone(),
                });
            }
        }

        let deadline = Instant::now() + spec.limits.deadline;
        let started = pool::instantiate(shared, &pre, &spec, version, deadline).await;
        let (mut store, instance) = started.map_err(|source| LoadError::Instantiate {
            component: id.clone(),
            source,
        })?;
        for interface in exports.keys() {
            guest::fits(&mut store, &instance, interface).map_err(|source| {
                LoadError::EntryPoint {
                    component: id.clone(),
                    interface: interface.clone(),
                    source,
                }
            })?;
        }
        drop(store);
        let pool = Pool::new(&spec.limits);
        let loaded = Arc::new(Self {
            spec,
            version,
            pre,
            pool,
            stats: Stats::new(),
            stop: shared.stop.child_token(),
            component,
            grants,
            exports,
        });
        loaded.probe(shared).await?;
        Ok(loaded)
    }

    /// Ask it whether it can work, if it can be asked.
    async fn probe(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), LoadError> {
        if !self.exports.contains_key(probe::PROBE) {
            return Ok(());
        }
        let deadline = Instant::now() + self.spec.limits.deadline;
        let call = Call::new(format!("probe-{}", self.version), deadline);
        let reason = match probe::ready(shared, self, call).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(error) => chain(&error),
        };
        Err(LoadError::Unhealthy {
            component: self.spec.id.clone(),
            reason,
        })
    }

    /// Whether it can have from `exporter` all that its manifest says it has from there; the error is the first that it
    /// cannot.
    pub(crate) fn check_imports(&self, shared: &Shared, exporter: &Self) -> Result<(), LoadError> {
        let engine = &shared.clocked.engine;
        for (import, item) in self.component.component_type().imports(engine) {
            if self.spec.dependencies.provider(import) != Some(&exporter.spec.id) {
                continue;
            }
            if let ComponentItem::ComponentInstance(needed) = item.ty
                && !link::is_types_only(shared, &needed)
            {
                link::provided(shared, &self.spec, import, &needed, exporter)?;
            }
        }
        Ok(())
    }

    /// What it asks of the host beside plain WASI: each is a right.
    pub(crate) fn rights(&self, shared: &Shared) -> BTreeSet<String> {
        let ty = self.component.component_type();
        ty.imports(&shared.clocked.engine)
            .filter(|(import, item)| {
                let functions = match &item.ty {
                    ComponentItem::ComponentInstance(interface) => interface
                        .exports(&shared.clocked.engine)
                        .any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_))),
                    _ => true,
                };
                let outside = ["wasi:http/", "wasi:sockets/", "wasi:filesystem/"];
                functions
                    && (!import.starts_with("wasi:")
                        || outside.iter().any(|package| import.starts_with(package)))
            })
            .map(|(import, _)| import.to_owned())
            .collect()
    }

    /// What a call gets of each capability that was granted.
    pub(crate) fn views(&self, call: &Call) -> Vec<View> {
        self.grants
            .iter()
            .map(|(capability, grant)| capability.view(grant, call))
            .collect()
    }

    /// A function of an exported interface.
    pub(crate) fn export(&self, interface: &str, function: &str) -> Result<Export, CallError> {
        self.exports
            .get(interface)
            .and_then(|functions| functions.get(function))
            .copied()
            .ok_or_else(|| CallError::NoExport {
                component: self.spec.id.clone(),
                export: format!("{interface}#{function}"),
            })
    }

    /// The type of an exported interface.
    pub(crate) fn interface(&self, shared: &Shared, name: &str) -> Option<ComponentInstance> {
        let ty = self.component.component_type();
        match ty.get_export(&shared.clocked.engine, name)?.ty {
            ComponentItem::ComponentInstance(instance) => Some(instance),
            _ => None,
        }
    }

    /// The names of all exported interfaces.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.exports.keys().map(String::as_str)
    }
}

fn exports(shared: &Shared, component: &Component) -> HashMap<String, HashMap<String, Export>> {
    let engine = &shared.clocked.engine;
    let mut all = HashMap::new();
    for (interface, export) in component.component_type().exports(engine) {
        let ComponentItem::ComponentInstance(instance) = export.ty else {
            continue;
        };
        let Some(parent) = component.get_export_index(None, interface) else {
            continue;
        };
        let mut functions = HashMap::new();
        for (name, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(function) = item.ty else {
                continue;
            };
            if let Some(index) = component.get_export_index(Some(&parent), name) {
                functions.insert(
                    name.to_owned(),
                    Export {
                        index,
                        results: function.results().len(),
                    },
                );
            }
        }
        all.insert(interface.to_owned(), functions);
    }
    all
}
