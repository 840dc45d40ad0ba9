//! `marquee:schedule/job`: work that the clock starts.

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use tokio::sync::oneshot;

use crate::{Call, CallError, Runtime, instance::Job, outcome::Kind};

impl Runtime {
    /// Run a component's job. The inner error is the component's own.
    pub async fn run_job(
        &self,
        component: &ComponentId,
        name: String,
        due_at_ms: u64,
        call: Call,
    ) -> Result<Result<(), String>, CallError> {
        let entry = self.0.version(component, &call.choice)?;
        let (send, receive) = oneshot::channel();
        let what = format!("run {name}");
        let job: Job = Box::new(move |accessor, bound| {
            async move {
                let scheduled = accessor.with(|mut access| bound.scheduled(&mut access))?;
                let result = scheduled
                    .marquee_schedule_job()
                    .call_run(accessor, name, due_at_ms)
                    .await?;
                let kind = if result.is_err() {
                    Kind::Failed
                } else {
                    Kind::Done
                };
                // Whoever asked may have gone; then nobody needs the answer.
                let _ = send.send(result);
                Ok(kind)
            }
            .boxed()
        });
        let running = entry.start(call, None, || what, job).await?;
        running.ended().await?;
        receive
            .await
            .map_err(|_| CallError::Cancelled(component.clone()))
    }
}
