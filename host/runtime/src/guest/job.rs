//! `marquee:schedule/job`: work that the clock starts.

use std::sync::Arc;

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use tokio::sync::oneshot;
use wasmtime::{Store, component::Instance};

use crate::{Call, CallError, Runtime, State};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-schedule",
        world: "marquee:schedule/scheduled",
        exports: { default: async | store },
    });
}

/// The interface that a component with scheduled jobs exports.
pub const JOB: &str = "marquee:schedule/job@0.1.0";

pub(super) fn fits(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
    bindings::Scheduled::new(store, instance).map(drop)
}

impl Runtime {
    /// Run a component's job. The inner error is the component's own.
    pub async fn run_job(
        &self,
        component: &ComponentId,
        name: String,
        due_at_ms: u64,
        call: Call,
    ) -> Result<Result<(), String>, CallError> {
        let loaded = self.0.loaded(component, &call.choice)?;
        let version = Arc::clone(&loaded);
        let (send, receive) = oneshot::channel();
        let job: crate::pool::Job = Box::new(move |accessor, instance| {
            async move {
                let scheduled =
                    accessor.with(|mut access| bindings::Scheduled::new(&mut access, instance))?;
                let result = scheduled
                    .marquee_schedule_job()
                    .call_run(accessor, name, due_at_ms)
                    .await?;
                if result.is_err() {
                    version.stats.error();
                }
                // Whoever asked may have gone; then nobody needs the answer.
                let _ = send.send(result);
                Ok(())
            }
            .boxed()
        });
        let running = loaded.pool.start(&self.0, &loaded, call, job).await?;
        running.ended().await?;
        receive
            .await
            .map_err(|_| CallError::Cancelled(component.clone()))
    }
}
