//! `spin:variables/variables@3.0.0`.
//!
//! **What a guest gets**: the values of the variables that the manifest gives to its component. **On failure**: a name
//! that it was not given is *undefined*, whether or not another component has it.

use std::{collections::BTreeMap, sync::Arc};

use marquee_database::Secret;
use marquee_manifest::ComponentId;
use marquee_runtime::{Call, Capability, Grant, State, View};
use wasmtime::component::{Accessor, HasData, Linker};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/spin-variables@3.0.0",
        inline: "
            package marquee:host;
            world imports {
                import spin:variables/variables@3.0.0;
            }
        ",
        world: "marquee:host/imports",
    });
}

use bindings::{Imports, spin::variables::variables as wit};

/// A component's variables.
type Values = BTreeMap<String, Secret>;

/// The capability.
pub struct Variables {
    values: BTreeMap<ComponentId, Arc<Values>>,
}

impl Variables {
    /// The values of each component's variables.
    pub fn new(values: BTreeMap<ComponentId, Values>) -> Self {
        Self {
            values: values
                .into_iter()
                .map(|(id, values)| (id, Arc::new(values)))
                .collect(),
        }
    }
}

impl Capability for Variables {
    fn interfaces(&self) -> &'static [&'static str] {
        &["spin:variables/variables@3.0.0"]
    }

    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        Imports::add_to_linker::<State, Names>(linker, |state| {
            Context(state.view::<Arc<Values>>().cloned())
        })
    }

    fn grant(&self, component: &ComponentId) -> Result<Grant, String> {
        Ok(self.values.get(component).cloned().unwrap_or_default())
    }

    fn view(&self, grant: &Grant, _: &Call) -> View {
        Box::new(Arc::clone(grant).downcast::<Values>().unwrap_or_default())
    }
}

struct Names;

impl HasData for Names {
    type Data<'a> = Context;
}

struct Context(Option<Arc<Values>>);

impl wit::Host for Context {}

impl<T: Send> wit::HostWithStore<T> for Names {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, wit::Error> {
        let well_formed = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !well_formed {
            return Err(wit::Error::InvalidName(name));
        }
        let values = accessor.with(|mut access| access.get().0);
        let value = values.as_ref().and_then(|values| values.get(&name));
        value
            .map(|value| value.reveal().to_owned())
            .ok_or(wit::Error::Undefined(name))
    }
}
