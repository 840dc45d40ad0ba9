//! A version that can be called: its instances, how many calls it may have at once, and what came of them.
//!
//! One call at a time in an instance. Bounds: `concurrent_calls` calls, `queue` that wait for their turn, and over all
//! components the places and bytes of the host's budget.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use marquee_manifest::ComponentId;
use marquee_telemetry::traces::Span;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    Call, CallError,
    client::ClientTime,
    component::Component,
    control::Control,
    driver::Driver,
    error::chain,
    instance::{Ended, Instance, Job, Owner, Ticket, Work, Workshop},
    lane,
    memory::{Evict, Standing},
    outcome::{Blame, Kind, Outcome},
    stats::Stats,
    tally::Tallies,
};

/// What all pools share for the life of the process.
pub(crate) struct Floor {
    pub(crate) workshop: Arc<Workshop>,
    /// Every call under way, and every one that waits for its turn.
    pub(crate) calls: TaskTracker,
    /// What became of the calls of all versions.
    pub(crate) tallies: Tallies,
}

/// A version with its instances.
pub(crate) struct Pool {
    pub(crate) component: Arc<Component>,
    pub(crate) stats: Arc<Stats>,
    purpose: Purpose,
    floor: Arc<Floor>,
    idle: Mutex<Idle>,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// None of its calls is to be under way.
    stopped: AtomicBool,
    /// For calls of which nothing stands.
    beside: OnceLock<Arc<Self>>,
}

/// What the calls of a pool are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// They are what somebody asks for.
    Service,
    /// Nothing of them stands, and nobody is told of them.
    DryRun,
}

struct Idle {
    /// The version is live, and keeps instances.
    keeps: bool,
    /// Those that wait for a call; the last one has waited for the shortest time.
    instances: Vec<Instance>,
    /// Of all instances, whatever they do.
    controls: Vec<Weak<Control>>,
    /// Somebody lets those go that nobody calls for long.
    is_swept: bool,
}

/// A call under way, which goes on while it is waited for, or by itself. Dropped before its end, it gives the call up.
pub(crate) struct Running {
    ended: oneshot::Receiver<Result<(), CallError>>,
    /// None: others drive the call.
    driver: Option<Driver>,
    control: Option<Arc<Control>>,
    number: u64,
    version: Arc<Pool>,
}

impl Running {
    /// Let the call run on by itself.
    pub(crate) fn let_go(mut self) {
        self.control = None;
    }

    /// Wait for what the call sends before its end. None: it has ended without.
    pub(crate) async fn answer<T>(&mut self, mut answer: oneshot::Receiver<T>) -> Option<T> {
        let answered = Driver::wait(&mut self.driver, &mut answer).await;
        // What it still does is not waited for here.
        self.go_on();
        answered.ok()
    }

    /// Wait until the instance has nothing left to do for this call.
    pub(crate) async fn ended(mut self) -> Result<(), CallError> {
        let result = Driver::wait(&mut self.driver, &mut self.ended).await;
        self.control = None;
        // The call is gone without a word only when the async runtime shuts down.
        result.unwrap_or_else(|_| Err(CallError::Cancelled(self.version.id().clone())))
    }

    /// What is left to do goes on in a task of its own.
    fn go_on(&mut self) {
        if let Some(driver) = self.driver.take().filter(|driver| !driver.is_empty()) {
            self.version.drive(driver);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(control) = &self.control {
            control.give_up(self.number);
        }
        self.go_on();
    }
}

impl Pool {
    pub(crate) fn new(floor: &Arc<Floor>, component: Arc<Component>) -> Arc<Self> {
        Self::with_purpose(floor, component, Purpose::Service)
    }

    fn with_purpose(floor: &Arc<Floor>, component: Arc<Component>, purpose: Purpose) -> Arc<Self> {
        let limits = &component.spec.limits;
        let stats = match purpose {
            Purpose::Service => floor.tallies.open(&component.spec.id, component.version),
            Purpose::DryRun => Arc::new(Stats::new()),
        };
        let permits = Arc::new(Semaphore::new(limits.concurrent_calls));
        let waiting = Arc::new(Semaphore::new(limits.queue));
        let pool = Arc::new(Self {
            permits,
            waiting,
            stats,
            purpose,
            floor: Arc::clone(floor),
            component,
            idle: Mutex::new(Idle {
                keeps: true,
                instances: Vec::new(),
                controls: Vec::new(),
                is_swept: false,
            }),
            stopped: AtomicBool::new(false),
            beside: OnceLock::new(),
        });
        let weak: Weak<Self> = Arc::downgrade(&pool);
        floor.workshop.budget.add(weak);
        pool
    }

