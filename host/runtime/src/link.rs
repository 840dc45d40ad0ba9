//! From code to a component: every import is provided with the types that it expects and granted, every export that the
//! manifest needs is there.
//!
//! An import is satisfied by WASI, by the host's capabilities, or by another component.

use std::sync::{Arc, Weak, atomic::AtomicU8};

use futures::future::BoxFuture;
use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use wasmtime::{
    Engine,
    component::{
        Component as Code, Linker, Val,
        types::{ComponentInstance, ComponentItem},
    },
};

use crate::{
    Call, CallError, Lineup, LoadError, Spec, State,
    cache::shelves,
    component::{Component, Grants, exports, is_types_only},
    error::chain,
    failure::Failure,
    log::{Budget, call_span},
    types,
};

/// What components are linked with.
pub(crate) struct Offer {
    /// WASI, which every component may import; what it may do with it is decided by its store.
    pub(crate) wasi: Linker<State>,
    pub(crate) lineup: Lineup,
    /// Those that are live.
    pub(crate) others: Weak<dyn Others>,
}

/// The version of a component that is to be live together with the one that is linked, if one is.
pub(crate) type Stable<'a> = &'a dyn Fn(&ComponentId) -> Option<Arc<Component>>;

/// The other components, as one that imports from them sees them.
pub(crate) trait Others: Send + Sync + 'static {
    /// The version whose types its importers are linked with.
    fn stable(&self, id: &ComponentId) -> Option<Arc<Component>>;

    /// Call a function on behalf of `caller`.
    fn call<'a>(
        self: Arc<Self>,
        target: &'a Arc<Target>,
        params: Arc<[Val]>,
        caller: &'a Call,
    ) -> BoxFuture<'a, Result<Val, CallError>>;
}

/// A function of an interface that a component exports.
pub(crate) struct Target {
    /// Who imports it.
    pub(crate) importer: ComponentId,
    pub(crate) component: ComponentId,
    pub(crate) interface: String,
    pub(crate) function: String,
}

impl Offer {
    /// Link a version of a component whose dependencies are live, or `beside` it.
    pub(crate) fn link(
        &self,
        engine: &Engine,
        spec: Spec,
        version: Digest,
        code: Code,
        log: Arc<Budget>,
        beside: Stable<'_>,
    ) -> Result<Component, LoadError> {
        let grants = self.grants(engine, &spec, &code)?;
        let pre = self
            .linker(engine, &spec, version, &code, &grants, beside)?
            .instantiate_pre(&code)
            .map_err(|source| broken(&spec, source))?;
        let exports = exports(engine, &code);
        for (interface, purpose) in &spec.entry_points {
            if !exports.contains_key(interface) {
                return Err(LoadError::MissingExport {
                    component: spec.id,
                    interface: interface.clone(),
                    purpose: purpose.clone(),
                });
            }
        }
        let shelves = shelves(&self.lineup.cache, engine, &spec, &code)?;
        Ok(Component {
            spec,
            version,
            code,
            pre,
            grants,
            outbound: Arc::clone(&self.lineup.outbound),
            log,
            exports,
            shelves,
            slow_makings: AtomicU8::new(0),
        })
    }

