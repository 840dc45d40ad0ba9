//! A metric: its name, what kind it is, and what it means.

use crate::Label;

/// What is known of a metric before anything is measured. Made as a `static`, so that the exposition and the document say
/// the same.
#[derive(Debug)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static Label],
    meaning: &'static str,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Durations, counted by fixed bounds: see [`crate::Histogram`].
    Histogram,
}

/// What is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time, in seconds; the name ends in it.
    Seconds,
    /// Bytes; the name ends in it.
    Bytes,
    /// A part of a whole, 0 to 1; the name ends in it.
    Ratio,
    /// Things, which the name says already.
    Of(&'static str),
}

impl Metric {
    /// Something that is counted. `name` is without `_total`.
    pub const fn counter(
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static Label],
        meaning: &'static str,
    ) -> Self {
        Self::of(Kind::Counter, name, unit, labels, meaning)
    }

    /// Something as it is now. `name` is without the unit.
    pub const fn gauge(
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static Label],
        meaning: &'static str,
    ) -> Self {
        Self::of(Kind::Gauge, name, unit, labels, meaning)
    }

    /// Durations. `name` is without `_seconds`.
    pub const fn durations(
        name: &'static str,
        labels: &'static [&'static Label],
        meaning: &'static str,
    ) -> Self {
        Self::of(Kind::Histogram, name, Unit::Seconds, labels, meaning)
    }

    const fn of(
        kind: Kind,
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static Label],
        meaning: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            unit,
            labels,
            meaning,
        }
    }

    /// As Prometheus knows it: with its unit, and `_total` where it is a counter.
    pub fn full_name(&self) -> String {
        let mut name = self.name.to_owned();
        if let Some(unit) = self.unit.suffix() {
            name.push('_');
            name.push_str(unit);
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// Without them.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// How it behaves.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it counts or measures.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// By what its values are told apart.
    pub fn labels(&self) -> &'static [&'static Label] {
        self.labels
    }

    /// What it says.
    pub fn meaning(&self) -> &'static str {
        self.meaning
    }
}

impl Unit {
    /// What names end in.
    pub(crate) fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Ratio => Some("ratio"),
            Self::Of(_) => None,
        }
    }

    /// For people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Of(things) => things,
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "0 to 1",
        }
    }
}
