//! Readings as text: Prometheus' own format, and OpenMetrics.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, prometheus_text, text},
    metrics::MetricType,
    registry::{Registry, Unit as EncodedUnit},
};

use crate::{
    Kind, Readings,
    readings::{Family, Point, Value},
};

/// How readings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What whoever sent this `Accept` wants: OpenMetrics where it says so and likes nothing else better.
    pub fn accepted(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default();
        let quality = |wanted: &str| {
            let ranges = accept.split(',').map(str::trim);
            let qualities = ranges.filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
                let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                is_it.then(|| quality.unwrap_or(1.0))
            });
            qualities.fold(0.0, f32::max)
        };
        let open = quality(OPEN_METRICS);
        match open > 0.0 && open >= quality(PLAIN) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The media type of what is written.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Readings {
    /// All of them in a format.
    pub fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut text, &registry)?,
            Format::OpenMetrics => text::encode(&mut text, &registry)?,
        }
        Ok(text)
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, points } in self.0.values() {
            let unit = metric.unit().suffix();
            let unit = unit.map(|suffix| EncodedUnit::Other(suffix.to_owned()));
            let kind = match metric.kind() {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let meaning = metric.meaning();
            let mut encoder =
                encoder.encode_descriptor(metric.name(), meaning, unit.as_ref(), kind)?;
            for Point { labels, value } in points {
                let names = metric.labels().iter().map(|label| label.name);
                let labels: Vec<(&str, &str)> =
                    names.zip(labels.iter().map(String::as_str)).collect();
                match labels.is_empty() {
                    true => write(&mut encoder, value)?,
                    false => write(&mut encoder.encode_family(&labels)?, value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    type NoLabels = [(&'static str, &'static str); 0];
    match value {
        Value::Counter(count) => encoder.encode_counter::<NoLabels, u64, u64>(count, None),
        Value::Amount(amount) => encoder.encode_counter::<NoLabels, f64, f64>(amount, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram(durations) => encoder.encode_histogram::<NoLabels>(
            durations.sum(),
            durations.count(),
            &durations.buckets(),
            None,
        ),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Histogram, Metric, Unit, label};

    static CALLS: Metric = Metric::counter(
        "marquee_calls",
        Unit::Of("calls"),
        &[&label::COMPONENT],
        "Calls.",
    );
    static MEMORY: Metric = Metric::gauge("marquee_memory", Unit::Bytes, &[], "Memory.");
    static SHARE: Metric = Metric::gauge("marquee_share", Unit::Ratio, &[], "A share.");
    static TIME: Metric = Metric::durations("marquee_call_duration", &[], "Time of a call.");

    fn readings() -> Readings {
        let mut readings = Readings::default();
        readings.count(&CALLS, &["a \"b\"\\\n"], 3);
        readings.gauge(&MEMORY, &[], 1.5);
        readings.gauge(&SHARE, &[], 0.25);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(60));
        readings.durations(&TIME, &[], histogram.read());
        readings
    }

    #[test]
    fn both_formats_have_units_totals_and_escaped_labels() {
        let prometheus = readings().text(Format::Prometheus).unwrap();
        for line in [
            "# HELP marquee_calls_total Calls.",
            "# TYPE marquee_calls_total counter",
            r#"marquee_calls_total{component="a \"b\"\\\n"} 3"#,
            "marquee_memory_bytes 1.5",
            "marquee_share_ratio 0.25",
            "# TYPE marquee_call_duration_seconds histogram",
            r#"marquee_call_duration_seconds_bucket{le="0.002048"} 0"#,
            r#"marquee_call_duration_seconds_bucket{le="0.004096"} 1"#,
            r#"marquee_call_duration_seconds_bucket{le="+Inf"} 2"#,
            "marquee_call_duration_seconds_sum 60.003",
            "marquee_call_duration_seconds_count 2",
        ] {
            assert!(
                prometheus.lines().any(|it| it == line),
                "{line}: {prometheus}"
            );
        }
        let open = readings().text(Format::OpenMetrics).unwrap();
        for line in [
            "# TYPE marquee_calls counter",
            "# UNIT marquee_memory_bytes bytes",
            "# UNIT marquee_share_ratio ratio",
            r#"marquee_calls_total{component="a \"b\"\\\n"} 3"#,
            "# EOF",
        ] {
            assert!(open.lines().any(|it| it == line), "{line}: {open}");
        }
    }

    #[test]
    fn open_metrics_are_for_those_who_ask_for_them() {
        for (accept, format) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/html, text/plain;q=0.9"), Format::Prometheus),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                Format::OpenMetrics,
            ),
            (
                Some("text/plain, application/openmetrics-text;q=0.5"),
                Format::Prometheus,
            ),
            (
                Some("application/openmetrics-text;q=0, text/plain"),
                Format::Prometheus,
            ),
            (
                Some("application/openmetrics-text;q=x"),
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }
}
