//! `/admin/v1/samples`: what this host did in the last hour, a sample each ten seconds.
//!
//! Promise: it is taken whether or not somebody looks, and costs nothing outside but a look at how far consumers are. It is of
//! this host, in memory, and gone with it. Bound: [`MOST`] samples. Whoever asks for `text/event-stream` is sent each new one
//! until the host stops. Not here: what is kept for longer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures::{Stream, StreamExt as _, stream};
use marquee_delivery::{Error, lag};
use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use marquee_releases::Releases;
use marquee_runtime::Figures;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{api::Api, events::Events};

/// The samples of a host. Cheap to clone.
#[derive(Clone)]
pub struct Samples(Arc<Inner>);

struct Inner {
    ring: Mutex<VecDeque<Arc<Sample>>>,
    newest: watch::Sender<Option<Arc<Sample>>>,
}

/// What happened since the one before.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    at_ms: u64,
    /// For how long it counted.
    for_ms: u64,
    /// Of each version that had calls.
    work: Vec<Work>,
    /// Of each consumer. None: the databases did not answer.
    consumers: Option<Vec<Behind>>,
    /// Rows that waited to be relayed, in all databases.
    outbox: Option<i64>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Work {
    component: ComponentId,
    version: String,
    calls: u64,
    errors: u64,
    in_flight: u64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Behind {
    consumer: String,
    topic: String,
    lag: Option<i64>,
    parked: i64,
    dead: i64,
}

impl Default for Samples {
    fn default() -> Self {
        Self(Arc::new(Inner {
            ring: Mutex::default(),
            newest: watch::Sender::new(None),
        }))
    }
}

impl Samples {
    /// Take them until `stop`.
    pub async fn run(self, releases: Releases, events: Events, stop: CancellationToken) {
        let mut counted = Counted::default();
        counted.since(releases.figures());
        let (mut ticks, mut before) = (interval(EVERY), Instant::now());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = Instant::now();
            let work = counted.since(releases.figures());
            let events = timeout(PATIENCE, standing(&events)).await;
            let (consumers, outbox) = events.ok().and_then(Result::ok).unzip();
            let sample = Sample {
                at_ms: ms(SystemTime::now()),
                for_ms: u64::try_from((now - before).as_millis()).unwrap_or(u64::MAX),
                work,
                consumers,
                outbox,
            };
            before = now;
            self.take(Arc::new(sample));
        }
    }

    fn take(&self, sample: Arc<Sample>) {
        let mut ring = self.lock();
        while ring.len() >= MOST {
            ring.pop_front();
        }
        ring.push_back(Arc::clone(&sample));
        drop(ring);
        self.0.newest.send_replace(Some(sample));
    }

    /// Each one from now on, until `stop`.
    fn following(&self, stop: CancellationToken) -> impl Stream<Item = Arc<Sample>> + use<> {
        let newest = self.0.newest.subscribe();
        stream::unfold((newest, stop), async |(mut newest, stop)| {
            loop {
                stop.run_until_cancelled(newest.changed()).await?.ok()?;
                let sample = newest.borrow_and_update().clone();
                if let Some(sample) = sample {
                    return Some((sample, (newest, stop)));
                }
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Sample>>> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was counted of each version until now.
#[derive(Default)]
struct Counted(BTreeMap<(ComponentId, Digest), Figures>);

impl Counted {
    /// What came since it was asked last. A version that was loaded again counts from nothing.
    fn since(&mut self, figures: Vec<(ComponentId, Digest, Figures)>) -> Vec<Work> {
        let mut work = Vec::new();
        let mut now = BTreeMap::new();
        for (component, digest, figures) in figures {
            let before = self.0.get(&(component.clone(), digest));
            let before = before.filter(|before| before.calls <= figures.calls);
            let new = before.map_or_else(|| figures.clone(), |before| figures.since(before));
            if new.calls > 0 || new.in_flight > 0 {
                work.push(Work {
                    component: component.clone(),
                    version: format!("{digest:#}"),
                    calls: new.calls,
                    errors: new.errors,
                    in_flight: new.in_flight,
                    p50_us: new.percentile(50).map(us),
                    p99_us: new.percentile(99).map(us),
                });
            }
            now.insert((component, digest), figures);
        }
        self.0 = now;
        work
    }
}

async fn standing(events: &Events) -> Result<(Vec<Behind>, i64), Error> {
    let behind = events.consumers().await?.into_iter().map(|consumer| {
        let standing = consumer.standing;
        Behind {
            consumer: standing.consumer,
            topic: standing.topic,
            lag: standing.lag,
            parked: standing.parked,
            dead: standing.dead,
        }
    });
    let mut outbox = 0;
    for database in events.databases.iter() {
        outbox += lag::outbox(database).await?.rows;
    }
    Ok((behind.collect(), outbox))
}

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/samples", get(samples))
}

async fn samples(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).map(|accept| accept.as_bytes());
    if accepted != Some(b"text/event-stream".as_slice()) {
        let all: Vec<Arc<Sample>> = api.console.samples.lock().iter().cloned().collect();
        let all: Vec<&Sample> = all.iter().map(AsRef::as_ref).collect();
        return Json(all).into_response();
    }
    let following = api.console.samples.following(api.releases.stopping());
    // Who follows knows at once that it does.
    let first = stream::once(async { Ok(Event::default().comment("from now on")) });
    let events = first.chain(following.map(|sample| {
        serde_json::to_string(&*sample).map(|text| Event::default().event("sample").data(text))
    }));
    let alive = KeepAlive::new().interval(EVERY);
    Sse::new(events).keep_alive(alive).into_response()
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Soon enough for who looks on, seldom enough to be free.
const EVERY: Duration = Duration::from_secs(10);
/// An hour of them.
const MOST: usize = 360;
/// A sample without what databases know is better than none.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(calls: usize, errors: u64) -> Vec<(ComponentId, Digest, Figures)> {
        let component = "rating".parse().expect("an id");
        let took = std::iter::repeat_n(Duration::from_millis(1), calls);
        vec![(component, Digest::of(b"one"), Figures::of(took, errors))]
    }

    fn sample(at_ms: u64) -> Arc<Sample> {
        Arc::new(Sample {
            at_ms,
            for_ms: 10_000,
            work: Vec::new(),
            consumers: None,
            outbox: None,
        })
    }

    #[test]
    fn a_sample_counts_what_came_since_the_one_before_and_a_version_loaded_again_from_nothing() {
        let mut counted = Counted::default();
        counted.since(figures(5, 1));
        assert_eq!(counted.since(figures(5, 1)), []);
        let work = counted.since(figures(8, 3));
        assert_eq!(work.len(), 1);
        assert_eq!((work[0].calls, work[0].errors), (3, 2));
        assert!(
            work[0]
                .p50_us
                .is_some_and(|p50| (1_000..1_130).contains(&p50))
        );
        let work = counted.since(figures(2, 0));
        assert_eq!((work[0].calls, work[0].errors), (2, 0));
    }

    #[tokio::test]
    async fn who_follows_is_sent_each_new_sample_until_the_host_stops_and_the_ring_keeps_an_hour() {
        let (samples, stop) = (Samples::default(), CancellationToken::new());
        samples.take(sample(0));
        let mut following = Box::pin(samples.following(stop.clone()));
        for at in 1..=MOST as u64 {
            samples.take(sample(at));
            assert_eq!(following.next().await.map(|it| it.at_ms), Some(at));
        }
        stop.cancel();
        assert!(following.next().await.is_none());
        let kept: Vec<u64> = samples.lock().iter().map(|it| it.at_ms).collect();
        assert_eq!((kept.len(), kept[0]), (MOST, 1));
    }
}
