//! The document of all metrics, made from what they are made of.

use std::fmt::Write as _;

use crate::{Kind, Label, Metric, histogram::bounds};

/// A page in Markdown: of each group its metrics, then the labels, then the bounds of histograms.
pub fn document(groups: &[(&str, &[&Metric])]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut labels: Vec<&Label> = Vec::new();
    for (group, metrics) in groups {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {group}\n\n{TABLE}");
        for metric in *metrics {
            let kind = match metric.kind() {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            for label in metric.labels() {
                if !labels.iter().any(|known| known.meaning == label.meaning) {
                    labels.push(label);
                }
            }
            let names: Vec<String> = metric
                .labels()
                .iter()
                .map(|label| format!("`{}`", label.name))
                .collect();
            let (name, unit) = (metric.full_name(), metric.unit().words());
            let (names, meaning) = (names.join(" "), metric.meaning());
            let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {names} | {meaning} |");
        }
    }
    page.push_str(LABELS);
    for label in labels {
        let Label {
            name,
            meaning,
            bound,
        } = label;
        let _ = writeln!(page, "| `{name}` | {meaning} | {bound} |");
    }
    let bounds: Vec<String> = bounds().map(|bound| bound.to_string()).collect();
    let _ = writeln!(page, "{BOUNDS}{}.", bounds.join(", "));
    page
}

const INTRODUCTION: &str = "\
# Metrics

Made by `marquee metrics` from what the program itself uses; a test compares. `GET /metrics` on the admin listener gives all of
them, in Prometheus' text format or, to whoever accepts it, OpenMetrics: see [OPERATIONS](../OPERATIONS.md#metrics).

Everything is of one host and counts from its start, unless the meaning says that it comes from a database: that is the same
on every host, so take `max`, not `sum`.
";

const TABLE: &str = "| Name | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|\n";

const LABELS: &str = "
## Labels

No label's value is a client's to choose, and each has a bound. Paths, users, keys, event ids and texts of statements are in none.

| Label | Says | Values at the most |
|---|---|---|
";

const BOUNDS: &str = "
## Bounds of histograms

The same for all, in seconds: ";
