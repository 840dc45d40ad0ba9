//! What a store holds: WASI, the views of the call under way, and the bounds.

use std::{any::Any, sync::Arc};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::{
    Call, Spec,
    control::Control,
    limits,
    log::{Output, Speaker},
    memory::Holding,
};

/// What one call has of a capability. Found again by its type, through [`State::view`].
pub type View = Box<dyn Any + Send>;

/// The data of a store. An instance runs one call at a time, so there is one set of views.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) holding: Holding,
    speaker: Arc<Speaker>,
    current: Option<Current>,
    closed: Closed,
    control: Arc<Control>,
}

/// What belongs to the call under way.
struct Current {
    call: Call,
    views: Vec<View>,
    hooks: Box<dyn WasiHttpHooks>,
}

impl State {
    pub(crate) fn new(
        spec: &Spec,
        speaker: Speaker,
        holding: Holding,
        control: Arc<Control>,
    ) -> Self {
        let speaker = Arc::new(speaker);
        let mut table = ResourceTable::new();
        table.set_max_capacity(spec.limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::FIELDS_BYTES);
        let wasi = WasiCtx::builder()
            .envs(&spec.environment)
            .stdout(Output::stdout(&speaker))
            .stderr(Output::stderr(&speaker))
            .max_random_size(limits::RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            table,
            wasi,
            http,
            holding,
            speaker,
            current: None,
            closed: Closed,
            control,
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
        self.speaker.speaks_for(&call);
        self.current = Some(Current { call, views, hooks });
    }

    /// The call is over.
    pub(crate) fn end(&mut self) {
        self.current = None;
    }

    /// Whether what the calls so far have left in it is little: memory, and handles that nobody closed.
    pub(crate) fn is_sound(&mut self) -> bool {
        self.holding.is_little() && self.table.iter_mut().nth(HANDLES_LEFT).is_none()
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
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

/// What a guest may keep from call to call: its standard streams, and a few of its own.
const HANDLES_LEFT: usize = 32;
