//! An instance: a life that owns a store and runs one call after the other in it.
//!
//! Its life is a future. While it waits for a call the pool has it, and nobody polls it; while it has a call it belongs to
//! that, and is driven by whoever waits for the call (`driver`). Between calls the store keeps what is dear to make: the
//! memory, the exports that were looked up, the event loop. After a trap, a passed deadline or a cancellation the store is
//! dropped and nothing of it used again, and so it is when nobody has called for long, or when a call has left much in
//! it. It is dropped by a task of its own, which no call waits for.

use std::{
    any::Any,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tracing::{Instrument as _, Span};
use wasmtime::{
    AsContextMut as _, PoolConcurrencyLimitError, Store, UpdateDeadline, component::Accessor,
};

use crate::{
    Call, CallError, State,
    bell::Bell,
    bindings::Bound,
    client::ClientTime,
    component::Component,
    control::{Control, End, GRACE, weighed},
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
    /// What goes on by itself.
    pub(crate) tasks: TaskTracker,
}

impl Workshop {
    /// Let this go on by itself.
    pub(crate) fn go_on(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, self.lane.main());
    }
}

/// An instance that waits for a call. Dropped, it goes.
pub(crate) struct Instance {
    /// None: it has ended.
    life: Option<BoxFuture<'static, ()>>,
    desk: Arc<Desk>,
    bell: Arc<Bell>,
    /// Rings it.
    waker: Waker,
    workshop: Arc<Workshop>,
    pub(crate) control: Arc<Control>,
}

/// An instance that has a call.
pub(crate) struct Active {
    /// None: the call has ended.
    instance: Option<Instance>,
    bell: Arc<Bell>,
    /// It has rung its own bell in so many turns in a row.
    own_rings: u8,
}

/// What an instance and whoever has it hand each other.
#[derive(Default)]
struct Desk(Mutex<Papers>);

#[derive(Default)]
struct Papers {
    next: Option<(Work, Job)>,
    /// The call under way.
    current: Option<Work>,
    over: Option<Over>,
    /// No call comes any more.
    is_left: bool,
}

/// A call that the instance has nothing left to do for.
struct Over {
    work: Work,
    result: Result<Kind, CallError>,
    /// The instance can be used again.
    is_sound: bool,
}

/// A call on its way through an instance.
pub(crate) struct Work {
    call: Call,
    owner: Arc<dyn Owner>,
    ticket: Ticket,
    number: u64,
    behind: bool,
}

/// What goes with a call, and comes back with its end.
pub(crate) struct Ticket {
    pub(crate) begun: Instant,
    /// How long it waits for whoever asked, where somebody outside did.
    pub(crate) client: Option<Arc<ClientTime>>,
    /// Ends with it.
    pub(crate) span: marquee_telemetry::traces::Span,
    pub(crate) ended: oneshot::Sender<Result<(), CallError>>,
    /// Its place among the calls of its version, and among all.
    pub(crate) places: (OwnedSemaphorePermit, TaskTrackerToken),
}

/// Whose instances they are.
pub(crate) trait Owner: Send + Sync {
    fn component(&self) -> &Arc<Component>;

    /// A call has ended.
    fn ended(self: Arc<Self>, ended: Ended);
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
            number: 0,
            behind,
        }
    }

    fn end(self, result: Result<Kind, CallError>, instance: Option<Instance>) {
        self.owner.ended(Ended {
            ticket: self.ticket,
            result,
            let_down: self.call.let_down.is_set(),
            instance,
        });
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
    /// A new one. What it runs in is made when it has its first call.
    pub(crate) fn new(workshop: Arc<Workshop>, slot: OwnedSemaphorePermit) -> Self {
        let control = Arc::new(Control::new(workshop.budget.idle));
        let desk = Arc::new(Desk::default());
        // That of the first of all is where it is made.
        workshop.lane.main();
        let task = Task {
            workshop: Arc::clone(&workshop),
            control: Arc::clone(&control),
            desk: Arc::clone(&desk),
            _slot: slot,
        };
        let (shop, driven) = (Arc::clone(&workshop), Arc::clone(&control));
        let life = async move { shop.lane.drive(&driven, Box::pin(task.live())).await };
        let bell = Arc::new(Bell::default());
        Self {
            life: Some(Box::pin(life)),
            desk,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            workshop,
            control,
        }
    }

    /// Give it a call. Its number too.
    pub(crate) fn begin(self, mut work: Work, job: Job) -> (Active, u64) {
        let number = self.control.next_call();
        work.number = number;
        self.desk.lock().next = Some((work, job));
        self.bell.ring();
        let active = Active {
            bell: Arc::clone(&self.bell),
            instance: Some(self),
            own_rings: 0,
        };
        (active, number)
    }

    /// Whether nobody has called for long.
    pub(crate) fn is_stale(&self) -> bool {
        self.control.is_late()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(life) = self.life.take() else {
            return;
        };
        self.desk.lock().is_left = true;
        self.workshop.go_on(life);
    }
}

