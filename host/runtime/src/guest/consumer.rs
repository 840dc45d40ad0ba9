//! `marquee:messaging/consumer`: a batch in, one verdict a message out.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use tokio::sync::oneshot;
use wasmtime::{Store, component::Instance};

use crate::{Call, CallError, Runtime, State};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-messaging",
        world: "marquee:messaging/subscriber",
        exports: { default: async | store },
    });
}

use bindings::{Subscriber, marquee::messaging::types as wit};

/// A message as a consumer gets it. See `wit/marquee-messaging/types.wit`.
#[derive(Debug, Clone)]
pub struct Message {
    /// Names the event for ever.
    pub event_id: String,
    /// Where it was published.
    pub topic: String,
    /// What orders it.
    pub key: String,
    /// The payload.
    pub value: Bytes,
    /// In the order of publication.
    pub headers: Vec<(String, String)>,
    /// In milliseconds since 1970.
    pub published_at_ms: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is in the unit of work.
    Done,
    /// Not yet; the reason.
    Retry(String),
    /// Never; the reason.
    Reject(String),
}

/// The interface that a subscribed component exports.
pub const CONSUMER: &str = "marquee:messaging/consumer@0.1.0";

pub(super) fn fits(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
    Subscriber::new(store, instance).map(drop)
}

impl Runtime {
    /// Let a component judge a batch. The inner error is the component's own: the batch failed as a whole.
    pub async fn consume(
        &self,
        component: &ComponentId,
        messages: Vec<Message>,
        call: Call,
    ) -> Result<Result<Vec<Verdict>, String>, CallError> {
        let loaded = self.0.loaded(component, &call.choice)?;
        let version = Arc::clone(&loaded);
        let (send, receive) = oneshot::channel();
        let job: crate::pool::Job = Box::new(move |accessor, instance| {
            async move {
                let messages: Vec<wit::Message> = messages.into_iter().map(Into::into).collect();
                let subscriber =
                    accessor.with(|mut access| Subscriber::new(&mut access, instance))?;
                let verdicts = subscriber
                    .marquee_messaging_consumer()
                    .call_handle(accessor, messages)
                    .await?;
                let verdicts: Result<Vec<Verdict>, String> =
                    verdicts.map(|all| all.into_iter().map(Into::into).collect());
                // What is to be tried again is a verdict on the message, and no fault of the version.
                let rejects =
                    |all: &Vec<Verdict>| all.iter().any(|one| matches!(one, Verdict::Reject(_)));
                if verdicts.as_ref().map_or(true, rejects) {
                    version.stats.error();
                }
                // Whoever asked may have gone; then nobody needs the verdicts.
                let _ = send.send(verdicts);
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
