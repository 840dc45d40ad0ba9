//! The runtime: what is loaded, and the ways to call it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Registry};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime::component::{Linker, Val};

use crate::{Body, Call, CallError, Lineup, LoadError, Spec, State, engine::Clocked, load::Loaded};

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Shared>);

/// What all parts of the runtime share for the life of the process.
pub(crate) struct Shared {
    pub(crate) clocked: Clocked,
    pub(crate) lineup: Lineup,
    /// WASI, which every component may import; what it may do with it is decided by its store.
    pub(crate) wasi: Linker<State>,
    pub(crate) registry: Registry<Arc<Loaded>>,
    /// Every call under way.
    pub(crate) tasks: TaskTracker,
    /// Ends every call under way.
    pub(crate) stop: CancellationToken,
}

impl Runtime {
    /// A runtime without components. `memory_bytes` is the largest linear memory that any component may have.
    pub fn new(lineup: Lineup, memory_bytes: usize) -> wasmtime::Result<Self> {
        let clocked = Clocked::new(memory_bytes)?;
        let mut wasi = Linker::new(&clocked.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut wasi)?;
        wasmtime_wasi::p3::add_to_linker(&mut wasi)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut wasi)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut wasi)?;
        Ok(Self(Arc::new(Shared {
            clocked,
            lineup,
            wasi,
            registry: Registry::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })))
    }

    /// Load a version of a component and make it the active one. Its dependencies must be loaded before.
    pub async fn load(&self, spec: Spec, bytes: &[u8]) -> Result<Digest, LoadError> {
        let id = spec.id.clone();
        let loaded = Loaded::load(&self.0, spec, bytes).await?;
        let version = loaded.version;
        self.0.registry.activate(id, version, loaded);
        Ok(version)
    }

    /// The deadline of a call of this component that begins now.
    pub fn deadline(&self, component: &ComponentId) -> Result<Instant, CallError> {
        Ok(Instant::now() + self.0.loaded(component)?.spec.limits.deadline)
    }

    /// Wait until no call is under way, at most `grace`; then end what is left. Returns how many were ended.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait())
            .await
            .is_ok()
        {
            return 0;
        }
        let abandoned = self.0.tasks.len();
        self.0.stop.cancel();
        self.0.tasks.wait().await;
        abandoned
    }
}

impl Shared {
    pub(crate) fn active(&self, component: &ComponentId) -> Option<Arc<Loaded>> {
        self.registry
            .active(component)
            .map(|version| Arc::clone(&version.payload))
    }

    pub(crate) fn loaded(&self, component: &ComponentId) -> Result<Arc<Loaded>, CallError> {
        self.active(component)
            .ok_or_else(|| CallError::UnknownComponent(component.clone()))
    }

    /// Call a function of another component on behalf of `caller`, in a unit of work where its interface is
    /// transactional. The version is the one that is active now.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        target: &Arc<Target>,
        params: Vec<Val>,
        caller: &Call,
    ) -> Result<Val, CallError> {
        let loaded = self.loaded(&target.component)?;
        let call = caller.onward(Instant::now() + loaded.spec.limits.deadline);
        if !loaded.spec.transactional.contains(&target.interface) {
            return Arc::clone(self)
                .call_export(loaded, Arc::clone(target), params, call)
                .await;
        }
        let (shared, target_) = (Arc::clone(self), Arc::clone(target));
        let body: Body = Box::new(move |call| {
            let (shared, loaded) = (Arc::clone(&shared), Arc::clone(&loaded));
            shared
                .call_export(loaded, Arc::clone(&target_), params.clone(), call)
                .boxed()
        });
        self.lineup
            .transactor
            .run(&target.component, call, body)
            .await
    }

    async fn call_export(
        self: Arc<Self>,
        loaded: Arc<Loaded>,
        target: Arc<Target>,
        params: Vec<Val>,
        call: Call,
    ) -> Result<Val, CallError> {
        let export = loaded.export(&target.interface, &target.function)?;
        let (send, receive) = oneshot::channel();
        let job: crate::pool::Job = Box::new(move |accessor, instance| {
            async move {
                let function = accessor
                    .with(|mut access| instance.get_func(&mut access, export.index))
                    .ok_or_else(|| wasmtime::Error::msg("an exported function has gone"))?;
                let mut results = [Val::Bool(false)];
                let slots = results.get_mut(..export.results).unwrap_or_default();
                function.call_concurrent(accessor, &params, slots).await?;
                let [result] = results;
                // The caller may have gone; then nobody needs the answer.
                let _ = send.send(result);
                Ok(())
            }
            .boxed()
        });
        let running = loaded.pool.start(&self, &loaded, call, job).await?;
        running.ended().await?;
        receive
            .await
            .map_err(|_| CallError::Cancelled(loaded.spec.id.clone()))
    }
}

/// A function of an interface that a component exports.
pub(crate) struct Target {
    pub(crate) component: ComponentId,
    pub(crate) interface: String,
    pub(crate) function: String,
}

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
