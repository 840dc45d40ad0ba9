//! An instance: a task that owns a store and runs one call after the other in it.
//!
//! Calls come through an inbox of one place, from whoever holds the instance's handle, which travels with the call and goes
//! back to the pool after it. Between calls the store keeps what is dear to make: the memory, the exports that were looked
//! up, the event loop. After a trap, a passed deadline or a cancellation the store is dropped and nothing of it used
//! again, and so it is when nobody has called for [`IDLE`], or when a call has left much in it.

use std::{
    any::Any,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::{
    OwnedSemaphorePermit,
    mpsc::{Receiver, Sender, channel},
    oneshot,
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument as _, Span};
use wasmtime::{
    AsContextMut as _, PoolConcurrencyLimitError, Store, UpdateDeadline, component::Accessor,
};

use crate::{
    Call, CallError, State,
    bindings::Bound,
    client::ClientTime,
    component::Component,
    control::{Control, End, GRACE},
    engine::Clocked,
    lane::{self, SlowLane},
    limits,
    log::call_span,
    memory::{Budget, Holding, NoRoom},
    outcome::Kind,
};

/// What a call does in its instance. It sends its answer by a channel of its own.
pub(crate) type Job = Box<
    dyn for<'a> FnOnce(&'a Accessor<State>, &'a Bound) -> BoxFuture<'a, wasmtime::Result<Kind>>
        + Send,
>;

/// What instances are made with, of whatever component.
pub(crate) struct Workshop {
    /// Whatever runs, the epoch moves on.
    pub(crate) clocked: Clocked,
    pub(crate) budget: Arc<Budget>,
    pub(crate) lane: SlowLane,
}

/// The handle of an instance that waits for a call. Dropped, it lets the instance go.
pub(crate) struct Instance {
    inbox: Sender<(Work, Job)>,
    pub(crate) control: Arc<Control>,
}

/// A call on its way through an instance.
pub(crate) struct Work {
    call: Call,
    owner: Arc<dyn Owner>,
    ticket: Ticket,
    instance: Option<Instance>,
    number: u64,
    behind: bool,
}

/// What goes with a call, and comes back with its end.
pub(crate) struct Ticket {
    pub(crate) begun: Instant,
    /// How long it waits for whoever asked, where somebody outside did.
    pub(crate) client: Option<Arc<ClientTime>>,
    pub(crate) ended: oneshot::Sender<Result<(), CallError>>,
    /// Its place among the calls of its version, and among all.
    pub(crate) places: (OwnedSemaphorePermit, TaskTrackerToken),
}

/// Whose instances they are.
pub(crate) trait Owner: Send + Sync {
    fn component(&self) -> &Arc<Component>;

    /// A call has ended.
    fn ended(&self, ended: Ended);
}

/// A call that has ended.
pub(crate) struct Ended {
    pub(crate) ticket: Ticket,
    /// What the guest answered, or why it did not.
    pub(crate) result: Result<Kind, CallError>,
    /// Something that the component relies on was not there for it.
    pub(crate) let_down: bool,
    /// What it ran in, if that can be used again.
    pub(crate) instance: Option<Instance>,
}

impl Work {
    pub(crate) fn new(call: Call, owner: Arc<dyn Owner>, ticket: Ticket) -> Self {
        // What a call leads to stands where it does; nobody waits for a dry run.
        let behind = lane::is_here() || call.dry_run.is_some();
        Self {
            call,
            owner,
            ticket,
            instance: None,
            number: 0,
            behind,
        }
    }

    fn end(self, result: Result<Kind, CallError>, is_sound: bool) {
        self.owner.ended(Ended {
            ticket: self.ticket,
            result,
            let_down: self.call.let_down.is_set(),
            instance: self.instance.filter(|_| is_sound),
        });
    }

    fn fail(self, error: CallError) {
        self.end(Err(error), false);
    }

    /// For whoever looks closely. The lines of a component, and of the host about it, have the same names without it.
    fn span(&self) -> Span {
        let component = self.owner.component();
        tracing::debug_span!(
            "call",
            request_id = %self.call.request_id,
            component = %component.spec.id,
            version = %component.version,
        )
    }
}

impl Instance {
    /// The handle of a new one, and its task. The instance itself is made when it has its first call.
    pub(crate) fn new(
        workshop: Arc<Workshop>,
        slot: OwnedSemaphorePermit,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (inbox, calls) = channel(1);
        let control = Arc::new(Control::new(IDLE));
        let task = Task {
            workshop: Arc::clone(&workshop),
            control: Arc::clone(&control),
            calls,
            current: Mutex::new(None),
            _slot: slot,
        };
        let driven = Arc::clone(&control);
        let life = async move { workshop.lane.drive(&driven, Box::pin(task.live())).await };
        (Self { inbox, control }, life)
    }

    /// Run a call. It comes back if the instance has gone.
    pub(crate) fn run(self, mut work: Work, job: Job) -> Result<u64, Box<(Work, Job)>> {
        let (inbox, number) = (self.inbox.clone(), self.control.next_call());
        work.number = number;
        work.instance = Some(self);
        inbox.try_send((work, job)).map_err(|back| {
            let (mut work, job) = back.into_inner();
            work.instance = None;
            Box::new((work, job))
        })?;
        Ok(number)
    }

    /// Whether its task has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.inbox.is_closed()
    }
}

