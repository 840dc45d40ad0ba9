//! `marquee:messaging/producer@0.1.0`.
//!
//! **What a guest gets**: publishing on the topics that the manifest grants it; ok means that the bus has every message
//! durably. In a dry run nothing is sent: what was published is noted.
//! **Bounds**: those of `wit/marquee-messaging/types.wit`. **On failure**: *unavailable* where a repeat with the
//! same event ids is safe and may help, *refused* where nothing was sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use marquee_bus::{Bus, MAX_KEY_BYTES, MAX_OWN_HEADERS, MAX_VALUE_BYTES, Outgoing, Record};
use marquee_manifest::ComponentId;
use marquee_runtime::{Call, Capability, DryRun, Grant, LetDown, Pending, Published, State, View};
use marquee_telemetry::traces::{Span, SpanKind, TRACEPARENT, Trace, names};
use uuid::Uuid;
use wasmtime::component::{Accessor, HasData, Linker};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/marquee-messaging",
        world: "marquee:messaging/publisher",
    });
}

use bindings::{
    Publisher,
    marquee::messaging::{producer as wit, types},
};

/// The capability.
pub struct Producer {
    bus: Arc<dyn Bus>,
    topics: BTreeMap<ComponentId, BTreeSet<String>>,
}

impl Producer {
    /// The bus, and the topics that each component may publish on.
    pub fn new(bus: Arc<dyn Bus>, topics: BTreeMap<ComponentId, BTreeSet<String>>) -> Self {
        Self { bus, topics }
    }
}

impl Capability for Producer {
    fn interfaces(&self) -> &'static [&'static str] {
        &["marquee:messaging/producer@0.1.0"]
    }

    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        Publisher::add_to_linker::<State, Messages>(linker, |state| {
            Context(state.view::<Client>().cloned())
        })
    }

    fn grant(&self, component: &ComponentId) -> Result<Grant, String> {
        match self.topics.get(component) {
            Some(topics) if !topics.is_empty() => Ok(Arc::new(topics.clone())),
            _ => Err(format!(
                "it may publish on no topic; name them in [component.{component}.tool.marquee] publish"
            )),
        }
    }

    fn view(&self, grant: &Grant, call: &Call) -> View {
        Box::new(Client {
            bus: Arc::clone(&self.bus),
            topics: Arc::clone(grant).downcast().unwrap_or_default(),
            deadline: call.deadline,
            let_down: call.let_down.clone(),
            trace: call.trace.clone(),
            pending: call.pending.clone(),
            dry_run: call.dry_run.clone(),
        })
    }
}

/// What one call has of the bus.
#[derive(Clone)]
struct Client {
    bus: Arc<dyn Bus>,
    topics: Arc<BTreeSet<String>>,
    deadline: Instant,
    let_down: LetDown,
    trace: Trace,
    pending: Pending,
    dry_run: Option<DryRun>,
}

struct Messages;

impl HasData for Messages {
    type Data<'a> = Context;
}

struct Context(Option<Client>);

impl types::Host for Context {}
impl wit::Host for Context {}

impl<T: Send> wit::HostWithStore<T> for Messages {
    async fn publish(
        accessor: &Accessor<T, Self>,
        messages: Vec<types::Outgoing>,
    ) -> Result<(), types::PublishError> {
        let Some(client) = accessor.with(|mut access| access.get().0) else {
            return Err(types::PublishError::Other(
                "publishing outside of any call".to_owned(),
            ));
        };
        client.publish(messages).await
    }
}

