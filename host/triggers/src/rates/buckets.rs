//! How full each key's bucket is: a bounded map, for governor's limiters to keep their state in.
//!
//! Bound: keys at once, over all limits. Where one more is needed, a key that was seen once goes before one that is
//! busy, so that a flood of new keys does not push out those who are being limited. A key that is forgotten begins anew
//! with a full bucket; where its bucket was not full, that is said in the log, once a minute.

use std::{
    convert::Infallible,
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, Reference as _},
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter, sync::Cache};

/// The buckets of all limits whose keys are of one kind.
pub(super) struct Buckets<K, C: Clock> {
    /// By limit and key.
    states: Cache<(u32, K), Arc<InMemoryState>, UnitWeighter, DefaultHashBuilder, Forget<C>>,
    forget: Forget<C>,
    /// What keys are, for the log.
    what: &'static str,
}

/// The buckets of one limit.
pub(super) struct Limit<K, C: Clock> {
    buckets: Arc<Buckets<K, C>>,
    number: u32,
}

impl<K, C> Buckets<K, C>
where
    K: Clone + Eq + Hash,
    C: Clock + Clone,
{
    /// Room for this many keys.
    pub(super) fn new(what: &'static str, keys: usize, clock: &C) -> Arc<Self> {
        let forget = Forget {
            start: clock.now(),
            clock: clock.clone(),
            forgotten: Arc::new(Forgotten {
                keys: AtomicU64::new(0),
                // Often enough to be seen, seldom enough not to drown the log of an attack.
                notices: RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN)),
            }),
        };
        Arc::new(Self {
            states: Cache::with(
                keys,
                u64::try_from(keys).unwrap_or(u64::MAX),
                UnitWeighter,
                DefaultHashBuilder::default(),
                forget.clone(),
            ),
            forget,
            what,
        })
    }

    /// Those of one limit, by its number.
    pub(super) fn of(self: &Arc<Self>, number: u32) -> Limit<K, C> {
        Limit {
            buckets: Arc::clone(self),
            number,
        }
    }

    fn state(&self, key: &(u32, K)) -> Arc<InMemoryState> {
        if let Some(state) = self.states.get(key) {
            return state;
        }
        let new = || Ok::<_, Infallible>(Arc::default());
        let Ok(state) = self.states.get_or_insert_with(key, new);
        if let Some(forgotten) = self.forget.forgotten.notice() {
            tracing::warn!(
                forgotten,
                "more {} than there is room for: some were forgotten and may ask as if they were new",
                self.what
            );
        }
        state
    }
}

impl<K, C> StateStore for Limit<K, C>
where
    K: Clone + Eq + Hash,
    C: Clock + Clone,
{
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = self.buckets.state(&(self.number, key.clone()));
        state.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

/// Counts the keys that had to go although they were still limited.
#[derive(Clone)]
struct Forget<C: Clock> {
    clock: C,
    /// What states are measured from; the limiters begin a moment later.
    start: C::Instant,
    forgotten: Arc<Forgotten>,
}

struct Forgotten {
    keys: AtomicU64,
    notices: DefaultDirectRateLimiter,
}

impl Forgotten {
    /// How many keys went since this was told, if it is to be told again.
    fn notice(&self) -> Option<u64> {
        if self.keys.load(Ordering::Relaxed) == 0 || self.notices.check().is_err() {
            return None;
        }
        Some(self.keys.swap(0, Ordering::Relaxed))
    }
}

impl<K, C: Clock> Lifecycle<K, Arc<InMemoryState>> for Forget<C> {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, state: Arc<InMemoryState>) {
        // The state as it is: governor reads it out to whoever decides.
        let read = |full_at: Option<Nanos>| Err::<((), Nanos), _>(full_at);
        let full_at = state.measure_and_replace(&NotKeyed::NonKey, read);
        let now = self.clock.now().duration_since(self.start);
        if full_at.is_err_and(|full_at| full_at > Some(now)) {
            self.forgotten.keys.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use marquee_manifest::Rate;

    use super::{
        super::{Limiter, check, limiter},
        *,
    };

    const KEYS: usize = 1_000;

    struct Setup {
        clock: FakeRelativeClock,
        buckets: Arc<Buckets<u64, FakeRelativeClock>>,
    }

    impl Setup {
        fn new() -> Self {
            let clock = FakeRelativeClock::default();
            let buckets = Buckets::new("keys", KEYS, &clock);
            Self { clock, buckets }
        }

        /// One request a minute.
        fn limiter(&self, number: u32) -> Limiter<u64, FakeRelativeClock> {
            let rate = Rate {
                requests: NonZeroU32::MIN,
                per: Duration::from_secs(60),
                burst: NonZeroU32::MIN,
            };
            limiter(rate, self.buckets.of(number), &self.clock)
        }

        fn has_said_that_keys_were_forgotten(&self) -> bool {
            self.buckets.forget.forgotten.notices.check().is_err()
        }
    }

    fn passes(limiter: &Limiter<u64, FakeRelativeClock>, key: u64) -> bool {
        check(limiter, &key).retry_after().is_none()
    }

    #[test]
    fn there_are_never_more_keys_than_there_is_room_for() {
        let setup = Setup::new();
        let (one, other) = (setup.limiter(0), setup.limiter(1));
        for key in 0..25 * KEYS as u64 {
            assert!(passes(&one, key) && passes(&other, key));
            let states = &setup.buckets.states;
            assert!(states.len() as u64 <= states.capacity());
        }
        // The shares of its parts are rounded up.
        assert!(setup.buckets.states.capacity() < KEYS as u64 + 64);
        assert!(setup.has_said_that_keys_were_forgotten());
    }

    #[test]
    fn who_is_being_limited_stays_so_under_a_flood_of_new_keys() {
        let setup = Setup::new();
        let limiter = setup.limiter(0);
        let busy = u64::MAX;
        assert!(passes(&limiter, busy));
        for key in 0..50 * KEYS as u64 {
            passes(&limiter, key);
            if key % 10 == 0 {
                assert!(!passes(&limiter, busy), "after {key} others");
            }
        }
    }

    #[test]
    fn a_key_whose_bucket_is_full_again_goes_unsaid() {
        let setup = Setup::new();
        let limiter = setup.limiter(0);
        for key in 0..10 * KEYS as u64 {
            passes(&limiter, key);
            setup.clock.advance(Duration::from_secs(60));
        }
        assert!(!setup.has_said_that_keys_were_forgotten());
    }

    #[test]
    fn limits_count_apart() {
        let setup = Setup::new();
        let (one, other) = (setup.limiter(0), setup.limiter(1));
        assert!(passes(&one, 7));
        assert!(!passes(&one, 7));
        assert!(passes(&other, 7));
    }
}
