//! What was looked up of late.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;

/// Answers to a question, by what was asked, each taken for true for a while: a `static` of a component. Each instance has
/// its own. At most so many are kept; those that were asked for the longest ago go first.
#[derive(Debug)]
pub struct Recent<V> {
    most: NonZeroUsize,
    good_for: Duration,
    known: OnceLock<Mutex<LruCache<String, Known<V>>>>,
}

#[derive(Debug)]
struct Known<V> {
    value: V,
    until: Instant,
}

impl<V: Clone> Recent<V> {
    /// None yet.
    pub const fn new(most: NonZeroUsize, good_for: Duration) -> Self {
        Self {
            most,
            good_for,
            known: OnceLock::new(),
        }
    }

    /// The answer that is known, or the one that comes now. Its time begins before it is asked for. An error is not kept.
    pub async fn get<E>(&self, key: &str, ask: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let asked_at = Instant::now();
        let known = self
            .known()
            .get(key)
            .map(|known| (known.value.clone(), known.until));
        if let Some((value, until)) = known
            && asked_at < until
        {
            return Ok(value);
        }
        let value = ask.await?;
        let until = asked_at + self.good_for;
        let entry = Known {
            value: value.clone(),
            until,
        };
        self.known().put(key.to_owned(), entry);
        Ok(value)
    }

    /// Forgets some.
    pub fn forget(&self, is_one: impl Fn(&V) -> bool) {
        let mut all = self.known();
        let of_them = all.iter().filter(|(_, known)| is_one(&known.value));
        let keys: Vec<_> = of_them.map(|(key, _)| key.clone()).collect();
        for key in keys {
            all.pop(&key);
        }
    }

    /// Never locked across a call.
    fn known(&self) -> MutexGuard<'_, LruCache<String, Known<V>>> {
        let known = || Mutex::new(LruCache::new(self.most));
        let known = self.known.get_or_init(known).lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    /// What the answer is where the question would be answered with this.
    fn get(recent: &Recent<u8>, key: &str, answer: Result<u8, ()>) -> Result<u8, ()> {
        block_on(recent.get(key, async { answer }))
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_an_error_is_not() {
        let two = NonZeroUsize::new(2).unwrap();
        let recent = Recent::new(two, Duration::from_secs(60));
        assert_eq!(get(&recent, "a", Err(())), Err(()));
        assert_eq!(get(&recent, "a", Ok(1)), Ok(1));
        assert_eq!(get(&recent, "a", Ok(2)), Ok(1));
        recent.forget(|value| *value == 1);
        assert_eq!(get(&recent, "a", Ok(3)), Ok(3));
        // A third one is one too many.
        assert_eq!(get(&recent, "b", Ok(4)), Ok(4));
        assert_eq!(get(&recent, "c", Ok(5)), Ok(5));
        assert_eq!(get(&recent, "a", Ok(6)), Ok(6));
        let never = Recent::new(two, Duration::ZERO);
        assert_eq!(get(&never, "a", Ok(1)), Ok(1));
        assert_eq!(get(&never, "a", Ok(2)), Ok(2));
    }
}
