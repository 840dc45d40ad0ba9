//! Satisfying a component's imports: WASI, the host's capabilities, and other components.

use std::sync::{Arc, Weak};

use marquee_manifest::ComponentId;
use wasmtime::component::{
    Component, Linker, Val,
    types::{ComponentInstance, ComponentItem},
};

use crate::{
    Call, Capability, Grant, LoadError, Spec, State,
    failure::Failure,
    load::Loaded,
    runtime::{Shared, Target, chain},
    types,
};

/// The capabilities that a component imports, with what it has of each.
pub(crate) type Grants = Vec<(Arc<dyn Capability>, Grant)>;

/// What the component is granted of each capability that it imports.
pub(crate) fn grants(
    shared: &Shared,
    spec: &Spec,
    component: &Component,
) -> Result<Grants, LoadError> {
    let engine = &shared.clocked.engine;
    let mut grants = Vec::new();
    for capability in &shared.lineup.capabilities {
        let imports = component.component_type();
        let used = imports.imports(engine).map(|(name, _)| name).find(|name| {
            capability.interfaces().contains(name) && spec.dependencies.provider(name).is_none()
        });
        let Some(import) = used else { continue };
        let grant = capability
            .grant(&spec.id)
            .map_err(|reason| LoadError::NotGranted {
                component: spec.id.clone(),
                import: import.to_owned(),
                reason,
            })?;
        grants.push((Arc::clone(capability), grant));
    }
    Ok(grants)
}

/// A linker with everything that the component imports.
pub(crate) fn linker(
    shared: &Arc<Shared>,
    spec: &Spec,
    component: &Component,
    grants: &[(Arc<dyn Capability>, Grant)],
) -> Result<Linker<State>, LoadError> {
    let engine = &shared.clocked.engine;
    let broken = |source| LoadError::Link {
        component: spec.id.clone(),
        source,
    };
    let mut linker = shared.wasi.clone();
    for (capability, _) in grants {
        capability.link(&mut linker).map_err(broken)?;
    }
    for (import, item) in component.component_type().imports(engine) {
        let host = import.starts_with("wasi:")
            || grants
                .iter()
                .any(|(capability, _)| capability.interfaces().contains(&import));
        let target = spec.dependencies.provider(import);
        match (item.ty, target) {
            _ if host && target.is_none() => {}
            (ComponentItem::ComponentInstance(interface), _)
                if is_types_only(shared, &interface) =>
            {
                linker.instance(import).map(drop).map_err(broken)?;
            }
            (ComponentItem::ComponentInstance(interface), Some(target)) => {
                dependency(shared, spec, &mut linker, import, &interface, target)?;
            }
            _ => {
                return Err(LoadError::UnknownImport {
                    component: spec.id.clone(),
                    import: import.to_owned(),
                });
            }
        }
    }
    Ok(linker)
}

/// Forward an imported interface to the component that provides it.
fn dependency(
    shared: &Arc<Shared>,
    spec: &Spec,
    linker: &mut Linker<State>,
    name: &str,
    needed: &ComponentInstance,
    target: &ComponentId,
) -> Result<(), LoadError> {
    let engine = &shared.clocked.engine;
    let exporter = shared.stable(target).ok_or_else(|| LoadError::Mismatch {
        importer: spec.id.clone(),
        exporter: target.clone(),
        interface: name.to_owned(),
        difference: "that component is not loaded".to_owned(),
    })?;
    provided(shared, spec, name, needed, &exporter)?;

    let broken = |source| LoadError::Link {
        component: spec.id.clone(),
        source,
    };
    let mut instance = linker.instance(name).map_err(broken)?;
    for (function, item) in needed.exports(engine) {
        let ComponentItem::ComponentFunc(ty) = item.ty else {
            continue;
        };
        let forward = Arc::new(Forward {
            shared: Arc::downgrade(shared),
            target: Arc::new(Target {
                component: target.clone(),
                interface: name.to_owned(),
                function: function.to_owned(),
            }),
            failure: Failure::of(&ty),
        });
        let defined = if ty.async_() {
            instance.func_new_concurrent(function, move |accessor, _, params, results| {
                let call = accessor.with(|mut access| access.data_mut().call().cloned());
                let forward = Arc::clone(&forward);
                Box::pin(async move { forward.call(call, params, results).await })
            })
        } else {
            // The caller's instance does nothing else meanwhile: that is what its type says.
            instance.func_new_async(function, move |context, _, params, results| {
                let call = context.data().call().cloned();
                let forward = Arc::clone(&forward);
                Box::new(async move { forward.call(call, params, results).await })
            })
        };
        defined.map_err(broken)?;
    }
    Ok(())
}

/// A function of another component, as its importer calls it.
struct Forward {
    shared: Weak<Shared>,
    target: Arc<Target>,
    failure: Failure,
}

impl Forward {
    async fn call(
        &self,
        call: Option<Call>,
        params: &[Val],
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let (Some(call), Some(shared)) = (call, self.shared.upgrade()) else {
            return Err(wasmtime::Error::msg(
                "a component called another outside of any call",
            ));
        };
        let value = match shared.invoke(&self.target, params.to_vec(), &call).await {
            Ok(value) => value,
            Err(error) => {
                tracing::warn!(
                    callee = %self.target.component, interface = self.target.interface,
                    function = self.target.function, error = %chain(&error),
                    "a call of another component failed"
                );
                self.failure.result(&error)?
            }
        };
        if let Some(slot) = results.first_mut() {
            *slot = value;
        }
        Ok(())
    }
}

/// Whether a version provides an interface as an importer needs it.
pub(crate) fn provided(
    shared: &Shared,
    importer: &Spec,
    name: &str,
    needed: &ComponentInstance,
    exporter: &Loaded,
) -> Result<(), LoadError> {
    let engine = &shared.clocked.engine;
    let mismatch = |difference: String| LoadError::Mismatch {
        importer: importer.id.clone(),
        exporter: exporter.spec.id.clone(),
        interface: name.to_owned(),
        difference,
    };
    let had = exporter.interface(shared, name).ok_or_else(|| {
        let mut has: Vec<_> = exporter.interfaces().collect();
        has.sort_unstable();
        mismatch(format!(
            "it is not exported; the exporter has {}",
            has.join(", ")
        ))
    })?;
    if let Some(difference) = types::first_difference(engine, needed, &had) {
        return Err(mismatch(difference));
    }
    for (function, item) in needed.exports(engine) {
        if let ComponentItem::ComponentFunc(ty) = item.ty
            && let Some(handle) = types::first_handle(&ty)
        {
            return Err(mismatch(format!(
                "function {function}: {handle}, which cannot go from one component to another"
            )));
        }
    }
    Ok(())
}

/// Whether an interface has no functions: there is nothing to call, and nobody has to provide it.
pub(crate) fn is_types_only(shared: &Shared, interface: &ComponentInstance) -> bool {
    interface
        .exports(&shared.clocked.engine)
        .all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
}
