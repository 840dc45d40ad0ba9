//! What a component may be given, as the runtime sees it.
//!
//! A capability has state of three lifetimes: itself (process), [`Grant`] (component) and [`View`] (call). The
//! store of an instance holds the views of the call that it runs.

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use futures::future::BoxFuture;
use marquee_manifest::ComponentId;
use wasmtime::component::{Linker, Val};
use wasmtime_wasi_http::WasiHttpHooks;

use crate::{Cache, Call, CallError, State, View, state::Closed};

/// What one component was given of a capability.
pub type Grant = Arc<dyn Any + Send + Sync>;

/// Interfaces that the host provides.
pub trait Capability: Send + Sync + 'static {
    /// The interfaces, with their versions: `spin:postgres/postgres@4.2.0`.
    fn interfaces(&self) -> &'static [&'static str];

    /// Define them.
    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()>;

    /// What this component gets of it. Asked only for a component that imports one of the interfaces; the error
    /// says what is missing and where it is granted.
    fn grant(&self, component: &ComponentId) -> Result<Grant, String>;

    /// What a call gets of it.
    fn view(&self, grant: &Grant, call: &Call) -> View;
}

/// Makes calls of transactional interfaces all-or-nothing.
#[async_trait]
pub trait Transactor: Send + Sync + 'static {
    /// Run `body` in a unit of work of the component's database, again from its start after a conflict. What it
    /// answers stands only if it is not an error of its interface; the answer comes back after the commit.
    async fn run(&self, component: &ComponentId, call: Call, body: Body) -> Result<Val, CallError>;

    /// What a call that is a dry run has for its unit of work, of which nothing stands. None: there is nothing that could.
    fn discard(
        &self,
        component: &ComponentId,
        call: &Call,
        manner: Manner,
    ) -> Option<Box<dyn Discarded>>;
}

/// How the statements of a dry run hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As in a unit of work: together, or none.
    Unit,
    /// As outside of one: each by itself.
    Alone,
}

/// A unit of work that is rolled back.
#[async_trait]
pub trait Discarded: Send + Sync {
    /// What the call is given.
    fn unit(&self) -> Arc<dyn Any + Send + Sync>;

    /// The call is under way: end what it has here if that holds up anybody else. Given up half-way, it is ended too.
    async fn look(&self);

    /// The call is over. What it did is noted, if it would have stood, and rolled back.
    async fn end(&self, would_stand: bool);
}

/// What a transactor runs: the call itself, as often as it takes.
pub type Body = Box<dyn Fn(Call) -> BoxFuture<'static, Result<Val, CallError>> + Send + Sync>;

/// Outgoing HTTP: who may reach what.
pub trait Outbound: Send + Sync + 'static {
    /// What decides on, and sends, the requests of one call.
    fn hooks(&self, component: &ComponentId, call: &Call) -> Box<dyn WasiHttpHooks>;
}

/// All that the host gives.
pub struct Lineup {
    /// Interfaces beside WASI's own.
    pub capabilities: Vec<Arc<dyn Capability>>,
    /// Units of work.
    pub transactor: Arc<dyn Transactor>,
    /// Outgoing HTTP.
    pub outbound: Arc<dyn Outbound>,
    /// What is kept of components' answers.
    pub cache: Arc<Cache>,
}

impl Lineup {
    /// Nothing beside WASI: no capability, no unit of work around any call, no request that goes out.
    pub fn nothing() -> Self {
        Self {
            capabilities: Vec::new(),
            transactor: Arc::new(Nothing),
            outbound: Arc::new(Nothing),
            cache: Arc::default(),
        }
    }
}

struct Nothing;

#[async_trait]
impl Transactor for Nothing {
    async fn run(&self, _: &ComponentId, call: Call, body: Body) -> Result<Val, CallError> {
        body(call).await
    }

    fn discard(&self, _: &ComponentId, _: &Call, _: Manner) -> Option<Box<dyn Discarded>> {
        None
    }
}

impl Outbound for Nothing {
    fn hooks(&self, _: &ComponentId, _: &Call) -> Box<dyn WasiHttpHooks> {
        Box::new(Closed)
    }
}
