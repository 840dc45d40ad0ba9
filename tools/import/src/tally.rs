//! Sums and counts: what a film's ratings must come to, and whether what is served is that.

use crate::api::Aggregate;

/// Ratings of one film.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of the values.
    pub sum: u64,
    /// Of the ratings.
    pub count: u64,
}

impl Tally {
    /// With one rating more.
    #[must_use]
    pub fn with(self, value: u64) -> Self {
        Self {
            sum: self.sum + value,
            count: self.count + 1,
        }
    }

    /// Without the ratings of `other`; none when they are not all among these.
    #[must_use]
    pub fn without(self, other: Self) -> Option<Self> {
        Some(Self {
            sum: self.sum.checked_sub(other.sum)?,
            count: self.count.checked_sub(other.count)?,
        })
    }

    /// The whole numbers behind an average that is served; none when there are none, so that it is wrong.
    #[must_use]
    pub fn of(served: Aggregate) -> Option<Self> {
        let average = match (served.average, served.count) {
            (None, 0) => return Some(Self::default()),
            (None, _) | (Some(_), 0) => return None,
            (Some(average), _) => average,
        };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sums are far below 2^53; what is negative or no number becomes 0, which cannot be near"
        )]
        let (exact, sum) = {
            let exact = average * served.count as f64;
            (exact, exact.round() as u64)
        };
        #[expect(clippy::cast_precision_loss, reason = "sums are far below 2^53")]
        let whole = sum as f64;
        // A division and a product in f64 are off by two parts in 2^53 at most.
        ((exact - whole).abs() <= whole * 4.0 * f64::EPSILON).then_some(Self {
            sum,
            count: served.count,
        })
    }

    /// The mean; none without ratings.
    #[must_use]
    pub fn average(self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "sums are far below 2^53")]
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(average: Option<f64>, count: u64) -> Option<Tally> {
        Tally::of(Aggregate { average, count })
    }

    #[test]
    fn every_average_gives_back_its_sum() {
        for count in 1..=400_u64 {
            for sum in count..=count * 10 {
                let tally = Tally { sum, count };
                assert_eq!(served(tally.average(), count), Some(tally));
            }
        }
        let large = Tally {
            sum: 7_654_321_987,
            count: 1_000_000_007,
        };
        assert_eq!(served(large.average(), large.count), Some(large));
    }

    #[test]
    fn an_average_that_no_sum_has_is_found() {
        assert_eq!(served(Some(7.33), 3), None, "rounded");
        assert_eq!(served(Some(f64::NAN), 3), None);
        assert_eq!(served(Some(-7.0), 3), None);
        assert_eq!(served(None, 3), None);
        assert_eq!(served(Some(7.0), 0), None);
        assert_eq!(served(None, 0), Some(Tally::default()));
    }

    #[test]
    fn a_rating_counted_twice_is_found_even_where_the_average_stays() {
        let sent = Tally::default().with(7).with(7);
        assert_eq!(served(Some(7.0), 2), Some(sent));
        assert_ne!(served(Some(7.0), 3), Some(sent));
    }

    #[test]
    fn taking_away_what_is_not_there_is_noticed() {
        let two = Tally::default().with(3).with(4);
        assert_eq!(
            two.without(Tally::default().with(3)),
            Some(Tally { sum: 4, count: 1 })
        );
        assert_eq!(Tally::default().without(two), None);
    }
}
