//! `marquee:messaging/consumer`: a batch in, one verdict a message out.

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use tokio::sync::oneshot;

use crate::{
    Call, CallError, Message, Runtime, Verdict,
    bindings::messaging::marquee::messaging::types as wit, entry::Entry, instance::Job,
    outcome::Kind,
};

impl Runtime {
    /// Let a component judge a batch. The inner error is the component's own: the batch failed as a whole.
    pub async fn consume(
        &self,
        component: &ComponentId,
        messages: Vec<Message>,
        call: Call,
    ) -> Result<Result<Vec<Verdict>, String>, CallError> {
        let entry = self.0.version(component, &call.choice)?;
        judge(&entry, messages, call).await
    }
}

/// Let a version judge a batch.
pub(crate) async fn judge(
    entry: &Entry,
    messages: Vec<Message>,
    call: Call,
) -> Result<Result<Vec<Verdict>, String>, CallError> {
    let (send, receive) = oneshot::channel();
    let job: Job = Box::new(move |accessor, bound| {
        async move {
            let messages: Vec<wit::Message> = messages.into_iter().map(Into::into).collect();
            let subscriber = accessor.with(|mut access| bound.subscriber(&mut access))?;
            let verdicts = subscriber
                .marquee_messaging_consumer()
                .call_handle(accessor, messages)
                .await?;
            let verdicts: Result<Vec<Verdict>, String> =
                verdicts.map(|all| all.into_iter().map(Into::into).collect());
            // What is to be tried again is a verdict on the message, and no fault of the version.
            let rejects =
                |all: &Vec<Verdict>| all.iter().any(|one| matches!(one, Verdict::Reject(_)));
            let failed = verdicts.as_ref().map_or(true, rejects);
            // Whoever asked may have gone; then nobody needs the verdicts.
            let _ = send.send(verdicts);
            Ok(if failed { Kind::Failed } else { Kind::Done })
        }
        .boxed()
    });
    let running = entry
        .start(call, None, || "handle messages".to_owned(), job)
        .await?;
    running.ended().await?;
    let id = &entry.version.component.spec.id;
    receive.await.map_err(|_| CallError::Cancelled(id.clone()))
}

impl From<Message> for wit::Message {
    fn from(message: Message) -> Self {
        Self {
            event_id: message.event_id,
            topic: message.topic,
            key: message.key,
            value: message.value.into(),
            headers: message.headers,
            published_at_ms: message.published_at_ms,
            attempt: message.attempt,
        }
    }
}

impl From<wit::Verdict> for Verdict {
    fn from(verdict: wit::Verdict) -> Self {
        match verdict {
            wit::Verdict::Done => Self::Done,
            wit::Verdict::Retry(reason) => Self::Retry(reason),
            wit::Verdict::Reject(reason) => Self::Reject(reason),
        }
    }
}
