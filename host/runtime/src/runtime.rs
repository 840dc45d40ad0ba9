//! The runtime: what is live, and which version a call gets.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Either, select},
};
use marquee_manifest::ComponentId;
use marquee_registry::{Choice, Digest, Live, Registry};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use wasmtime::{
    Engine,
    component::{Linker, Val},
};

use crate::{
    Beside, Body, Call, CallError, Lineup, Manner, Prepared, Spec, artifact,
    cache::size_of,
    component::Component,
    engine::Clocked,
    entry::Entry,
    instance::{Job, Workshop},
    is_error,
    lane::SlowLane,
    link::{Offer, Others, Target},
    log::Budget as LogBudget,
    memory::{Budget, Room},
    outcome::Kind,
    pool::{Floor, Pool},
    shadow::{Asked, Copied, Shadows},
    tally::Tallies,
};

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Shared>);

/// What all parts of the runtime share for the life of the process.
pub(crate) struct Shared {
    pub(crate) floor: Arc<Floor>,
    pub(crate) offer: Offer,
    pub(crate) registry: Registry<Prepared>,
    engine_key: String,
    pub(crate) shadows: Arc<Shadows>,
    /// What each component may log.
    logs: Mutex<HashMap<ComponentId, Arc<LogBudget>>>,
}

impl Runtime {
    /// A runtime without components. `memory_bytes` is the largest linear memory that any component may have, `room`
    /// what all instances have together.
    pub fn new(lineup: Lineup, memory_bytes: usize, room: Room) -> wasmtime::Result<Self> {
        let clocked = Clocked::new(memory_bytes)?;
        let mut wasi = Linker::new(&clocked.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut wasi)?;
        wasmtime_wasi::p3::add_to_linker(&mut wasi)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut wasi)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut wasi)?;
        let engine_key = artifact::key(&clocked.engine);
        let calls = TaskTracker::new();
        let workshop = Arc::new(Workshop {
            clocked,
            budget: Arc::new(Budget::new(room)),
            lane: SlowLane::new(&calls)?,
            tasks: TaskTracker::new(),
        });
        let floor = Arc::new(Floor {
            workshop,
            calls,
            tallies: Tallies::default(),
        });
        Ok(Self(Arc::new_cyclic(|shared: &Weak<Shared>| Shared {
            engine_key,
            floor,
            offer: Offer {
                wasi,
                lineup,
                others: shared.clone(),
            },
            registry: Registry::default(),
            shadows: Arc::new(Shadows::new()),
            logs: Mutex::default(),
        })))
    }

    /// Names the compiler and its settings: what was compiled under another key does not fit.
    pub fn engine_key(&self) -> &str {
        &self.0.engine_key
    }

    /// Set what is live of components, at one moment, each after [`Runtime::check`]: the next call gets it, and no call meets
    /// the new version of one and the old one of another. Calls under way end on the version that they have.
    pub fn set_live(&self, all: Vec<(ComponentId, Live<Prepared>)>) {
        let mut keeps: HashMap<ComponentId, Vec<Digest>> = HashMap::new();
        for (id, live) in &all {
            for version in live.versions() {
                version.payload.0.keep(true);
            }
            let digests = live.versions().map(|version| version.digest);
            keeps.insert(id.clone(), digests.collect());
        }
        let before = self.0.registry.set(all);
        for (id, keeps) in keeps {
            let before = before.get(&id).into_iter();
            for version in before.flat_map(|before| before.versions()) {
                if !keeps.contains(&version.digest) {
                    version.payload.0.keep(false);
                }
            }
        }
    }

    /// What is live of a component.
    pub fn live(&self, component: &ComponentId) -> Option<Arc<Live<Prepared>>> {
        self.0.registry.live(component)
    }

    /// What a version asks of the host beside plain WASI.
    pub fn rights(&self, version: &Prepared) -> BTreeSet<String> {
        version.0.component.rights(self.0.engine())
    }

    /// The deadline of a call of this component that begins now.
    pub fn deadline(&self, component: &ComponentId) -> Result<Instant, CallError> {
        let live = self.0.registry.live(component);
        let live = live.ok_or_else(|| CallError::UnknownComponent(component.clone()))?;
        // A bound of the manifest's: the same for all versions.
        let limits = &live.stable.payload.0.component.spec.limits;
        Ok(Instant::now() + limits.deadline)
    }

    /// Wait until no call is under way, at most `grace`; then end what is left. Returns how many were ended.
    pub async fn drain(&self, grace: Duration) -> usize {
        let Floor {
            workshop, calls, ..
        } = &*self.0.floor;
        calls.close();
        if tokio::time::timeout(grace, calls.wait()).await.is_ok() {
            return 0;
        }
        let abandoned = calls.len();
        for pool in workshop.budget.pools() {
            pool.end_calls();
        }
        calls.wait().await;
        abandoned
    }
}

