//! From a component's bytes to something that can be called.
//!
//! Compile, check that every import is provided with the types that it expects, link, instantiate once. Only what
//! passed all of it is returned.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre,
    types::{ComponentInstance, ComponentItem},
};

use crate::{
    Call, CallError, Limits, LoadError, State, View, link, pool, pool::Pool, runtime::Shared,
};

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What the manifest calls it.
    pub id: ComponentId,
    /// For each imported interface that another component provides, which one.
    pub dependencies: BTreeMap<String, ComponentId>,
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
    /// Load a component whose dependencies are loaded.
    pub(crate) async fn load(
        shared: &Arc<Shared>,
        spec: Spec,
        bytes: &[u8],
    ) -> Result<Arc<Self>, LoadError> {
        let id = spec.id.clone();
        let engine = shared.clocked.engine.clone();
        let version = Digest::of(bytes);
        let bytes = bytes.to_vec();
        let compiled = tokio::task::spawn_blocking(move || Component::new(&engine, bytes)).await;
        let component = compiled
            .unwrap_or_else(|panic| Err(wasmtime::Error::new(panic)))
            .map_err(|source| LoadError::Compile {
                component: id.clone(),
                source,
            })?;

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
        let trial = pool::instantiate(shared, &pre, &spec, deadline);
        let trial = tokio::time::timeout_at(deadline.into(), trial).await;
        match trial {
            Ok(Ok(_)) => {}
            Ok(Err(source)) => {
                let source = CallError::Instantiate {
                    component: id.clone(),
                    version: version.to_string(),
                    source: Arc::new(source),
                };
                return Err(LoadError::Instantiate {
                    component: id,
                    source,
                });
            }
            Err(_) => {
                let source = CallError::Deadline(id.clone());
                return Err(LoadError::Instantiate {
                    component: id,
                    source,
                });
            }
        }
        let pool = Pool::new(spec.limits.concurrent_calls);
        Ok(Arc::new(Self {
            spec,
            version,
            pre,
            pool,
            component,
            grants,
            exports,
        }))
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
