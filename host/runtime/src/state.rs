//! What a store holds: WASI, the views of the call under way, and the bounds.

use std::{any::Any, sync::Arc, time::Instant};

use wasmtime::{StoreLimits, StoreLimitsBuilder, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::{
    Call, Spec, View,
    control::Control,
    limits,
    log::{Budget, Output},
};

/// The data of a store. An instance runs one call at a time, so there is one set of views.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) limits: StoreLimits,
    current: Option<Current>,
    closed: Closed,
    deadline: Instant,
    control: Arc<Control>,
}

/// What belongs to the call under way.
struct Current {
    call: Call,
    views: Vec<View>,
    hooks: Box<dyn WasiHttpHooks>,
}

impl State {
    pub(crate) fn new(spec: &Spec, log: &Arc<Budget>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(spec.limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::FIELDS_BYTES);
        let wasi = WasiCtx::builder()
            .envs(&spec.environment)
            .stdout(Output::stdout(log))
            .stderr(Output::stderr(log))
            .max_random_size(limits::RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let limits = StoreLimitsBuilder::new()
            .memory_size(spec.limits.memory_bytes)
            .table_elements(10_000)
            .instances(32)
            .memories(4)
            .trap_on_grow_failure(true)
            .build();
        Self {
            table,
            wasi,
            http,
            limits,
            current: None,
            closed: Closed,
            deadline: Instant::now(),
            control: Arc::default(),
        }
    }

    /// The call under way, if one is.
    pub fn call(&self) -> Option<&Call> {
        self.current.as_ref().map(|current| &current.call)
    }

    /// A capability's view of the call under way. None only outside a call, or for a capability that the
    /// component did not import.
    pub fn view<T: Any>(&mut self) -> Option<&mut T> {
        self.view_and_table().map(|(view, _)| view)
    }

    /// The same together with the table of the guest's handles.
    pub fn view_and_table<T: Any>(&mut self) -> Option<(&mut T, &mut ResourceTable)> {
        let views = &mut self.current.as_mut()?.views;
        let view = views.iter_mut().find_map(|view| view.downcast_mut::<T>())?;
        Some((view, &mut self.table))
    }

    pub(crate) fn begin(&mut self, call: Call, views: Vec<View>, hooks: Box<dyn WasiHttpHooks>) {
        self.deadline = call.deadline;
        self.control.begin();
        self.current = Some(Current { call, views, hooks });
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    pub(crate) fn end(&mut self) {
        self.current = None;
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    pub(crate) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let hooks: &mut dyn WasiHttpHooks = match &mut self.current {
            Some(current) => &mut *current.hooks,
            // Between calls nothing is sent, whatever a component left behind.
            None => &mut self.closed,
        };
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks,
        }
    }
}

/// Hooks that send nothing.
pub(crate) struct Closed;

impl WasiHttpHooks for Closed {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<
        dyn Future<
                Output = Result<
                    (
                        http::Response<WasiBody>,
                        Box<dyn Future<Output = Result<(), Error>> + Send>,
                    ),
                    Error,
                >,
            > + Send,
    > {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
