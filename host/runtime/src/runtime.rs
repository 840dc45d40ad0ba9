//! The runtime: what is loaded, and the ways to call it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Choice, Digest, Live, Registry};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime::component::{Linker, Val};

use crate::{
    Artifact, Body, Call, CallError, Figures, Lineup, LoadError, Spec, State, artifact,
    engine::Clocked, lane::SlowLane, load::Loaded, log::Budget,
};

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Shared>);

/// A version that is loaded and may become live.
#[derive(Clone)]
pub struct Prepared(pub(crate) Arc<Loaded>);

impl Prepared {
    /// Its name.
    pub fn version(&self) -> Digest {
        self.0.version
    }

    /// End every call of it that is under way, and every one that still begins: a version that is no longer live and
    /// whose calls had their time. Each is rolled back and answered with [`CallError::Cancelled`].
    pub fn end_calls(&self) {
        self.0.stop.cancel();
    }

    /// What became of its calls since it was loaded.
    pub fn figures(&self) -> Figures {
        self.0.stats.figures()
    }
}

/// What all parts of the runtime share for the life of the process.
pub(crate) struct Shared {
    pub(crate) clocked: Clocked,
    pub(crate) lineup: Lineup,
    /// WASI, which every component may import; what it may do with it is decided by its store.
    pub(crate) wasi: Linker<State>,
    pub(crate) registry: Registry<Prepared>,
    engine_key: String,
    /// What each component may log.
    logs: Mutex<HashMap<ComponentId, Arc<Budget>>>,
    pub(crate) slow_lane: SlowLane,
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
        let tasks = TaskTracker::new();
        Ok(Self(Arc::new(Shared {
            engine_key: artifact::key(&clocked.engine),
            clocked,
            lineup,
            wasi,
            registry: Registry::default(),
            logs: Mutex::default(),
            slow_lane: SlowLane::new(&tasks)?,
            tasks,
            stop: CancellationToken::new(),
        })))
    }

    /// Names the compiler and its settings: what was compiled under another key does not fit.
    pub fn engine_key(&self) -> &str {
        &self.0.engine_key
    }

    /// Load a version of a component, check it, try it. What is live stays so. Its dependencies must be live.
    pub async fn prepare(
        &self,
        spec: Spec,
        version: Digest,
        artifact: Artifact,
    ) -> Result<Prepared, LoadError> {
        let loaded = Loaded::load(&self.0, spec, version, artifact).await?;
        self.checked(loaded)
    }

    /// The version once more, as if it were new, with the code that it has in memory: checked against what is live now,
    /// and tried. One that was live may have been told to end its calls, so it does not come back itself.
    pub async fn prepare_again(&self, version: &Prepared) -> Result<Prepared, LoadError> {
        let loaded = version.0.again(&self.0).await?;
        self.checked(loaded)
    }

    fn checked(&self, loaded: Arc<Loaded>) -> Result<Prepared, LoadError> {
        let prepared = Prepared(loaded);
        self.check(&prepared)?;
        Ok(prepared)
    }

    /// Whether a version still fits what is live of the others: those that import from it, and those that it imports
    /// from. To be asked again right before [`Runtime::set_live`] where others may have been set since it was prepared.
    pub fn check(&self, prepared: &Prepared) -> Result<(), LoadError> {
        let loaded = &prepared.0;
        let snapshot = self.0.registry.snapshot();
        for importer in snapshot.values().flat_map(|live| live.versions()) {
            importer.payload.0.check_imports(&self.0, loaded)?;
        }
        for exporter in loaded.spec.dependencies.components() {
            let live = snapshot.get(exporter);
            for exporter in live.iter().flat_map(|live| live.versions()) {
                loaded.check_imports(&self.0, &exporter.payload.0)?;
            }
        }
        Ok(())
    }

    /// Set what is live of a component: the next call gets it. Calls under way end on the version that they have. Whoever
    /// sets versions of several components does so one after the other, each after [`Runtime::check`].
    pub fn set_live(&self, component: ComponentId, live: Live<Prepared>) {
        for version in live.versions() {
            version.payload.0.pool.keep(true);
        }
        let keeps: Vec<Digest> = live.versions().map(|version| version.digest).collect();
        let before = self.0.registry.set(component, live);
        for version in before.iter().flat_map(|before| before.versions()) {
            if !keeps.contains(&version.digest) {
                version.payload.0.pool.keep(false);
            }
        }
    }

    /// What is live of a component.
    pub fn live(&self, component: &ComponentId) -> Option<Arc<Live<Prepared>>> {
        self.0.registry.live(component)
    }

    /// What a version asks of the host beside plain WASI.
    pub fn rights(&self, version: &Prepared) -> BTreeSet<String> {
        version.0.rights(&self.0)
    }

    /// The deadline of a call of this component that begins now.
    pub fn deadline(&self, component: &ComponentId) -> Result<Instant, CallError> {
        let live = self.0.registry.live(component);
        let live = live.ok_or_else(|| CallError::UnknownComponent(component.clone()))?;
        // A bound of the manifest's: the same for all versions.
        Ok(Instant::now() + live.stable.payload.0.spec.limits.deadline)
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
    /// What a component may log, over all its versions.
    pub(crate) fn log_budget(&self, spec: &Spec) -> Arc<Budget> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = logs
            .entry(spec.id.clone())
            .or_insert_with(|| Arc::new(Budget::new(spec.limits.log_lines)));
        Arc::clone(budget)
    }

    /// The stable version: the one whose types its importers are linked with.
    pub(crate) fn stable(&self, component: &ComponentId) -> Option<Arc<Loaded>> {
        let live = self.registry.live(component)?;
        Some(Arc::clone(&live.stable.payload.0))
    }

    /// The version that a call gets.
    pub(crate) fn loaded(
        &self,
        component: &ComponentId,
        choice: &Choice,
    ) -> Result<Arc<Loaded>, CallError> {
        let live = self.registry.live(component);
        let live = live.ok_or_else(|| CallError::UnknownComponent(component.clone()))?;
        Ok(Arc::clone(&live.choose(choice).payload.0))
    }

    /// Call a function of another component on behalf of `caller`, in a unit of work where its interface is
    /// transactional. The version is the one that its choice has now.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        target: &Arc<Target>,
        params: Vec<Val>,
        caller: &Call,
    ) -> Result<Val, CallError> {
        let loaded = self.loaded(&target.component, &caller.choice)?;
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
