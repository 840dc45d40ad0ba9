//! The way out: one idempotent producer at a time, replaced when it can no longer be relied on.
//!
//! Promise: a result a record, in order; after a failed record of a key the later ones of it in the call are failed
//! too. When an acknowledgement does not come in time everything that waits is dropped at once: what the log gets of
//! a key is always a prefix. A producer with a fatal error, or that was emptied so, is replaced, with capped back-off.
//! Bound: `publish_timeout` a call; [`IN_FLIGHT_KIB`] of records; a call beyond waits, it does not fail.
//! Cancelling a publish does not take back what was sent.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::{FromClientConfigAndContext as _, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{
        BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use marquee_database::{
    Backoff,
    seeded::{Bug, seeded},
};

use super::{Config, KeySet, context};
use crate::{Error, Outgoing, size};

pub(super) struct Producer {
    client: ClientConfig,
    timeout: Duration,
    room: Arc<Semaphore>,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    session: Option<Arc<Session>>,
    /// Sessions in a row that ended badly, without one acknowledgement.
    failures: u32,
    /// No new session before this.
    not_before: Option<Instant>,
}

/// One life of a producer: within it, Kafka keeps the order and drops what is sent twice.
type Session = ThreadedProducer<Context>;

/// What travels with a record to its delivery report.
pub(super) struct Ticket {
    done: oneshot::Sender<Result<(), KafkaError>>,
    _room: OwnedSemaphorePermit,
}

pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        context::warn(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody waits any more where the caller gave up.
        let _ = ticket.done.send(result);
    }
}

