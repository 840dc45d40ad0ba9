//! What travels with a call.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use marquee_registry::Choice;
use marquee_telemetry::traces::Trace;

use crate::{DryRun, Held, Pending};

/// One call of a component, as everything on its way sees it. Cheap to clone.
#[derive(Clone)]
pub struct Call {
    /// Names the request or delivery that this call is part of; the same through all components.
    pub request_id: Arc<str>,
    /// The place in a trace of what it does.
    pub trace: Trace,
    /// When it must have ended, by wall clock.
    pub deadline: Instant,
    /// Which versions it gets, of this component and of those that it leads to.
    pub choice: Choice,
    /// The unit of work that it runs in, if it does. The runtime does not look inside.
    pub unit: Option<Arc<dyn Any + Send + Sync>>,
    /// What is held for what it has asked for.
    pub pending: Pending,
    /// What its caller's call holds for it, where that is one of another component.
    pub(crate) asked: Option<Arc<Held>>,
    /// Whether what the component relies on was there for it.
    pub let_down: LetDown,
    /// Whether all that it is told has to be of this moment.
    pub exact: Exact,
    /// What it meets instead of what is live: a version is tried before those that it goes live with are.
    /// The runtime's; this layer does not look inside.
    pub(crate) beside: Option<Arc<dyn Any + Send + Sync>>,
    /// Where what it would do is noted, if nothing of it may stand.
    pub dry_run: Option<DryRun>,
}

/// Tells that something which a call's component relies on was not there for it: its database, the bus, another component.
/// Where the call fails, that is why.
#[derive(Debug, Clone, Default)]
pub struct LetDown(Arc<AtomicBool>);

impl LetDown {
    /// It was not.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether anything was not.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells that a call, and all calls that it leads to, get no answer that was kept: it is part of a transaction, or its own
/// answer is to be kept.
#[derive(Debug, Clone, Default)]
pub struct Exact(Arc<AtomicBool>);

impl Exact {
    /// It gets none from now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it gets none.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Call {
    /// A call outside any unit of work, of versions by chance.
    pub fn new(request_id: impl Into<Arc<str>>, deadline: Instant) -> Self {
        Self {
            request_id: request_id.into(),
            trace: Trace::default(),
            deadline,
            choice: Choice::by_chance(rand::random()),
            unit: None,
            let_down: LetDown::default(),
            exact: Exact::default(),
            pending: Pending::default(),
            asked: None,
            beside: None,
            dry_run: None,
        }
    }

    /// The same call of other versions.
    #[must_use]
    pub fn with_choice(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// The same call at another place in a trace.
    #[must_use]
    pub fn with_trace(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    /// The same call in a unit of work.
    #[must_use]
    pub fn with_unit(mut self, unit: Arc<dyn Any + Send + Sync>) -> Self {
        self.unit = Some(unit);
        self.exact.set();
        self
    }

    /// The same call, of which nothing stands: nor does it get an answer that was kept, or leave one.
    #[must_use]
    pub fn as_dry_run(mut self, dry_run: DryRun) -> Self {
        self.dry_run = Some(dry_run);
        self.exact.set();
        self
    }

    /// A call that this one makes of another component: the same request, no unit (each component has its own),
    /// and no more time than is left. This one holds `asked` for it.
    pub(crate) fn onward(&self, deadline: Instant, asked: Arc<Held>) -> Self {
        let exact = Exact::default();
        if self.exact.is_set() {
            exact.set();
        }
        Self {
            exact,
            request_id: Arc::clone(&self.request_id),
            trace: self.trace.clone(),
            deadline: self.deadline.min(deadline),
            choice: self.choice.clone(),
            unit: None,
            let_down: LetDown::default(),
            pending: Pending::default(),
            asked: Some(asked),
            beside: self.beside.clone(),
            dry_run: self.dry_run.clone(),
        }
    }
}
