//! What all ratings of a record come to.

/// Sum and count of the ratings that count now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aggregate {
    /// The sum of the values.
    pub sum: u64,
    /// How many there are.
    pub count: u64,
}

impl Aggregate {
    /// The mean; none while there is no rating.
    pub fn average(self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact up to 2^53; beyond it the mean is off by less than it is rounded for reading"
        )]
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}

/// How a record's ratings are spread: how many there are of each value, 1 first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram(pub [u64; 10]);

impl Histogram {
    /// What they come to.
    pub fn aggregate(&self) -> Aggregate {
        let values = (1..).zip(self.0);
        values.fold(Aggregate::default(), |all, (value, count)| Aggregate {
            sum: all.sum + value * count,
            count: all.count + count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Aggregate, Histogram};

    #[test]
    fn a_histogram_comes_to_its_aggregate() {
        assert_eq!(Histogram::default().aggregate(), Aggregate::default());
        let spread = Histogram([1, 0, 0, 0, 0, 0, 2, 0, 0, 3]);
        assert_eq!(spread.aggregate(), Aggregate { sum: 45, count: 6 });
    }

    #[test]
    fn the_average_is_the_mean_or_none() {
        let check = |sum, count, average| {
            assert_eq!(Aggregate { sum, count }.average(), average, "{sum} {count}");
        };
        check(0, 0, None);
        check(7, 1, Some(7.0));
        check(15, 2, Some(7.5));
        check(10, 3, Some(10.0 / 3.0));
    }
}
