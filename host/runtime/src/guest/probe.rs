//! `marquee:health/probe`: a version's own word on whether it can work.

use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use wasmtime::{Store, component::Instance};

use crate::{Call, CallError, State, load::Loaded, runtime::Shared};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-health",
        world: "marquee:health/probed",
        exports: { default: async | store },
    });
}

/// The interface that a component exports to be asked.
pub(crate) const PROBE: &str = "marquee:health/probe@0.1.0";

pub(super) fn fits(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
    bindings::Probed::new(store, instance).map(drop)
}

/// Ask it. The inner error is the component's own.
pub(crate) async fn ready(
    shared: &Arc<Shared>,
    loaded: &Arc<Loaded>,
    call: Call,
) -> Result<Result<(), String>, CallError> {
    let (send, receive) = oneshot::channel();
    let job: crate::pool::Job = Box::new(move |accessor, instance| {
        async move {
            let probed =
                accessor.with(|mut access| bindings::Probed::new(&mut access, instance))?;
            let result = probed.marquee_health_probe().call_ready(accessor).await?;
            // Whoever asked may have gone; then nobody needs the answer.
            let _ = send.send(result);
            Ok(())
        }
        .boxed()
    });
    let running = loaded.pool.start(shared, loaded, call, job).await?;
    running.ended().await?;
    receive
        .await
        .map_err(|_| CallError::Cancelled(loaded.spec.id.clone()))
}
