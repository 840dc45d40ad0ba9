//! A call that is to be made again: what was asked for.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Uri, header};
use marquee_manifest::ComponentId;
use marquee_registry::Choice;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wasmtime::{
    Engine,
    component::{Val, types::ComponentItem},
};

use super::{Copied, Pair, compare, hide};
use crate::{Message, cache::size_of, link::Target, pool::Pool};

/// A call of a component that is to be made again.
pub(super) struct Copy {
    pub(super) component: ComponentId,
    /// The versions that are to be compared.
    pub(super) pair: Pair,
    /// Which versions of others it led to.
    pub(super) choice: Choice,
    pub(super) asked: Asked,
}

/// What was asked for.
pub(crate) enum Asked {
    Function(Arc<Target>, Arc<[Val]>),
    Http(Box<Head>, Arc<Seen>),
    Messages(Vec<Message>),
}

/// A request without its body.
pub(crate) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

/// The body of a request, as the component has read it.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Body>);

#[derive(Default)]
struct Body {
    bytes: BytesMut,
    is_whole: bool,
    is_large: bool,
}

impl Copy {
    /// Whether all of it is there, and not too large to wait.
    pub(super) fn is_whole(&self) -> bool {
        match &self.asked {
            Asked::Function(_, params) => params.iter().map(size_of).sum::<usize>() <= BYTES,
            Asked::Http(_, seen) => seen.whole().is_some(),
            Asked::Messages(messages) => !messages.is_empty(),
        }
    }
}

impl Copied {
    /// Where the body of the request goes as it is read, if it is one.
    pub(crate) fn seen(&self) -> Option<Arc<Seen>> {
        match &self.copy.as_ref()?.asked {
            Asked::Http(_, seen) => Some(Arc::clone(seen)),
            _ => None,
        }
    }
}

impl Asked {
    /// A request, of which the body is still to be read.
    pub(crate) fn http<B>(request: &http::Request<B>) -> Self {
        let head = Head {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        };
        Self::Http(Box::new(head), Arc::default())
    }

    /// Messages: as many of the first ones as there is room for. Each is another event that says the same, so that nobody
    /// takes it for the one that was applied.
    pub(super) fn messages(mut messages: Vec<Message>) -> Self {
        let mut bytes = 0;
        let fit = messages.iter().take_while(|message| {
            bytes += message.key.len() + message.value.len() + OWN_BYTES;
            bytes <= BYTES
        });
        let fit = fit.count();
        messages.truncate(fit);
        for message in &mut messages {
            message.event_id = Uuid::now_v7().to_string();
            // They may share the memory of a whole batch.
            message.value = Bytes::copy_from_slice(&message.value);
        }
        Self::Messages(messages)
    }

    /// In a few words.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Function(target, _) => format!("{}.{}", target.interface, target.function),
            Self::Http(head, _) => format!("{} {}", head.method, head.uri.path()),
            Self::Messages(messages) => {
                let topic = messages.first().map_or("", |message| &message.topic);
                format!("topic {topic}")
            }
        }
    }

    /// With what, as a person may see it.
    pub(super) fn shown(&self, version: &Pool, engine: &Engine) -> Value {
        let with = match self {
            Self::Function(target, params) => {
                let names = names(version, engine, target);
                let params = params.iter().enumerate().map(|(index, param)| {
                    let name = names.get(index).cloned();
                    (
                        name.unwrap_or_else(|| index.to_string()),
                        compare::value(param),
                    )
                });
                Value::Object(params.collect::<Map<_, _>>())
            }
            Self::Http(head, seen) => {
                let query = head.uri.query().unwrap_or_default().split('&');
                let query = query.filter_map(|pair| pair.split_once('='));
                let query = query.map(|(name, value)| (name.to_owned(), json!(value)));
                let body = seen.whole().unwrap_or_default();
                let kind = head.headers.get(header::CONTENT_TYPE);
                json!({
                    "query": query.collect::<Map<_, _>>(),
                    "content-type": kind.map(|kind| String::from_utf8_lossy(kind.as_bytes())),
                    "body": serde_json::from_slice(&body).unwrap_or_else(|_| json!({"bytes": body.len()})),
                })
            }
            Self::Messages(messages) => {
                let keys = messages.iter().map(|message| json!(message.key));
                json!({ "keys": keys.collect::<Vec<_>>() })
            }
        };
        hide::visible(with)
    }
}

/// What the parameters of a function are called.
fn names(version: &Pool, engine: &Engine, target: &Target) -> Vec<String> {
    let interface = version.component.interface(engine, &target.interface);
    let Some(interface) = interface else {
        return Vec::new();
    };
    match interface
        .get_export(engine, &target.function)
        .map(|it| it.ty)
    {
        Some(ComponentItem::ComponentFunc(function)) => {
            function.params().map(|(name, _)| name.to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

impl Seen {
    /// More of it was read.
    pub(crate) fn data(&self, bytes: &[u8]) {
        let mut body = self.lock();
        body.is_large |= body.bytes.len() + bytes.len() > BYTES;
        if !body.is_large {
            body.bytes.extend_from_slice(bytes);
        }
    }

    /// All of it was read.
    pub(crate) fn end(&self) {
        self.lock().is_whole = true;
    }

    pub(super) fn whole(&self) -> Option<Bytes> {
        let body = self.lock();
        let is_there = body.is_whole && !body.is_large;
        is_there.then(|| Bytes::copy_from_slice(&body.bytes))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a call until it is made again, and read of an answer.
pub(super) const BYTES: usize = 256 << 10;
/// A message's share of everything but its key and value.
const OWN_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Message {
        Message {
            event_id: "one".to_owned(),
            topic: "ratings".to_owned(),
            key: "k".to_owned(),
            value: Bytes::from(vec![0; bytes]),
            headers: Vec::new(),
            published_at_ms: 0,
            attempt: 1,
        }
    }

    #[test]
    fn of_a_batch_so_much_is_copied_as_may_wait_and_none_is_the_event_that_was_applied() {
        let Asked::Messages(few) = Asked::messages(vec![message(10), message(BYTES)]) else {
            panic!("messages")
        };
        assert_eq!(few.len(), 1);
        assert_ne!(few[0].event_id, "one");
        assert_eq!(Asked::messages(vec![message(1); 2]).name(), "topic ratings");
    }

    #[test]
    fn a_body_that_was_not_read_to_its_end_or_is_long_is_not_copied() {
        let seen = Seen::default();
        seen.data(b"{}");
        assert_eq!(seen.whole(), None);
        seen.end();
        assert_eq!(seen.whole().as_deref(), Some(&b"{}"[..]));
        seen.data(&vec![0; BYTES]);
        assert_eq!(seen.whole(), None);
    }
}
