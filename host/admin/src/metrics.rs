//! `/metrics`: what everything counts, and what the databases say of the event path.
//!
//! Promise: nobody who is served waits for a scrape. Counters are read in memory; databases and the bus are asked once in
//! ten seconds at the most, on one connection each and for two seconds, however many ask; what they did not answer in time is left
//! out and counted. Bounds: one scrape at a time. Whoever reaches the listener may ask, as for health: there is no secret in
//! it, and one who only reads need not hold the token that changes what is live. Not here: what is counted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::future::join_all;
use marquee_delivery::{Error, lag, telemetry as delivery};
use marquee_problem::UNAVAILABLE;
use marquee_telemetry::{Format, Histogram, Metric, Readings, Unit};

use crate::{Api, Events, problem::Problem};

/// The metrics of looking.
pub static METRICS: &[&Metric] = &[&LOOK_DURATION, &LOOK_FAILURES];

static LOOK_DURATION: Metric = Metric::durations(
    "marquee_metrics_look_duration",
    &[],
    "How long it took to ask the databases and the bus for what comes from them: for a scrape, once in 10 s at the most.",
);
static LOOK_FAILURES: Metric = Metric::counter(
    "marquee_metrics_look_failures",
    Unit::Of("questions"),
    &[],
    "Questions that were not answered within 2 s, or with an error; what they are about is left out until the next look.",
);

/// Whatever counts in this process adds what it has.
pub type Source = Box<dyn Fn(&mut Readings) + Send + Sync>;

/// All metrics of a host. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    source: Source,
    events: Events,
    /// Held during a scrape.
    looked: tokio::sync::Mutex<Option<Looked>>,
    audited: Audited,
    took: Histogram,
    failures: Mutex<u64>,
}

/// What the databases said, and when.
struct Looked {
    at: Instant,
    readings: Readings,
}

/// What the last audit came to; none before the first. Cheap to clone.
#[derive(Clone, Default)]
pub struct Audited(Arc<Mutex<Readings>>);

impl Audited {
    /// An audit came to this.
    pub fn set(&self, readings: Readings) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }

    fn read(&self) -> Readings {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.clone()
    }
}

impl Metrics {
    /// Those of this source, of the event path, and of its audits.
    pub fn new(source: Source, events: Events, audited: Audited) -> Self {
        Self(Arc::new(Inner {
            source,
            events,
            looked: tokio::sync::Mutex::default(),
            audited,
            took: Histogram::default(),
            failures: Mutex::default(),
        }))
    }

    /// What all of them say now.
    async fn read(&self) -> Readings {
        let inner = &*self.0;
        let mut looked = inner.looked.lock().await;
        let known = looked.take();
        let known = known.filter(|known| known.at.elapsed() < LOOK);
        let known = match known {
            Some(known) => known,
            None => inner.look().await,
        };
        let mut readings = looked.insert(known).readings.clone();
        readings.extend(inner.audited.read());
        (inner.source)(&mut readings);
        readings.durations(&LOOK_DURATION, &[], inner.took.read());
        readings.count(&LOOK_FAILURES, &[], *inner.failures());
        readings
    }
}

impl Inner {
    async fn look(&self) -> Looked {
        let at = Instant::now();
        let mut readings = Readings::default();
        let databases = self.events.databases.iter();
        let outboxes = databases.map(|database| self.asked(lag::outbox(database)));
        let (outboxes, consumers) =
            futures::join!(join_all(outboxes), self.asked(self.events.consumers()));
        for (database, outbox) in self.events.databases.iter().zip(outboxes) {
            if let Some(outbox) = outbox {
                delivery::outbox(database.name(), &outbox, &mut readings);
            }
        }
        for consumer in consumers.iter().flatten() {
            let held = consumer.here.values().copied();
            delivery::standing(&consumer.standing, held, &mut readings);
        }
        self.took.observe(at.elapsed());
        Looked {
            at: Instant::now(),
            readings,
        }
    }

    /// An answer, if it comes in time.
    async fn asked<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Option<T> {
        let answer = tokio::time::timeout(PATIENCE, question).await;
        if let Ok(Ok(answer)) = answer {
            return Some(answer);
        }
        *self.failures() += 1;
        if let Ok(Err(error)) = answer {
            let error = marquee_runtime::chain(&error);
            tracing::debug!(error, "a question for metrics was not answered");
        }
        None
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn metrics(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Several lists are one.
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let format = Format::accepted(Some(&accept.join(",")));
    let readings = tokio::time::timeout(TURN, api.metrics.read()).await;
    let text = readings
        .ok()
        .and_then(|readings| readings.text(format).ok());
    let text = text.ok_or_else(|| UNAVAILABLE.with("the metrics are not to be had now"))?;
    let kind = [(header::CONTENT_TYPE, format.media_type())];
    Ok((StatusCode::OK, kind, text).into_response())
}

/// Often enough for a scrape each quarter of a minute, seldom enough to cost nothing.
const LOOK: Duration = Duration::from_secs(10);
/// A database that does not answer by then is away, or has better things to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// For a scrape and those that came before it. Prometheus waits 10 s.
const TURN: Duration = Duration::from_secs(8);
