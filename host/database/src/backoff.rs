//! Pauses between tries, for whatever is tried again.
//!
//! Exponential with the "equal jitter" of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): after failure n
//! between half of and the whole `first * 2^(n-1)`, at most `longest`, at random. What failed together does not come back
//! together, and nothing comes back at once, as it may with full jitter. It is a function of the number of failures and
//! keeps nothing: most callers have that number in a row of a database.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long to wait until the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// The longest pause after the first failure, and after any.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The pause after so many failures in a row, counted from 1.
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Wait for [`Self::delay`], unless `stop` comes first.
    pub async fn pause(self, failures: u32, stop: &CancellationToken) {
        stop.run_until_cancelled(tokio::time::sleep(self.delay(failures)))
            .await;
    }
}

/// Keeps the factor within 32 bits.
const MAX_DOUBLINGS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_with_jitter_and_stop_growing_at_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(600));
        for (failures, whole) in [
            (1, 10),
            (2, 20),
            (3, 40),
            (7, 600),
            (8, 600),
            (u32::MAX, 600),
        ] {
            for _ in 0..100 {
                let delay = backoff.delay(failures).as_secs_f64();
                assert!(
                    (f64::from(whole) / 2.0..=f64::from(whole)).contains(&delay),
                    "failure {failures}: {delay}"
                );
            }
        }
    }
}
