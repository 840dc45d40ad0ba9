//! Rules for Prometheus, as files: they name what a host has, each alert says what to do, and each is tried by promtool. What comes
//! of them beside a host is in `alerts`.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use super::{files, path, queries::Known, text, yaml};
use crate::tools::program;

/// The rules of a file.
pub(super) fn of(file: &Value) -> Vec<Value> {
    let groups = file["groups"].as_array().expect("groups");
    let rules = groups.iter().map(|it| it["rules"].as_array());
    rules.flat_map(|it| it.expect("rules").clone()).collect()
}

fn all() -> Vec<Value> {
    let files = files("deploy/prometheus/rules", ".yml");
    files.iter().flat_map(|file| of(&yaml(file))).collect()
}

/// The alerts, by their names.
pub(super) fn alerts() -> Vec<(String, Value)> {
    let named = |rule: Value| Some((rule["alert"].as_str()?.to_owned(), rule));
    all().into_iter().filter_map(named).collect()
}

#[test]
fn rules_name_metrics_and_labels_that_a_host_has() {
    let known = Known::new();
    for rule in all() {
        let query = rule["expr"].as_str().expect("a query");
        assert_eq!(known.problems(query), [""; 0], "{rule}");
    }
}

#[test]
fn each_alert_has_a_severity_a_summary_and_a_runbook_that_is_there() {
    let operations = text(&path("OPERATIONS.md"));
    let headings = operations.lines().filter_map(|it| it.strip_prefix("### "));
    let anchors: BTreeSet<String> = headings.map(str::to_lowercase).collect();
    let alerts = alerts();
    for (name, rule) in &alerts {
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{rule}");
        let annotations = &rule["annotations"];
        let summary = annotations["summary"].as_str().expect("a summary");
        assert!(!summary.ends_with('.') && summary.len() < 160, "{rule}");
        let anchor = name.to_lowercase();
        assert_eq!(
            annotations["runbook_url"],
            format!("OPERATIONS.md#{anchor}")
        );
        assert!(anchors.contains(&anchor), "OPERATIONS.md has no {name}");
    }
    // And no runbook is left of an alert that went.
    let known: BTreeSet<String> = alerts.iter().map(|it| it.0.to_lowercase()).collect();
    for anchor in anchors.iter().filter(|it| it.starts_with("marquee")) {
        assert!(known.contains(anchor), "there is no alert {anchor}");
    }
}

#[test]
fn each_alert_comes_and_stays_away_as_promtool_tries_it() {
    let tests = files("deploy/prometheus/tests", ".yml");
    let tried = tests.iter().flat_map(|file| {
        let tests = yaml(file)["tests"].as_array().cloned();
        tests.expect("tests").into_iter()
    });
    let fires = |test: &Value| {
        let cases = test["alert_rule_test"].as_array()?;
        let fires = |case: &&Value| case["exp_alerts"].as_array().is_some();
        let silent = |case: &&Value| case.get("exp_alerts").is_none();
        let fired = cases.iter().find(fires)?;
        let name = fired["alertname"].as_str()?.to_owned();
        cases.iter().any(|case| silent(&case)).then_some(name)
    };
    let tried: BTreeSet<String> = tried.filter_map(|test| fires(&test)).collect();
    for (name, _) in alerts() {
        assert!(
            tried.contains(&name),
            "{name} is tried, and before its time"
        );
    }
    let Some(promtool) = program("promtool") else {
        return;
    };
    let rules = files("deploy/prometheus/rules", ".yml");
    let config = vec![path("deploy/prometheus/prometheus.yml")];
    for (verb, files) in [
        (["check", "rules"], rules),
        (["check", "config"], config),
        (["test", "rules"], tests),
    ] {
        let mut command = Command::new(&promtool);
        let said = command.args(verb).args(files).output().expect("it runs");
        let words = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{verb:?}: {words}");
    }
}