    /// The same version with instances of its own, for calls of which nothing stands: no other call meets what they left in
    /// memory, waits for a place of theirs, or is counted with them.
    pub(crate) fn beside(&self) -> Arc<Self> {
        let beside = || {
            let component = Arc::clone(&self.component);
            Self::with_purpose(&self.floor, component, Purpose::DryRun)
        };
        Arc::clone(self.beside.get_or_init(beside))
    }

    /// Start a call. `client` says how long it waits for whoever asked, where somebody outside did. The span ends with it.
    pub(crate) async fn start(
        self: &Arc<Self>,
        call: Call,
        client: Option<Arc<ClientTime>>,
        mut span: Span,
        job: Job,
    ) -> Result<Running, CallError> {
        self.stats.begin();
        let started = self.hand_over(call, client, &mut span, job).await;
        if let Err(error) = &started {
            self.stats.refuse();
            failed(&mut span, error.outcome(self.id()), Some(error));
        }
        started
    }

    async fn hand_over(
        self: &Arc<Self>,
        call: Call,
        client: Option<Arc<ClientTime>>,
        span: &mut Span,
        job: Job,
    ) -> Result<Running, CallError> {
        let token = self.floor.calls.token();
        let deadline = call.deadline;
        let permit = self.permit(deadline).await?;
        let begun = Instant::now();
        let instance = match self.take() {
            Some(instance) => instance,
            None => self.new_instance(deadline).await?,
        };
        // What has ended since it was asked for is not begun.
        if self.stopped.load(Ordering::Acquire) {
            return Err(CallError::Cancelled(self.id().clone()));
        }
        let (ended, end) = oneshot::channel();
        let ticket = Ticket {
            begun,
            client,
            span: std::mem::take(span),
            ended,
            places: (permit, token),
        };
        let owner: Arc<Self> = Arc::clone(self);
        let work = Work::new(call, owner, ticket);
        let control = Some(Arc::clone(&instance.control));
        let (active, number) = instance.begin(work, job);
        let mut driver = Driver::admit(active);
        // The threads of the slow lane are for calls that have computed for long.
        if let Some(driver) = driver.take_if(|_| lane::is_here()) {
            self.drive(driver);
        }
        Ok(Running {
            ended: end,
            driver,
            control,
            number,
            version: Arc::clone(self),
        })
    }

    fn drive(&self, driver: Driver) {
        self.floor.workshop.go_on(driver.run());
    }

    fn id(&self) -> &ComponentId {
        &self.component.spec.id
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, CallError> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        let overloaded = || CallError::Overloaded(self.id().clone());
        // Counted for as long as it waits, whether it gets its turn, gives up or goes away.
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let _place = place.map_err(|_| overloaded())?;
        let waits = Instant::now();
        let turn = tokio::time::timeout(self.patience(deadline), permits.acquire_owned()).await;
        self.stats.waited(waits.elapsed());
        match turn {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(overloaded()),
        }
    }

    /// How long a call with this deadline waits for what it needs before it begins.
    fn patience(&self, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        self.component.spec.limits.queue_timeout.min(left)
    }

    async fn new_instance(&self, deadline: Instant) -> Result<Instance, CallError> {
        let patience = self.patience(deadline);
        let slot = self.floor.workshop.budget.slot(patience).await;
        let slot = slot.ok_or_else(|| CallError::NoRoom(self.id().clone()))?;
        let instance = Instance::new(Arc::clone(&self.floor.workshop), slot);
        let mut idle = self.lock();
        idle.controls.retain(|control| control.strong_count() > 0);
        idle.controls.push(Arc::downgrade(&instance.control));
        Ok(instance)
    }

    /// Keep instances from now on, or let those go that are idle and those that will be.
    pub(crate) fn keep(&self, keep: bool) {
        let mut idle = self.lock();
        idle.keeps = keep;
        let gone = match keep {
            true => Vec::new(),
            false => std::mem::take(&mut idle.instances),
        };
        drop(idle);
        drop(gone);
        if let Some(beside) = self.beside.get() {
            beside.keep(keep);
        }
    }