/// The task of an instance.
struct Task {
    workshop: Arc<Workshop>,
    control: Arc<Control>,
    calls: Receiver<(Work, Job)>,
    /// The call under way.
    current: Mutex<Option<Work>>,
    _slot: OwnedSemaphorePermit,
}

/// Why no more calls run in an instance.
enum Stop {
    /// Its handle was dropped, or it is not used again.
    Gone,
    Ended(End),
    /// The call's time was over while it waited for whoever asked.
    Client,
    /// The guest trapped, or the host ended it.
    Broke(wasmtime::Error),
    /// It could not be made.
    Unmade(wasmtime::Error),
    Panicked(Box<dyn Any + Send>),
}

impl Task {
    async fn live(mut self) {
        let stop = AssertUnwindSafe(self.run()).catch_unwind().await;
        let stop = stop.unwrap_or_else(Stop::Panicked);
        // Nothing is handed over to it from here on, and what was is told so.
        self.calls.close();
        if let Some(work) = take(&self.current) {
            let error = self.error(stop, &work);
            work.fail(error);
        }
        while let Ok((work, _)) = self.calls.try_recv() {
            let error = CallError::Cancelled(work.owner.component().spec.id.clone());
            work.fail(error);
        }
    }

    /// Make the instance for its first call, and run that and all others.
    async fn run(&mut self) -> Stop {
        let Some((first, job)) = self.calls.recv().await else {
            return Stop::Gone;
        };
        let component = Arc::clone(first.owner.component());
        let (control, current, calls) = (&self.control, &self.current, &mut self.calls);
        let first = begin(control, current, first);
        let mut timer = pin!(tokio::time::sleep_until((first.0.deadline + GRACE).into()));
        let mut end = pin!(poll_fn(|cx| control.poll_end(cx, timer.as_mut())));
        let mut store = store(&self.workshop, control, &component);
        let made = {
            let mut making = pin!(component.pre.instantiate_async(&mut store));
            tokio::select! {
                biased;
                made = making.as_mut() => made,
                why = end.as_mut() => {
                    // A start that computes is interrupted, one that waits has had its time.
                    control.end();
                    let _ = tokio::time::timeout(GRACE, making).await;
                    return Stop::Ended(why);
                }
            }
        };
        let bound = match made {
            Ok(instance) => Bound::new(instance),
            Err(_) if control.is_late() => return Stop::Ended(End::Late),
            Err(source) => return Stop::Unmade(source),
        };

        let running = store.run_concurrent(async |accessor| {
            control
                .unless_over(async {
                    let mut next = Some((first, job));
                    let mut calls_left = component.spec.limits.calls_left();
                    while let Some(((call, span), job)) = next.take() {
                        accessor.with(|mut access| {
                            let mut store = access.as_context_mut();
                            store.set_epoch_deadline(1);
                            component.begin(store.data_mut(), &call);
                        });
                        let kind = job(accessor, &bound).instrument(span).await?;
                        // What the guest does after it has answered belongs to the call. What it has left to the host does
                        // not: that ends by its own deadline.
                        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                        let is_sound = accessor.with(|mut access| {
                            let state = access.data_mut();
                            state.end();
                            state.is_sound()
                        });
                        calls_left = calls_left.saturating_sub(1);
                        let is_sound = is_sound && calls_left > 0;
                        control.rest(IDLE);
                        if let Some(work) = take(current) {
                            work.end(Ok(kind), is_sound);
                        }
                        if !is_sound {
                            break;
                        }
                        let come = calls.recv().await;
                        next = come.map(|(work, job)| (begin(control, current, work), job));
                    }
                    wasmtime::error::Ok(())
                })
                .await
        });
        let mut running = pin!(running);
        tokio::select! {
            biased;
            result = running.as_mut() => match result.flatten() {
                Ok(()) => Stop::Gone,
                Err(_) if control.is_late() => Stop::Ended(End::Late),
                Err(source) => Stop::Broke(source),
            },
            why = end.as_mut() => {
                // To be asked before it is told that nobody waits any more.
                let client_waits = why == End::Late && waits_for_client(current);
                control.end();
                // Only a guest that waits in a call of the host's that blocks its whole store is not reached: it is
                // dropped together with its store and with all that it waits for, as wasmtime advises.
                let _ = tokio::time::timeout(GRACE, running).await;
                if client_waits { Stop::Client } else { Stop::Ended(why) }
            }
        }
    }

