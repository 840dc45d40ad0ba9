//! Instances of one version of a component, and the calls that run in them.
//!
//! One call at a time in an instance. After a random 128 to 256 calls it is replaced, so that what leaks in a guest
//! stays small; after a trap, a passed deadline or a cancellation at once. Bounds: `concurrent_calls` instances, `queue`
//! calls that wait for one.

use std::{
    any::Any,
    future::poll_fn,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use marquee_registry::Digest;
use rand::RngExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;
use wasmtime::{
    Store, UpdateDeadline,
    component::{Accessor, Instance, InstancePre},
};

use crate::{Call, CallError, Limits, Spec, State, limits, load::Loaded, runtime::Shared};

/// What a call does in its instance. It sends its answer by a channel of its own.
pub(crate) type Job = Box<
    dyn for<'a> FnOnce(&'a Accessor<State>, &'a Instance) -> BoxFuture<'a, wasmtime::Result<()>>
        + Send,
>;

/// The idle instances of a version.
pub(crate) struct Pool {
    /// None: the version is not live, and keeps no instances.
    idle: Mutex<Option<Vec<Slot>>>,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// An instance with its store.
struct Slot {
    store: Store<State>,
    instance: Instance,
    calls_left: u32,
}

/// A call under way. Dropped before its end, it cancels the call.
pub(crate) struct Running {
    ended: oneshot::Receiver<Result<(), CallError>>,
    guard: DropGuard,
    component: marquee_manifest::ComponentId,
}

impl Running {
    /// Let the call run on by itself.
    pub(crate) fn let_go(self) {
        self.guard.disarm();
    }

    /// Wait until the instance has nothing left to do for this call.
    pub(crate) async fn ended(self) -> Result<(), CallError> {
        let result = self.ended.await;
        self.guard.disarm();
        // The task is gone without a word only when the async runtime shuts down.
        result.unwrap_or(Err(CallError::Cancelled(self.component)))
    }
}

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            idle: Mutex::new(Some(Vec::new())),
            permits: Arc::new(Semaphore::new(limits.concurrent_calls)),
            waiting: Arc::new(Semaphore::new(limits.queue)),
        }
    }

    /// Start a call in an instance of `loaded`, in a task of its own.
    pub(crate) async fn start(
        &self,
        shared: &Arc<Shared>,
        loaded: &Arc<Loaded>,
        call: Call,
        job: Job,
    ) -> Result<Running, CallError> {
        let component = loaded.spec.id.clone();
        let permit = self.permit(loaded, &call).await?;
        let cancel = loaded.stop.child_token();
        let (send, ended) = oneshot::channel();
        let span = tracing::info_span!(
            "call",
            request_id = %call.request_id,
            component = %component,
            version = %loaded.version,
        );
        let task = Task {
            shared: Arc::clone(shared),
            loaded: Arc::clone(loaded),
            call,
            cancel: cancel.clone(),
            permit,
        };
        shared.tasks.spawn(
            async move {
                let loaded = Arc::clone(&task.loaded);
                let begun = Instant::now();
                let in_flight = loaded.stats.begin();
                let result = AssertUnwindSafe(task.run(job)).catch_unwind().await;
                // What it used is gone with it.
                let result = result.unwrap_or_else(|panic| Err(panicked(&loaded, &*panic)));
                loaded.stats.took(begun.elapsed());
                if result.as_ref().is_err_and(CallError::is_of_the_version) {
                    loaded.stats.error();
                }
                drop(in_flight);
                // Nobody waits for a call whose caller has gone.
                let _ = send.send(result);
            }
            .instrument(span),
        );
        Ok(Running {
            ended,
            guard: cancel.drop_guard(),
            component,
        })
    }

    async fn permit(
        &self,
        loaded: &Loaded,
        call: &Call,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        // Counted for as long as it waits, whether it gets its turn, gives up or goes away.
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let Ok(_place) = place else {
            return Err(CallError::Overloaded(loaded.spec.id.clone()));
        };
        let patience = loaded
            .spec
            .limits
            .queue_timeout
            .min(call.deadline.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(patience, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(CallError::Overloaded(loaded.spec.id.clone())),
        }
    }

    /// Keep instances from now on, or let those go that are idle and those that will be.
    pub(crate) fn keep(&self, keep: bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = if keep {
            idle.get_or_insert_default();
            None
        } else {
            idle.take()
        };
        // Not under the lock: dropping a store takes its time.
        drop(idle);
        drop(gone);
    }

    fn take(&self) -> Option<Slot> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()?
            .pop()
    }

    fn give_back(&self, slot: Slot) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match idle.as_mut() {
            Some(idle) => {
                idle.push(slot);
                None
            }
            None => Some(slot),
        };
        drop(idle);
        drop(refused);
    }
}

/// One call and all that it needs.
struct Task {
    shared: Arc<Shared>,
    loaded: Arc<Loaded>,
    call: Call,
    cancel: CancellationToken,
    permit: OwnedSemaphorePermit,
}

