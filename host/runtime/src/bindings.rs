//! The interfaces that the host itself calls in components, in their generated form, looked up once an instance.

use std::sync::OnceLock;

use wasmtime::{AsContextMut, component::Instance};
use wasmtime_wasi_http::p3::bindings::Service;

use self::{health::Probed, messaging::Subscriber, schedule::Scheduled};
use crate::State;

pub(crate) mod messaging {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-messaging",
        world: "marquee:messaging/subscriber",
        exports: { default: async | store },
    });
}

pub(crate) mod schedule {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-schedule",
        world: "marquee:schedule/scheduled",
        exports: { default: async | store },
    });
}

pub(crate) mod health {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-health",
        world: "marquee:health/probed",
        exports: { default: async | store },
    });
}

pub(crate) mod whole {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-http",
        world: "marquee:http/service",
        exports: { default: async | store },
    });
}

/// The interface that a component exports to be asked with whole requests, which are small.
pub(crate) const WHOLE: &str = "marquee:http/handler@0.1.0";
/// The interface that a component exports to be asked over HTTP.
pub const HANDLER: &str = "wasi:http/handler@0.3.0";
/// The interface that a subscribed component exports.
pub const CONSUMER: &str = "marquee:messaging/consumer@0.1.0";
/// The interface that a component with scheduled jobs exports.
pub const JOB: &str = "marquee:schedule/job@0.1.0";
/// The interface that a component exports to be asked whether it can work.
pub(crate) const PROBE: &str = "marquee:health/probe@0.1.0";

/// An instance, with what has been looked up in it.
pub(crate) struct Bound {
    pub(crate) instance: Instance,
    service: OnceLock<Service>,
    whole: OnceLock<whole::Service>,
    subscriber: OnceLock<Subscriber>,
    scheduled: OnceLock<Scheduled>,
    probed: OnceLock<Probed>,
}

impl Bound {
    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            instance,
            service: OnceLock::new(),
            whole: OnceLock::new(),
            subscriber: OnceLock::new(),
            scheduled: OnceLock::new(),
            probed: OnceLock::new(),
        }
    }

    pub(crate) fn service(
        &self,
        store: impl AsContextMut<Data = State>,
    ) -> wasmtime::Result<&Service> {
        kept(&self.service, || Service::new(store, &self.instance))
    }

    pub(crate) fn whole(
        &self,
        store: impl AsContextMut<Data = State>,
    ) -> wasmtime::Result<&whole::Service> {
        kept(&self.whole, || whole::Service::new(store, &self.instance))
    }

    pub(crate) fn subscriber(
        &self,
        store: impl AsContextMut<Data = State>,
    ) -> wasmtime::Result<&Subscriber> {
        kept(&self.subscriber, || Subscriber::new(store, &self.instance))
    }

    pub(crate) fn scheduled(
        &self,
        store: impl AsContextMut<Data = State>,
    ) -> wasmtime::Result<&Scheduled> {
        kept(&self.scheduled, || Scheduled::new(store, &self.instance))
    }

    pub(crate) fn probed(
        &self,
        store: impl AsContextMut<Data = State>,
    ) -> wasmtime::Result<&Probed> {
        kept(&self.probed, || Probed::new(store, &self.instance))
    }

    /// Whether what it exports under this name has the types that the host calls it with. Other interfaces are called with
    /// whatever types they have.
    pub(crate) fn fits(
        &self,
        store: impl AsContextMut<Data = State>,
        interface: &str,
    ) -> wasmtime::Result<()> {
        match interface {
            HANDLER => self.service(store).map(drop),
            WHOLE => self.whole(store).map(drop),
            CONSUMER => self.subscriber(store).map(drop),
            JOB => self.scheduled(store).map(drop),
            PROBE => self.probed(store).map(drop),
            _ => Ok(()),
        }
    }
}

fn kept<T>(cell: &OnceLock<T>, make: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<&T> {
    if let Some(kept) = cell.get() {
        return Ok(kept);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