    /// What the call under way is told when its instance stops.
    fn error(&self, stop: Stop, work: &Work) -> CallError {
        let component = work.owner.component();
        let (id, version) = (&component.spec.id, component.version.to_string());
        match stop {
            Stop::Gone | Stop::Ended(End::GivenUp) => CallError::Cancelled(id.clone()),
            Stop::Ended(End::Late) => CallError::Deadline(id.clone()),
            Stop::Client => CallError::Client(id.clone()),
            Stop::Broke(source) | Stop::Unmade(source) if source.is::<NoRoom>() => {
                CallError::NoRoom(id.clone())
            }
            Stop::Unmade(source) if source.is::<PoolConcurrencyLimitError>() => {
                CallError::NoRoom(id.clone())
            }
            Stop::Unmade(source) => CallError::Instantiate {
                component: id.clone(),
                version,
                source: Arc::new(source),
            },
            // A failure that came through from a component called by this one keeps its own name.
            Stop::Broke(source) => match source.downcast::<CallError>() {
                Ok(error) => error,
                Err(source) => CallError::Trap {
                    component: id.clone(),
                    version,
                    source: Arc::new(source),
                },
            },
            Stop::Panicked(panic) => {
                let said = panic.downcast_ref::<&str>().copied();
                let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                let request = &work.call.request_id;
                let _span = call_span(request, id, component.version).entered();
                tracing::error!(
                    panic = said,
                    "the host panicked in a call; its instance is thrown away"
                );
                CallError::Panicked(id.clone())
            }
        }
    }
}

/// The call is under way from now on.
fn begin(control: &Control, current: &Mutex<Option<Work>>, work: Work) -> (Call, Span) {
    control.begin(work.number, work.call.deadline, work.behind);
    let begun = (work.call.clone(), work.span());
    *lock(current) = Some(work);
    begun
}

fn lock(current: &Mutex<Option<Work>>) -> MutexGuard<'_, Option<Work>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(current: &Mutex<Option<Work>>) -> Option<Work> {
    lock(current).take()
}

fn waits_for_client(current: &Mutex<Option<Work>>) -> bool {
    let current = lock(current);
    let client = current
        .as_ref()
        .and_then(|work| work.ticket.client.as_ref());
    client.is_some_and(|client| client.is_waiting())
}

/// A new store, for an instance of this component.
fn store(workshop: &Workshop, control: &Arc<Control>, component: &Component) -> Store<State> {
    let limits = &component.spec.limits;
    let holding = Holding::new(&workshop.budget, control, limits.memory_bytes);
    let state = State::new(
        &component.spec,
        component.speaker(),
        holding,
        Arc::clone(control),
    );
    let mut store = Store::new(&workshop.clocked.engine, state);
    store.limiter(|state| &mut state.holding);
    store.set_hostcall_fuel(limits::HOSTCALL_BYTES);
    store.set_max_component_handles(limits.handles);
    store.epoch_deadline_callback(|context| {
        let control = context.data().control();
        if control.is_late() || control.is_over() {
            return Ok(UpdateDeadline::Interrupt);
        }
        // One tick may just have met it; at the second it has computed for as long as others may wait.
        Ok(if control.tick() {
            UpdateDeadline::Continue(1)
        } else {
            UpdateDeadline::Yield(1)
        })
    });
    store.set_epoch_deadline(1);
    store
}

/// How long an instance waits for a call. A burst leaves many that nobody needs soon.
const IDLE: Duration = Duration::from_secs(60);