    /// What the component is granted of each capability that it imports.
    fn grants(&self, engine: &Engine, spec: &Spec, code: &Code) -> Result<Grants, LoadError> {
        let mut grants = Vec::new();
        for capability in &self.lineup.capabilities {
            let imports = code.component_type();
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
    fn linker(
        &self,
        engine: &Engine,
        spec: &Spec,
        version: Digest,
        code: &Code,
        grants: &Grants,
        beside: Stable<'_>,
    ) -> Result<Linker<State>, LoadError> {
        let mut linker = self.wasi.clone();
        for (capability, _) in grants {
            let linked = capability.link(&mut linker);
            linked.map_err(|source| broken(spec, source))?;
        }
        for (import, item) in code.component_type().imports(engine) {
            let host = import.starts_with("wasi:")
                || grants
                    .iter()
                    .any(|(capability, _)| capability.interfaces().contains(&import));
            let target = spec.dependencies.provider(import);
            match (item.ty, target) {
                _ if host && target.is_none() => {}
                (ComponentItem::ComponentInstance(interface), _)
                    if is_types_only(engine, &interface) =>
                {
                    let linked = linker.instance(import).map(drop);
                    linked.map_err(|source| broken(spec, source))?;
                }
                (ComponentItem::ComponentInstance(interface), Some(target)) => {
                    let exporter = beside(target).or_else(|| self.others.upgrade()?.stable(target));
                    let exporter = exporter.ok_or_else(|| LoadError::Mismatch {
                        importer: spec.id.clone(),
                        exporter: target.clone(),
                        interface: import.to_owned(),
                        difference: "that component is not loaded".to_owned(),
                    })?;
                    provided(engine, spec, import, &interface, &exporter)?;
                    let to = |function: &str, failure| Forward {
                        others: Weak::clone(&self.others),
                        version,
                        target: Arc::new(Target {
                            importer: spec.id.clone(),
                            component: target.clone(),
                            interface: import.to_owned(),
                            function: function.to_owned(),
                        }),
                        failure,
                    };
                    forward(engine, &mut linker, import, &interface, to)
                        .map_err(|source| broken(spec, source))?;
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
}

/// Forward an imported interface, each function as `to` says.
fn forward(
    engine: &Engine,
    linker: &mut Linker<State>,
    import: &str,
    needed: &ComponentInstance,
    to: impl Fn(&str, Failure) -> Forward,
) -> wasmtime::Result<()> {
    let mut instance = linker.instance(import)?;
    for (function, item) in needed.exports(engine) {
        let ComponentItem::ComponentFunc(ty) = item.ty else {
            continue;
        };
        let forward = Arc::new(to(function, Failure::of(&ty)));
        if ty.async_() {
            instance.func_new_concurrent(function, move |accessor, _, params, results| {
                let call = accessor.with(|mut access| access.data_mut().call().cloned());
                let forward = Arc::clone(&forward);
                Box::pin(async move {
                    answer(results, forward.call(call, params).await?);
                    Ok(())
                })
            })?;
        } else {
            // The caller's instance does nothing else meanwhile: that is what its type says.
            instance.func_new_async(function, move |context, _, params, results| {
                let call = context.data().call().cloned();
                let forward = Arc::clone(&forward);
                Box::new(async move {
                    answer(results, forward.call(call, params).await?);
                    Ok(())
                })
            })?;
        }
    }
    Ok(())
}

fn answer(results: &mut [Val], value: Val) {
    if let Some(slot) = results.first_mut() {
        *slot = value;
    }
}

fn broken(spec: &Spec, source: wasmtime::Error) -> LoadError {
    LoadError::Link {
        component: spec.id.clone(),
        source,
    }
}

/// A function of another component, as its importer calls it.
struct Forward {
    others: Weak<dyn Others>,
    version: Digest,
    target: Arc<Target>,
    failure: Failure,
}

impl Forward {
    async fn call(&self, call: Option<Call>, params: &[Val]) -> wasmtime::Result<Val> {
        let (Some(call), Some(others)) = (call, self.others.upgrade()) else {
            return Err(wasmtime::Error::msg(
                "a component called another outside of any call",
            ));
        };
        match others.call(&self.target, params.into(), &call).await {
            Ok(value) => Ok(value),
            Err(error) => {
                let importer = &self.target.importer;
                // What becomes of a dry run is told by who makes it.
                if call.dry_run.is_none() {
                    let _span = call_span(&call, importer, self.version).entered();
                    tracing::warn!(
                        callee = %self.target.component, interface = self.target.interface,
                        function = self.target.function, error = %chain(&error),
                        "a call of another component failed"
                    );
                }
                // What it has done itself is no excuse.
                if !matches!(&error, CallError::TooMuchPending(whose) if whose == importer) {
                    call.let_down.set();
                }
                self.failure.result(&error)
            }
        }
    }
}

/// Whether `importer` can have from `exporter` all that its manifest says it has from there; the error is the first that it
/// cannot.
pub(crate) fn check_imports(
    engine: &Engine,
    importer: &Component,
    exporter: &Component,
) -> Result<(), LoadError> {
    for (import, item) in importer.code.component_type().imports(engine) {
        if importer.spec.dependencies.provider(import) != Some(&exporter.spec.id) {
            continue;
        }
        if let ComponentItem::ComponentInstance(needed) = item.ty
            && !is_types_only(engine, &needed)
        {
            provided(engine, &importer.spec, import, &needed, exporter)?;
        }
    }
    Ok(())
}

/// Whether a version provides an interface as an importer needs it.
fn provided(
    engine: &Engine,
    importer: &Spec,
    name: &str,
    needed: &ComponentInstance,
    exporter: &Component,
) -> Result<(), LoadError> {
    let mismatch = |difference: String| LoadError::Mismatch {
        importer: importer.id.clone(),
        exporter: exporter.spec.id.clone(),
        interface: name.to_owned(),
        difference,
    };
    let had = exporter.interface(engine, name).ok_or_else(|| {
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
