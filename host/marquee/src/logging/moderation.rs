//! Warnings and errors have a rate, each place in the code its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::layer::{self, Context};

/// What each place has said. Bound: places in the code.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    places: Mutex<HashMap<Identifier, Place>>,
    /// Lines of all places so far.
    left_out: AtomicU64,
}

#[derive(Debug)]
struct Place {
    name: String,
    /// When the period began, and the lines in it.
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Moderation {
    /// Whether one more line of this place is written.
    fn admits(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        // What components say has a rate by component.
        if *metadata.level() > Level::WARN || metadata.target() == "guest" {
            return true;
        }
        let mut places = self.lock();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            name: match (metadata.file(), metadata.line()) {
                (Some(file), Some(line)) => format!("{file}:{line}"),
                _ => metadata.target().to_owned(),
            },
            since: now,
            lines: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(place.since) >= PERIOD {
            place.since = now;
            place.lines = 0;
        }
        place.lines = place.lines.saturating_add(1);
        let is_admitted = place.lines <= LINES;
        if !is_admitted {
            place.left_out += 1;
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }

    /// How many lines of which places were left out since this was asked.
    pub(super) fn left_out(&self) -> Vec<(String, u64)> {
        let mut places = self.lock();
        let places = places.values_mut().filter(|place| place.left_out > 0);
        places
            .map(|place| (place.name.clone(), std::mem::take(&mut place.left_out)))
            .collect()
    }

    /// How many lines were left out so far.
    pub(super) fn all_left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets through what is admitted.
pub(super) struct Filter(pub(super) Arc<Moderation>);

impl<S: Subscriber> layer::Filter<S> for Filter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admits(event.metadata(), Instant::now())
    }
}

/// What a person can still read, of one kind of failure.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

    use super::*;

    #[test]
    fn a_failure_that_repeats_is_written_at_a_rate_and_the_rest_is_counted() {
        let moderation = Arc::new(Moderation::default());
        let lines = tracing_subscriber::fmt::layer().with_test_writer();
        let lines = lines.with_filter(Filter(Arc::clone(&moderation)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            for _ in 0..100 {
                tracing::warn!("a request failed");
            }
            for _ in 0..100 {
                tracing::info!("a version is live");
            }
            tracing::error!("another place has its own");
            for _ in 0..100 {
                tracing::warn!(target: "guest", "what a component says");
            }
        });
        let left_out = moderation.left_out();
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        let (place, lines) = &left_out[0];
        assert!(place.contains("moderation.rs:"), "{place}");
        assert!((60..=80).contains(lines), "{lines}");
        assert!(moderation.left_out().is_empty(), "it is told once");
        assert_eq!(moderation.all_left_out(), *lines);
    }
}