impl Shared {
    pub(crate) fn engine(&self) -> &Engine {
        &self.floor.workshop.clocked.engine
    }

    /// What a component may log, over all its versions.
    pub(crate) fn log_budget(&self, spec: &Spec) -> Arc<LogBudget> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = logs
            .entry(spec.id.clone())
            .or_insert_with(|| Arc::new(LogBudget::new(spec.limits.log_lines)));
        Arc::clone(budget)
    }

    /// How many lines of each component were left out so far.
    pub(crate) fn left_out(&self) -> Vec<(ComponentId, u64)> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = logs.iter();
        lines
            .map(|(id, budget)| (id.clone(), budget.left_out()))
            .collect()
    }

    /// The version that a call gets.
    pub(crate) fn version(
        &self,
        component: &ComponentId,
        choice: &Choice,
    ) -> Result<Entry, CallError> {
        let live = self.registry.live(component);
        let live = live.ok_or_else(|| CallError::UnknownComponent(component.clone()))?;
        Ok(Entry::chosen(live, choice))
    }

    /// The version that a call gets; and the copy of it, if the component's shadow gets one.
    pub(crate) fn choose(
        &self,
        component: &ComponentId,
        call: &Call,
        asked: impl FnOnce() -> Asked,
    ) -> Result<(Entry, Option<Copied>), CallError> {
        if let Some(version) = Beside::of_call(call).and_then(|beside| beside.stable(component)) {
            return Ok((Entry::of(Arc::clone(&version.0)), None));
        }
        let live = self.registry.live(component);
        let live = live.ok_or_else(|| CallError::UnknownComponent(component.clone()))?;
        let copied = self.shadows.copied(component, &live, call, asked);
        Ok((Entry::chosen(live, &call.choice), copied))
    }

    /// Make a call of which nothing stands. `would_stand` says of what was answered whether its unit would be committed.
    pub(crate) async fn discard<T, F>(
        &self,
        component: &ComponentId,
        call: Call,
        manner: Manner,
        would_stand: impl FnOnce(&T) -> bool,
        body: impl FnOnce(Call) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let transactor = &self.offer.lineup.transactor;
        let Some(lent) = transactor.discard(component, &call, manner) else {
            return body(call).await;
        };
        let mut made = pin!(body(call.with_unit(lent.unit())));
        let answer = loop {
            if let Ok(answer) = tokio::time::timeout(LOOK, made.as_mut()).await {
                break answer;
            }
            match select(made.as_mut(), lent.look()).await {
                Either::Left((answer, look)) => {
                    look.await;
                    break answer;
                }
                Either::Right(((), _)) => {}
            }
        };
        let would_stand = match manner {
            Manner::Alone => true,
            Manner::Unit => answer.as_ref().is_ok_and(would_stand),
        };
        lent.end(would_stand).await;
        answer
    }

    /// The same of a function.
    pub(crate) async fn discard_function(
        &self,
        version: &Arc<Pool>,
        target: &Target,
        params: Arc<[Val]>,
        call: Call,
    ) -> Result<Val, CallError> {
        let transactional = &version.component.spec.transactional;
        let manner = match transactional.contains(&target.interface) {
            true => Manner::Unit,
            false => Manner::Alone,
        };
        let stands = |answer: &Val| !is_error(answer);
        let entry = Entry::of(Arc::clone(version));
        let body = |call| async move { function(&entry, target, params, call).await };
        self.discard(&target.component, call, manner, stands, body)
            .await
    }
}

