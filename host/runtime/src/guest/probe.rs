//! `marquee:health/probe`: a version's own word on whether it can work.

use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::oneshot;

use crate::{Call, CallError, entry::Entry, instance::Job, outcome::Kind, pool::Pool};

/// Ask it. The inner error is the component's own.
pub(crate) async fn ready(
    version: &Arc<Pool>,
    call: Call,
) -> Result<Result<(), String>, CallError> {
    let (send, receive) = oneshot::channel();
    let job: Job = Box::new(move |accessor, bound| {
        async move {
            let probed = accessor.with(|mut access| bound.probed(&mut access))?;
            let result = probed.marquee_health_probe().call_ready(accessor).await?;
            // Whoever asked may have gone; then nobody needs the answer.
            let _ = send.send(result);
            Ok(Kind::Done)
        }
        .boxed()
    });
    let running = Entry::of(Arc::clone(version))
        .start(call, None, || "probe".to_owned(), job)
        .await?;
    running.ended().await?;
    let id = &version.component.spec.id;
    receive.await.map_err(|_| CallError::Cancelled(id.clone()))
}
