//! Queries of alerts and dashboards, held against docs/metrics.md: a metric or a label that a host does not have finds nothing,
//! and nobody notices.
//!
//! Their grammar is promtool's to check. Here they are taken apart into names; a parser as a crate (`promql-parser`) brings a
//! dozen others, one of which nobody maintains any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

use super::{files, path, text, yaml};

/// The names that a query may use, each with its labels.
pub(super) struct Known(BTreeMap<String, BTreeSet<String>>);

impl Known {
    /// Those of a host, of Prometheus itself, and of the recording rules.
    pub(super) fn new() -> Self {
        let mut known = Self(BTreeMap::new());
        known.documented();
        known.add("up", ["job", "instance"]);
        known.add("ALERTS", ["alertname", "alertstate", "severity"]);
        known.recorded();
        known
    }

    fn add<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = &'a str>) {
        let labels = labels.into_iter().map(str::to_owned);
        self.0.entry(name.to_owned()).or_default().extend(labels);
    }

    /// The tables of the document: name, kind, unit, labels, meaning.
    fn documented(&mut self) {
        for line in text(&path("docs/metrics.md")).lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let &[
                "",
                name,
                kind @ ("counter" | "gauge" | "histogram"),
                _,
                labels,
                ..,
            ] = cells.as_slice()
            else {
                continue;
            };
            let name = name.trim_matches('`');
            let labels = labels.split('`').map(str::trim);
            let labels = labels.filter(|label| !label.is_empty());
            let labels: Vec<&str> = labels.chain(["job", "instance"]).collect();
            if kind == "histogram" {
                for end in ["_sum", "_count", "_bucket"] {
                    self.add(&format!("{name}{end}"), labels.iter().copied());
                }
                self.add(&format!("{name}_bucket"), ["le"]);
            } else {
                self.add(name, labels);
            }
        }
        assert!(self.0.len() > 50, "the document has metrics: {:?}", self.0);
    }

    /// By Prometheus' convention the first part of a rule's name says which labels are left.
    fn recorded(&mut self) {
        for file in files("deploy/prometheus/rules", ".yml") {
            for rule in super::rules::of(&yaml(&file)) {
                if let Some(name) = rule["record"].as_str() {
                    let (level, _) = name.split_once(':').expect("level:metric:operations");
                    self.add(name, level.split('_'));
                }
            }
        }
    }

    /// What of a query is not there.
    pub(super) fn problems(&self, query: &str) -> Vec<String> {
        let query = TEXT.replace_all(query, "\"\"");
        let mut problems = Vec::new();
        let mut of_all = BTreeSet::new();
        // What is grouped by is no metric, nor what a function does with one.
        let selected = GROUPING.replace_all(&query, " ");
        for found in SELECTED.captures_iter(&selected) {
            // Or else it is a range.
            let Some(name) = found.name("name").map(|it| it.as_str()) else {
                continue;
            };
            if WORDS.contains(&name) || found.name("call").is_some() {
                continue;
            }
            let Some(labels) = self.0.get(name) else {
                problems.push(format!("there is no metric {name}"));
                continue;
            };
            of_all.extend(labels);
            let matchers = found.name("matchers").map_or("", |it| it.as_str());
            for label in MATCHED.captures_iter(matchers) {
                if !labels.contains(&label["label"]) {
                    problems.push(format!("{name} has no label {}", &label["label"]));
                }
            }
        }
        for grouping in GROUPING.captures_iter(&query) {
            let labels = grouping["labels"].split(',').map(str::trim);
            for label in labels.filter(|it| !of_all.iter().any(|known| known == it)) {
                problems.push(format!("nothing has the label {label}"));
            }
        }
        problems
    }
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

static TEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r#""[^"]*""#));
static GROUPING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(?:by|without|on|ignoring) *\((?<labels>[^)]*)\)"));
static SELECTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:\[[^\]]*\])|\b(?<name>[a-zA-Z_][a-zA-Z0-9_:]*)(?<call> *\()?(?:\{(?<matchers>[^}]*)\})?",
    )
});
static MATCHED: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?<label>[a-z_]+) *(?:=~|!~|!=|=)"));
const WORDS: [&str; 4] = ["and", "or", "unless", "bool"];

#[test]
fn a_query_of_what_is_not_there_is_found() {
    let known = Known::new();
    for query in [
        r#"sum by (job, consumer) (marquee_consumer_dead_messages{job=~"marq()uee"})"#,
        "histogram_quantile(0.9, sum by (le, route) (rate(marquee_http_request_duration_seconds_bucket[5m])))",
        "job_route:marquee_http_requests:rate5m > 0.1 and on (job) up",
    ] {
        assert_eq!(known.problems(query), [""; 0], "{query}");
    }
    for (query, problem) in [
        ("1 + marquee_dead[5m]", "there is no metric marquee_dead"),
        (
            "marquee_http_request_duration_seconds",
            "there is no metric marquee_http_request_duration_seconds",
        ),
        (r#"up{job="a", topic="b"}"#, "up has no label topic"),
        (
            "sum by (le) (marquee_instances)",
            "nothing has the label le",
        ),
        ("up and on (topic) up", "nothing has the label topic"),
        (
            r#"job_route:marquee_http_requests:rate5m{instance="a"}"#,
            "job_route:marquee_http_requests:rate5m has no label instance",
        ),
    ] {
        assert_eq!(known.problems(query), [problem], "{query}");
    }
}