impl Others for Shared {
    fn stable(&self, id: &ComponentId) -> Option<Arc<Component>> {
        let live = self.registry.live(id)?;
        Some(Arc::clone(&live.stable.payload.0.component))
    }

    /// In a unit of work where the interface is transactional. The version is the one that the caller's choice has now.
    fn call<'a>(
        self: Arc<Self>,
        target: &'a Arc<Target>,
        params: Arc<[Val]>,
        caller: &'a Call,
    ) -> BoxFuture<'a, Result<Val, CallError>> {
        async move {
            let held = caller.pending.hold(params.iter().map(size_of).sum());
            let held = held.ok_or_else(|| CallError::TooMuchPending(target.importer.clone()))?;
            // Until the caller takes the answer.
            let held = Arc::new(held);
            let asked = || Asked::Function(Arc::clone(target), Arc::clone(&params));
            // Held until what was asked for is done, and stands.
            let (entry, copied) = self.choose(&target.component, caller, asked)?;
            let version = &entry.version;
            let spec = &version.component.spec;
            let call = caller.onward(Instant::now() + spec.limits.deadline, Arc::clone(&held));
            if call.dry_run.is_some() {
                let beside = version.beside();
                return self.discard_function(&beside, target, params, call).await;
            }
            let _copied = copied;
            if !spec.transactional.contains(&target.interface) {
                let shelf = version.component.shelf(&target.interface, &target.function);
                let Some(shelf) = shelf.filter(|_| !call.exact.is_set()) else {
                    return function(&entry, target, params, call).await;
                };
                let (cache, deadline) = (&self.offer.lineup.cache, call.deadline);
                let make = || {
                    // What is kept is as old as what it was made of.
                    call.exact.set();
                    function(&entry, target, Arc::clone(&params), call)
                };
                return cache.answer(shelf, &params, deadline, make).await;
            }
            let (of, target_) = (entry.clone(), Arc::clone(target));
            let body: Body = Box::new(move |call| {
                let (of, target, params) = (of.clone(), Arc::clone(&target_), Arc::clone(&params));
                async move { function(&of, &target, params, call).await }.boxed()
            });
            let transactor = &self.offer.lineup.transactor;
            transactor.run(&target.component, call, body).await
        }
        .boxed()
    }
}

/// Call a function that a version exports, with whatever types it has.
async fn function(
    entry: &Entry,
    target: &Target,
    params: Arc<[Val]>,
    mut call: Call,
) -> Result<Val, CallError> {
    let asked = call.asked.take();
    let export = entry
        .version
        .component
        .export(&target.interface, &target.function)?;
    let (send, receive) = oneshot::channel();
    let job: Job = Box::new(move |accessor, bound| {
        async move {
            let function = accessor
                .with(|mut access| bound.instance.get_func(&mut access, export.index))
                .ok_or_else(|| wasmtime::Error::msg("an exported function has gone"))?;
            let mut results = [Val::Bool(false)];
            let slots = results.get_mut(..export.results).unwrap_or_default();
            function.call_concurrent(accessor, &params, slots).await?;
            let [result] = results;
            // It lies with the host until its caller has time for it.
            let fits = asked.is_none_or(|asked| asked.answered(size_of(&result)));
            // The caller may have gone; then nobody needs the answer.
            let _ = send.send(fits.then_some(result));
            Ok(Kind::Done)
        }
        .boxed()
    });
    let what = || format!("{}.{}", target.interface, target.function);
    let running = entry.start(call, None, what, job).await?;
    running.ended().await?;
    let answer = receive
        .await
        .map_err(|_| CallError::Cancelled(target.component.clone()))?;
    answer.ok_or_else(|| CallError::TooMuchPending(target.importer.clone()))
}

/// Whoever waits for what a dry run has locked waits that long, and for the statement that it is at.
const LOOK: Duration = Duration::from_millis(20);
