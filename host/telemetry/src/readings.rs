//! What all metrics said at one moment.
//!
//! Bound: what the labels say; nothing is kept from one moment to the next.

use std::collections::BTreeMap;

use crate::{Durations, Kind, Metric};

/// Values of metrics. Whoever has some adds them.
#[derive(Debug, Clone, Default)]
pub struct Readings(pub(crate) BTreeMap<&'static str, Family>);

/// All values of a metric.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) metric: &'static Metric,
    pub(crate) points: Vec<Point>,
}

/// A value, with those of its labels in their order.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Counter(u64),
    /// A counter of something that comes in parts.
    Amount(f64),
    Gauge(f64),
    Histogram(Box<Durations>),
}

impl Readings {
    /// A counter is there.
    pub fn count(&mut self, metric: &'static Metric, labels: &[&str], count: u64) {
        self.add(metric, Kind::Counter, labels, Value::Counter(count));
    }

    /// So much was used.
    pub fn amount(&mut self, metric: &'static Metric, labels: &[&str], amount: f64) {
        self.add(metric, Kind::Counter, labels, Value::Amount(amount));
    }

    /// It is that much now.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.add(metric, Kind::Gauge, labels, Value::Gauge(value));
    }

    /// There are so many now.
    pub fn number(&mut self, metric: &'static Metric, labels: &[&str], number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.gauge(metric, labels, whole(number));
    }

    /// They took so long.
    pub fn durations(&mut self, metric: &'static Metric, labels: &[&str], durations: Durations) {
        let value = Value::Histogram(Box::new(durations));
        self.add(metric, Kind::Histogram, labels, value);
    }

    /// These too.
    pub fn extend(&mut self, others: Self) {
        for (name, family) in others.0 {
            let known = self.0.entry(name).or_insert_with(|| Family {
                metric: family.metric,
                points: Vec::new(),
            });
            known.points.extend(family.points);
        }
    }

    fn add(&mut self, metric: &'static Metric, kind: Kind, labels: &[&str], value: Value) {
        debug_assert_eq!(metric.kind(), kind, "{}", metric.name());
        debug_assert_eq!(metric.labels().len(), labels.len(), "{}", metric.name());
        let family = self.0.entry(metric.name()).or_insert_with(|| Family {
            metric,
            points: Vec::new(),
        });
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        family.points.push(Point { labels, value });
    }
}

/// As the exposition has numbers: beyond 2^53 not to the last digit.
fn whole(number: u64) -> f64 {
    number as f64
}
