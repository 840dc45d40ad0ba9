//! What the host itself calls in a component: one file an entry point.

pub(crate) mod consumer;
pub(crate) mod http;
pub(crate) mod job;
pub(crate) mod probe;

use wasmtime::{Store, component::Instance};

use crate::State;

/// Whether what an instance exports under this name has the types that the host calls it with. Other interfaces are
/// called with whatever types they have.
pub(crate) fn fits(
    store: &mut Store<State>,
    instance: &Instance,
    interface: &str,
) -> wasmtime::Result<()> {
    match interface {
        http::HANDLER => http::fits(store, instance),
        consumer::CONSUMER => consumer::fits(store, instance),
        job::JOB => job::fits(store, instance),
        probe::PROBE => probe::fits(store, instance),
        _ => Ok(()),
    }
}