    fn take(&self) -> Option<Instance> {
        self.lock().instances.pop()
    }

    fn give_back(self: &Arc<Self>, instance: Instance) {
        let mut idle = self.lock();
        if !idle.keeps {
            drop(idle);
            return;
        }
        idle.instances.push(instance);
        if !std::mem::replace(&mut idle.is_swept, true) {
            self.floor
                .workshop
                .go_on(sweep(Arc::downgrade(self), self.floor.workshop.budget.idle));
        }
    }

    /// Let those go that nobody has called for long. Whether any is left.
    fn let_stale_go(&self) -> bool {
        let mut idle = self.lock();
        let fresh = idle.instances.iter().position(|it| !it.is_stale());
        let stale: Vec<Instance> = match fresh {
            Some(first) => idle.instances.drain(..first).collect(),
            None => std::mem::take(&mut idle.instances),
        };
        idle.is_swept = !idle.instances.is_empty();
        let is_any_left = idle.is_swept;
        drop(idle);
        drop(stale);
        is_any_left
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Pool {
    fn component(&self) -> &Arc<Component> {
        &self.component
    }

    fn ended(self: Arc<Self>, ended: Ended) {
        if let Some(instance) = ended.instance {
            self.give_back(instance);
        }
        let Ticket {
            begun,
            client,
            mut span,
            ended: tell,
            places,
        } = ended.ticket;
        let outcome = match &ended.result {
            Ok(Kind::Failed) if ended.let_down => Outcome::new(Kind::Failed, Blame::Dependency),
            Ok(Kind::Failed) => Outcome::new(Kind::Failed, Blame::Version),
            Ok(_) => Outcome::DONE,
            Err(error) => error.outcome(&self.component.spec.id),
        };
        let waited = client.map_or(Duration::ZERO, |client| client.waited());
        let took = begun.elapsed().saturating_sub(waited);
        self.stats.end(outcome, took);
        if outcome != Outcome::DONE {
            failed(&mut span, outcome, ended.result.as_ref().err());
        }
        // Before whoever waits for the call goes on.
        drop(span);
        drop(places);
        // Nobody waits for a call whose caller has gone.
        let _ = tell.send(ended.result.map(drop));
    }
}

impl Evict for Pool {
    fn oldest(&self) -> Option<Arc<Control>> {
        let idle = self.lock();
        let oldest = idle.instances.first();
        oldest.map(|instance| Arc::clone(&instance.control))
    }

    fn evict(&self, oldest: &Control) {
        let mut idle = self.lock();
        let place = idle.instances.iter();
        let place = { place }.position(|instance| std::ptr::eq(&*instance.control, oldest));
        let gone = place.map(|place| idle.instances.remove(place));
        drop(idle);
        drop(gone);
    }

    fn standing(&self) -> Option<Standing> {
        if self.purpose == Purpose::DryRun {
            return None;
        }
        let lists = self.lock();
        let idle = lists.instances.len();
        let all: Vec<_> = lists.controls.iter().filter_map(Weak::upgrade).collect();
        drop(lists);
        let limits = &self.component.spec.limits;
        Some(Standing {
            component: self.component.spec.id.clone(),
            version: self.component.version,
            busy: all.len().saturating_sub(idle),
            idle,
            memory_bytes: all.iter().map(|control| control.memory_bytes()).sum(),
            waiting: limits
                .queue
                .saturating_sub(self.waiting.available_permits()),
        })
    }

    fn end_calls(&self) {
        self.stopped.store(true, Ordering::Release);
        let controls = self.lock().controls.clone();
        for control in controls.iter().filter_map(Weak::upgrade) {
            control.stop();
        }
    }
}

/// The span says what became of the call.
fn failed(span: &mut Span, outcome: Outcome, error: Option<&CallError>) {
    if !span.is_recorded() {
        return;
    }
    let how = error.map_or_else(|| "the component said so".to_owned(), |error| chain(error));
    span.fail(outcome.kind.word(), how);
}

/// Let instances go that nobody calls, as long as there are any that may come to that.
async fn sweep(pool: Weak<Pool>, idle: Duration) {
    loop {
        tokio::time::sleep(idle / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.let_stale_go() {
            return;
        }
    }
}