impl Producer {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            client: config.producer(),
            timeout: config.publish_timeout,
            room: Arc::new(Semaphore::new(IN_FLIGHT_KIB)),
            slot: Mutex::default(),
        }
    }

    pub(super) async fn publish(&self, records: Vec<Outgoing>) -> Vec<Result<(), Error>> {
        if records.is_empty() {
            return Vec::new();
        }
        let deadline = tokio::time::Instant::now() + self.timeout;
        let session = match tokio::time::timeout_at(deadline, self.session()).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return records.iter().map(|_| Err(error.clone())).collect(),
            Err(_) => return records.iter().map(|_| Err(late())).collect(),
        };

        let mut failed = KeySet::new();
        let mut waiting = Vec::with_capacity(records.len());
        for outgoing in &records {
            let sent = if is_behind(&failed, outgoing) {
                Err(behind())
            } else {
                self.send(&session, outgoing, deadline).await
            };
            if sent.is_err() {
                failed.insert((&outgoing.topic, &outgoing.record.key));
            }
            waiting.push(sent);
        }

        let mut results = Vec::with_capacity(records.len());
        let mut is_broken = false;
        failed.clear();
        for (outgoing, sent) in records.iter().zip(waiting) {
            let result = match sent {
                Err(error) => Err(error),
                Ok(_) if seeded(Bug::AckAtSend) => Ok(()),
                Ok(receiver) => {
                    self.outcome(&session, receiver, deadline, &mut is_broken)
                        .await
                }
            };
            let result = match result {
                Ok(()) if is_behind(&failed, outgoing) => Err(behind()),
                other => other,
            };
            if result.is_err() {
                failed.insert((&outgoing.topic, &outgoing.record.key));
            }
            results.push(result);
        }
        if is_broken || session.client().fatal_error().is_some() {
            self.retire(&session);
        } else if results.iter().any(Result::is_ok) {
            self.lock().failures = 0;
        }
        results
    }

    pub(super) async fn close(&self) {
        let Some(session) = self.lock().session.take() else {
            return;
        };
        let timeout = self.timeout;
        let flushed = tokio::task::spawn_blocking(move || session.flush(timeout)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "not all records were acknowledged before the producer closed");
        }
    }

    async fn send(
        &self,
        session: &Session,
        outgoing: &Outgoing,
        deadline: tokio::time::Instant,
    ) -> Result<oneshot::Receiver<Result<(), KafkaError>>, Error> {
        size::check(&outgoing.record)?;
        let kib = u32::try_from(size::bytes_of(&outgoing.record) / 1024 + 1).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.room).acquire_many_owned(kib);
        let room = match tokio::time::timeout_at(deadline, permits).await {
            Ok(Ok(room)) => room,
            Ok(Err(_)) | Err(_) => return Err(late()),
        };
        let (done, receiver) = oneshot::channel();
        let ticket = Box::new(Ticket { done, _room: room });
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.record.headers.len());
        for (name, value) in &outgoing.record.headers {
            headers = headers.insert(Header {
                key: name,
                value: Some(value.as_ref()),
            });
        }
        let mut record: BaseRecord<'_, str, [u8], Box<Ticket>> =
            BaseRecord::with_opaque_to(&outgoing.topic, ticket)
                .payload(outgoing.record.value.as_ref())
                .headers(headers);
        if !outgoing.record.key.is_empty() {
            record = record.key(outgoing.record.key.as_str());
        }
        match session.send(record) {
            Ok(()) => Ok(receiver),
            Err((error, _)) => Err(sorted(&error)),
        }
    }

    async fn outcome(
        &self,
        session: &Session,
        mut receiver: oneshot::Receiver<Result<(), KafkaError>>,
        deadline: tokio::time::Instant,
        is_broken: &mut bool,
    ) -> Result<(), Error> {
        let answer = match tokio::time::timeout_at(deadline, &mut receiver).await {
            Ok(answer) => answer,
            Err(_) => {
                *is_broken = true;
                // Stops the others of this session too, before one of them could overtake.
                session.purge(PurgeConfig::default().queue().inflight());
                match tokio::time::timeout(PURGE_TIMEOUT, receiver).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(late()),
                }
            }
        };
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let error = sorted(&error);
                *is_broken |= matches!(error, Error::Unavailable(_));
                Err(error)
            }
            Err(_) => Err(late()),
        }
    }

    /// The producer in use, or a new one when the last was retired and its back-off is over.
    async fn session(&self) -> Result<Arc<Session>, Error> {
        loop {
            let wait = {
                let mut slot = self.lock();
                if let Some(session) = &slot.session {
                    return Ok(Arc::clone(session));
                }
                match slot.not_before {
                    Some(at) if at > Instant::now() => at,
                    _ => {
                        let session =
                            ThreadedProducer::from_config_and_context(&self.client, Context)
                                .map_err(super::unavailable)?;
                        let session = Arc::new(session);
                        slot.session = Some(Arc::clone(&session));
                        return Ok(session);
                    }
                }
            };
            tokio::time::sleep_until(wait.into()).await;
        }
    }

    fn retire(&self, session: &Arc<Session>) {
        let mut slot = self.lock();
        let is_current = slot
            .session
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, session));
        if !is_current {
            return;
        }
        let retired = slot.session.take();
        slot.failures = slot.failures.saturating_add(1);
        let backoff = BACKOFF.delay(slot.failures);
        slot.not_before = Some(Instant::now() + backoff);
        drop(slot);
        tracing::warn!(
            backoff_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX),
            "the Kafka producer is replaced: it got no acknowledgement in time, or a fatal error"
        );
        // Its end joins a thread. The runtime owns this task until it is done; it waits half a second at most.
        drop(tokio::task::spawn_blocking(move || drop(retired)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_behind(failed: &KeySet<'_>, outgoing: &Outgoing) -> bool {
    !outgoing.record.key.is_empty()
        && failed.contains(&(outgoing.topic.as_str(), outgoing.record.key.as_str()))
}

fn behind() -> Error {
    Error::Unavailable("an earlier record of its key was not taken".to_owned())
}

fn late() -> Error {
    Error::Unavailable("no acknowledgement in time".to_owned())
}

/// What will never be taken, and what may be later.
fn sorted(error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition,
        ) => Error::Refused(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}

/// Of records on their way out; half of what librdkafka's queue takes by our settings.
const IN_FLIGHT_KIB: usize = 32 * 1024;
/// Purged records report at once.
const PURGE_TIMEOUT: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