impl Task {
    async fn run(self, job: Job) -> Result<(), CallError> {
        let mut slot = match self.loaded.pool.take() {
            Some(slot) => slot,
            None => self.instantiate().await?,
        };
        let views = self.loaded.views(&self.call);
        let hooks = self
            .shared
            .lineup
            .outbound
            .hooks(&self.loaded.spec.id, &self.call);
        slot.store.data_mut().begin(self.call.clone(), views, hooks);
        slot.store.set_epoch_deadline(1);
        let shared = Arc::clone(&self.shared);
        let control = Arc::clone(slot.store.data().control());
        let work = self.drive(slot, job).in_current_span();
        shared.slow_lane.drive(&control, Box::pin(work)).await
    }

    /// Run the call in its instance, to its end or to ours.
    async fn drive(self, mut slot: Slot, job: Job) -> Result<(), CallError> {
        let id = &self.loaded.spec.id;
        let instance = slot.instance;
        let control = Arc::clone(slot.store.data().control());
        let late = tokio::time::sleep_until((self.call.deadline + GRACE).into());
        let outcome = {
            let running = slot.store.run_concurrent(async |accessor| {
                let work = async {
                    job(accessor, &instance).await?;
                    // What the guest does after it has answered belongs to the call. What it has left to the host does
                    // not: that ends by its own deadline.
                    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    wasmtime::error::Ok(())
                };
                control.unless_over(work).await
            });
            let mut running = std::pin::pin!(running);
            let outcome = tokio::select! {
                biased;
                result = running.as_mut() => Ok(result.flatten()),
                () = late => Err(CallError::Deadline(id.clone())),
                () = self.cancel.cancelled() => Err(CallError::Cancelled(id.clone())),
            };
            if outcome.is_err() {
                control.end();
                // Only a guest that waits in a call of the host's that blocks its whole store is not reached: it is
                // dropped together with its store and with all that it waits for, as wasmtime advises.
                let _ = tokio::time::timeout(GRACE, running).await;
            }
            outcome
        };
        match outcome? {
            Err(_) if slot.store.data().is_late() => return Err(CallError::Deadline(id.clone())),
            Err(source) => return Err(self.trap(source)),
            Ok(()) => {}
        }
        slot.store.data_mut().end();
        slot.calls_left -= 1;
        if slot.calls_left > 0 {
            self.loaded.pool.give_back(slot);
        }
        drop(self.permit);
        Ok(())
    }

    async fn instantiate(&self) -> Result<Slot, CallError> {
        let Loaded {
            pre, spec, version, ..
        } = &*self.loaded;
        let (store, instance) =
            instantiate(&self.shared, pre, spec, *version, self.call.deadline).await?;
        Ok(Slot {
            store,
            instance,
            calls_left: rand::rng().random_range(REUSE),
        })
    }

    fn trap(&self, source: wasmtime::Error) -> CallError {
        // A failure that came through from a component called by this one keeps its own name.
        match source.downcast::<CallError>() {
            Ok(error) => error,
            Err(source) => CallError::Trap {
                component: self.loaded.spec.id.clone(),
                version: self.loaded.version.to_string(),
                source: Arc::new(source),
            },
        }
    }
}

/// A bug of the host's, met by one call.
fn panicked(loaded: &Loaded, panic: &(dyn Any + Send)) -> CallError {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = said,
        "the host panicked in a call; its instance is thrown away"
    );
    CallError::Panicked(loaded.spec.id.clone())
}

/// A new instance in a new store. What it does while it starts must end by the deadline too.
pub(crate) async fn instantiate(
    shared: &Shared,
    pre: &InstancePre<State>,
    spec: &Spec,
    version: Digest,
    deadline: Instant,
) -> Result<(Store<State>, Instance), CallError> {
    let mut state = State::new(spec, &shared.log_budget(spec));
    state.set_deadline(deadline);
    let mut store = Store::new(&shared.clocked.engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(limits::HOSTCALL_BYTES);
    store.set_max_component_handles(spec.limits.handles);
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        if state.is_late() || state.control().is_over() {
            return Ok(UpdateDeadline::Interrupt);
        }
        // One tick may just have met it; at the second it has computed for as long as others may wait.
        Ok(if state.control().tick() {
            UpdateDeadline::Continue(1)
        } else {
            UpdateDeadline::Yield(1)
        })
    });
    store.set_epoch_deadline(1);
    // A start that computes is ended by the epoch, one that waits is ended here.
    let started = pre.instantiate_async(&mut store);
    match tokio::time::timeout_at(deadline.into(), started).await {
        Ok(Ok(instance)) => Ok((store, instance)),
        Ok(Err(source)) if !store.data().is_late() => Err(CallError::Instantiate {
            component: spec.id.clone(),
            version: version.to_string(),
            source: Arc::new(source),
        }),
        _ => Err(CallError::Deadline(spec.id.clone())),
    }
}

/// Calls that an instance serves before it is replaced.
const REUSE: std::ops::Range<u32> = 128..257;
/// What a call gets past its deadline to end by itself: its own deadlines for statements and requests come first.
const GRACE: Duration = Duration::from_millis(100);