impl Active {
    /// Go on with the call. Ready: it has ended, and its owner has been told.
    pub(crate) fn turn(&mut self) -> Poll<()> {
        let Some(instance) = &mut self.instance else {
            return Poll::Ready(());
        };
        if let Some(life) = &mut instance.life {
            let mut cx = Context::from_waker(&instance.waker);
            if life.as_mut().poll(&mut cx).is_ready() {
                instance.life = None;
            }
        }
        let has_ended = instance.life.is_none();
        let mut papers = instance.desk.lock();
        let Some(over) = papers.over.take().or_else(|| papers.missed(has_ended)) else {
            self.own_rings = match self.bell.is_rung() {
                true => self.own_rings.saturating_add(1),
                false => 0,
            };
            return Poll::Pending;
        };
        drop(papers);
        let Over {
            work,
            result,
            is_sound,
        } = over;
        self.bell.leave();
        let instance = self.instance.take();
        work.end(result, instance.filter(|_| is_sound && !has_ended));
        Poll::Ready(())
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// It has something to do, and lets others go first. A set of futures rings once when all of them wait, for nothing.
    pub(crate) fn makes_way(&self) -> bool {
        self.own_rings > 1
    }

    /// The others have had their turns.
    pub(crate) fn comes_back(&mut self) {
        self.own_rings = 0;
    }
}

impl Desk {
    /// The next call. None: there is none any more.
    fn poll_next(&self) -> Poll<Option<(Work, Job)>> {
        let mut papers = self.lock();
        match papers.next.take() {
            Some(next) => Poll::Ready(Some(next)),
            None if papers.is_left => Poll::Ready(None),
            // Whoever brings one rings.
            None => Poll::Pending,
        }
    }

    fn end(&self, result: Result<Kind, CallError>, is_sound: bool) {
        let mut papers = self.lock();
        if let Some(work) = papers.current.take() {
            papers.over = Some(Over {
                work,
                result,
                is_sound,
            });
        }
    }

    fn waits_for_client(&self) -> bool {
        let papers = self.lock();
        let current = papers.current.as_ref();
        let client = current.and_then(|work| work.ticket.client.as_ref());
        client.is_some_and(|client| client.is_waiting())
    }

    fn lock(&self) -> MutexGuard<'_, Papers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Papers {
    /// A call that came when the instance had ended.
    fn missed(&mut self, has_ended: bool) -> Option<Over> {
        if !has_ended {
            return None;
        }
        let (work, _) = self.next.take()?;
        let error = CallError::Cancelled(work.owner.component().spec.id.clone());
        Some(Over {
            work,
            result: Err(error),
            is_sound: false,
        })
    }
}

/// The life of an instance.
struct Task {
    workshop: Arc<Workshop>,
    control: Arc<Control>,
    desk: Arc<Desk>,
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
    async fn live(self) {
        let stop = AssertUnwindSafe(self.run()).catch_unwind().await;
        let stop = stop.unwrap_or_else(Stop::Panicked);
        let current = self.desk.lock().current.take();
        if let Some(work) = current {
            let over = Over {
                result: Err(self.error(stop, &work)),
                work,
                is_sound: false,
            };
            self.desk.lock().over = Some(over);
        }
    }

    /// Make the instance for its first call, and run that and all others.
    async fn run(&self) -> Stop {
        let (control, desk) = (&self.control, &self.desk);
        let Some((first, job)) = poll_fn(|_| desk.poll_next()).await else {
            return Stop::Gone;
        };
        let component = Arc::clone(first.owner.component());
        let behind = first.behind;
        let first = begin(control, desk, first);
        if component.is_slow_to_make() {
            control.fall_behind();
            // Whoever drives this looks where it belongs before it goes on.
            tokio::task::yield_now().await;
        }
        let mut timer = pin!(tokio::time::sleep_until((first.0.deadline + GRACE).into()));
        let mut end = pin!(poll_fn(|cx| control.poll_end(cx, timer.as_mut())));
        let mut store = store(&self.workshop, control, &component);
        let made = {
            let mut making = pin!(weighed(component.pre.instantiate_async(&mut store)));
            tokio::select! {
                biased;
                (made, is_slow) = making.as_mut() => {
                    component.was_made(is_slow);
                    made
                }
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

        control.made(behind);
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
                        control.rest(self.workshop.budget.idle);
                        desk.end(Ok(kind), is_sound);
                        let come = poll_fn(|_| desk.poll_next()).await;
                        next = come.map(|(work, job)| (begin(control, desk, work), job));
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
                let client_waits = why == End::Late && desk.waits_for_client();
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
                let _span = call_span(&work.call, id, component.version).entered();
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
fn begin(control: &Control, desk: &Desk, work: Work) -> (Call, Span) {
    control.begin(work.number, work.call.deadline, work.behind);
    let begun = (work.call.clone(), work.span());
    desk.lock().current = Some(work);
    begun
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
