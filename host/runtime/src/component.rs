//! A version of a component, linked: what can be instantiated, and what is known of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use marquee_registry::Digest;
use wasmtime::{
    Engine,
    component::{
        Component as Code, ComponentExportIndex, InstancePre,
        types::{ComponentInstance, ComponentItem},
    },
};

use crate::{
    Call, CallError, Capability, Grant, Outbound, Spec, State,
    cache::{Shelf, Shelves},
    log::{Budget, Speaker},
};

/// A version of a component, of which instances can be made.
pub(crate) struct Component {
    pub(crate) spec: Spec,
    pub(crate) version: Digest,
    pub(crate) code: Code,
    pub(crate) pre: InstancePre<State>,
    /// The capabilities that it imports, with what it has of each.
    pub(crate) grants: Grants,
    pub(crate) outbound: Arc<dyn Outbound>,
    /// What it may log, over all its versions.
    pub(crate) log: Arc<Budget>,
    pub(crate) exports: HashMap<String, HashMap<String, Export>>,
    pub(crate) shelves: Shelves,
    /// How often in a row making an instance took long; it counts to [`OFTEN`].
    pub(crate) slow_makings: AtomicU8,
}

/// Capabilities, with what a component has of each.
pub(crate) type Grants = Vec<(Arc<dyn Capability>, Grant)>;

/// A function of an exported interface.
#[derive(Clone, Copy)]
pub(crate) struct Export {
    pub(crate) index: ComponentExportIndex,
    /// How many results it has: none or one.
    pub(crate) results: usize,
}

impl Component {
    /// The call begins in an instance with this state.
    pub(crate) fn begin(&self, state: &mut State, call: &Call) {
        let views = self.grants.iter();
        let views = views.map(|(capability, grant)| capability.view(grant, call));
        let hooks = self.outbound.hooks(&self.spec.id, call);
        state.begin(call.clone(), views.collect(), hooks);
    }

    /// Whether instances of it are to be made behind others.
    pub(crate) fn is_slow_to_make(&self) -> bool {
        self.slow_makings.load(Ordering::Relaxed) >= OFTEN
    }

    /// An instance of it was made.
    pub(crate) fn was_made(&self, slowly: bool) {
        let before = self.slow_makings.load(Ordering::Relaxed);
        let now = if slowly { OFTEN.min(before + 1) } else { 0 };
        // Written where it changes only: all that make one share it.
        if now != before {
            self.slow_makings.store(now, Ordering::Relaxed);
        }
    }

    /// Who speaks where an instance of it does.
    pub(crate) fn speaker(&self) -> Speaker {
        Speaker::new(self.spec.id.clone(), self.version, Arc::clone(&self.log))
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

    /// Where the answers of a function are kept, if they are.
    pub(crate) fn shelf(&self, interface: &str, function: &str) -> Option<&Arc<Shelf>> {
        self.shelves.get(interface)?.get(function)
    }

    /// The type of an exported interface.
    pub(crate) fn interface(&self, engine: &Engine, name: &str) -> Option<ComponentInstance> {
        match self.code.component_type().get_export(engine, name)?.ty {
            ComponentItem::ComponentInstance(instance) => Some(instance),
            _ => None,
        }
    }

    /// The names of all exported interfaces.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.exports.keys().map(String::as_str)
    }

    /// What it asks of the host beside plain WASI: each is a right.
    pub(crate) fn rights(&self, engine: &Engine) -> BTreeSet<String> {
        let ty = self.code.component_type();
        ty.imports(engine)
            .filter(|(import, item)| {
                let functions = match &item.ty {
                    ComponentItem::ComponentInstance(interface) => {
                        !is_types_only(engine, interface)
                    }
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
}

/// The first one of a version finds nothing warm.
const OFTEN: u8 = 2;

/// The functions of all interfaces that a component exports.
pub(crate) fn exports(engine: &Engine, code: &Code) -> HashMap<String, HashMap<String, Export>> {
    let mut all = HashMap::new();
    for (interface, export) in code.component_type().exports(engine) {
        let ComponentItem::ComponentInstance(instance) = export.ty else {
            continue;
        };
        let Some(parent) = code.get_export_index(None, interface) else {
            continue;
        };
        let mut functions = HashMap::new();
        for (name, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(function) = item.ty else {
                continue;
            };
            if let Some(index) = code.get_export_index(Some(&parent), name) {
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

/// Whether an interface has no functions: there is nothing to call, and nobody has to provide it.
pub(crate) fn is_types_only(engine: &Engine, interface: &ComponentInstance) -> bool {
    interface
        .exports(engine)
        .all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
}