impl Client {
    async fn publish(&self, messages: Vec<types::Outgoing>) -> Result<(), types::PublishError> {
        if messages.is_empty() || messages.len() > MESSAGES {
            return Err(types::PublishError::Refused(format!(
                "a call publishes 1 to {MESSAGES} messages"
            )));
        }
        let size = messages.iter().map(size).sum();
        let Some(_held) = self.pending.hold(size) else {
            return Err(types::PublishError::Unavailable(
                "what the call has under way holds too much; await some of it before the next"
                    .to_owned(),
            ));
        };
        let mut span = self.span(&messages);
        let traceparent = span.trace().traceparent().map(Bytes::from);
        let records = messages
            .into_iter()
            .map(|message| self.record(message, traceparent.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(types::PublishError::Refused)?;
        if let Some(dry_run) = &self.dry_run {
            for record in records {
                dry_run.publishes(unsent(record));
            }
            return Ok(());
        }
        // Whoever calls must have time left to take another way.
        let left = self.deadline.saturating_duration_since(Instant::now());
        let results = tokio::time::timeout(PATIENCE.min(left / 2), self.bus.publish(records))
            .await
            .map_err(|_| {
                self.let_down.set();
                span.fail("timeout", "the bus did not acknowledge in time");
                types::PublishError::Unavailable("the bus did not acknowledge in time".to_owned())
            })?;
        if let Some(Err(error)) = results.iter().find(|result| result.is_err()) {
            span.fail("bus", error.to_string());
        }
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(marquee_bus::Error::Refused(reason)) => Err(types::PublishError::Refused(reason)),
            Some(error) => {
                self.let_down.set();
                tracing::warn!(%error, "messages could not be published");
                Err(types::PublishError::Unavailable(
                    "the bus cannot be reached".to_owned(),
                ))
            }
        }
    }

    fn span(&self, messages: &[types::Outgoing]) -> Span {
        let topic = messages.first().map_or("", |message| &message.topic);
        let mut span = self
            .trace
            .span(SpanKind::Producer, || format!("send {topic}"));
        if span.is_recorded() {
            span.set(names::MESSAGING_SYSTEM, self.bus.system());
            span.set(names::MESSAGING_DESTINATION, topic.to_owned());
            span.set(names::MESSAGING_OPERATION, "send");
            span.set(names::MESSAGING_OPERATION_TYPE, "send");
            match messages {
                [one] => span.set(names::MESSAGING_MESSAGE_ID, one.event_id.clone()),
                many => span.set(
                    names::MESSAGING_BATCH,
                    i64::try_from(many.len()).unwrap_or(i64::MAX),
                ),
            }
        }
        span
    }

    /// With whose work it is.
    fn record(
        &self,
        message: types::Outgoing,
        traceparent: Option<&Bytes>,
    ) -> Result<Outgoing, String> {
        if !self.topics.contains(&message.topic) {
            return Err(format!(
                "topic {:?} was not granted to the component",
                message.topic
            ));
        }
        let id = Uuid::try_parse(&message.event_id)
            .map_err(|_| format!("event id {:?} is no UUID", message.event_id))?;
        if message.key.len() > MAX_KEY_BYTES || message.key.contains('\0') {
            return Err(format!(
                "a key has at most {MAX_KEY_BYTES} bytes and no NUL"
            ));
        }
        if message.value.len() > MAX_VALUE_BYTES {
            return Err(format!("a message has at most {MAX_VALUE_BYTES} bytes"));
        }
        let size: usize = message
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if message.headers.len() > MAX_OWN_HEADERS || size > HEADER_BYTES {
            return Err(format!(
                "a message has at most {MAX_OWN_HEADERS} headers of {HEADER_BYTES} bytes together"
            ));
        }
        let mut headers = vec![(EVENT_ID.to_owned(), Bytes::from(id.to_string()))];
        if let Some(traceparent) = traceparent {
            headers.push((TRACEPARENT.to_owned(), traceparent.clone()));
        }
        for (name, value) in message.headers {
            if name.to_ascii_lowercase().starts_with("marquee-") {
                return Err(format!("header {name:?} is the host's own"));
            }
            headers.push((name, Bytes::from(value)));
        }
        let record = Record {
            key: message.key,
            value: Bytes::from(message.value),
            headers,
        };
        Ok(Outgoing {
            topic: message.topic,
            record,
        })
    }
}

/// What a component has made of a message.
fn unsent(message: Outgoing) -> Published {
    let Outgoing { topic, record } = message;
    let headers = record.headers.into_iter();
    let own = headers.filter(|(name, _)| name != EVENT_ID && name != TRACEPARENT);
    let own = own.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    Published {
        topic,
        key: record.key,
        headers: own.collect(),
        value: record.value,
    }
}

/// How much a message holds.
fn size(message: &types::Outgoing) -> usize {
    let headers = message
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len());
    message.topic.len() + message.key.len() + message.value.len() + headers.sum::<usize>()
}

/// A healthy bus answers in milliseconds; one that has not in this time is worth a fallback.
const PATIENCE: Duration = Duration::from_secs(3);
const MESSAGES: usize = 500;
/// What the host adds, beside the trace.
const EVENT_ID: &str = "marquee-event-id";
/// As marquee.check_headers has it; the bus takes more, for what others publish.
const HEADER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod limits;
