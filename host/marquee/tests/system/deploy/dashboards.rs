//! Dashboards for Grafana: each query finds what a host has, and each is a dashboard by Grafana's own types.

use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use super::{files, path, queries::Known, text};
use crate::tools::{not_tried, program};

/// The queries of a dashboard, with the titles of their panels.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let title = |of: &Value| of["title"].as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().expect("panels");
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let expression = |target: Value| target["expr"].as_str().expect("a query").to_owned();
        let named = |target| (title(panel), expression(target));
        targets.into_iter().map(named).collect::<Vec<_>>()
    };
    let annotations = dashboard["annotations"]["list"].as_array();
    let annotations = annotations.into_iter().flatten();
    let of_annotation = |it: &Value| {
        let expression = it["target"]["expr"].as_str()?;
        Some(("annotation".to_owned(), expression.to_owned()))
    };
    let annotations = annotations.filter_map(of_annotation);
    let panels = panels.iter().flat_map(of_panel);
    panels.chain(annotations).map(set).collect()
}

/// With what Grafana puts in for a range. Variables in quotation marks may stay: they are texts.
fn set((title, query): (String, String)) -> (String, String) {
    let query = query.replace("$__rate_interval", "1m");
    (title, query.replace("$__range", "1h"))
}

fn dashboards() -> Vec<(String, Value)> {
    let files = files("deploy/grafana", ".json");
    let read = |file: &std::path::PathBuf| {
        let name = file.file_stem().and_then(|it| it.to_str());
        let dashboard = serde_json::from_str(&text(file)).expect("JSON");
        (name.expect("a name").to_owned(), dashboard)
    };
    files.iter().map(read).collect()
}

#[test]
fn each_query_of_a_dashboard_names_metrics_and_labels_that_a_host_has() {
    let known = Known::new();
    let values = Regex::new(r"^label_values\((.*), ([a-z]+)\)$").expect("a pattern");
    for (name, dashboard) in dashboards() {
        for (title, query) in queries(&dashboard) {
            assert_eq!(known.problems(&query), [""; 0], "{name}, {title}: {query}");
        }
        let variables = dashboard["templating"]["list"].as_array();
        for variable in variables.expect("variables") {
            // The data source is chosen by its kind.
            if let Some(query) = variable["query"]["query"].as_str() {
                let parts = values.captures(query).expect("label_values(SERIES, LABEL)");
                let problems = known.problems(&format!("count by ({}) ({})", &parts[2], &parts[1]));
                assert_eq!(problems, [""; 0], "{name}, {query}");
            }
        }
    }
}

#[test]
fn prometheus_takes_each_query_of_a_dashboard() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, dashboard) in dashboards() {
        let record = |(at, (_, expr))| json!({"record": format!("query:{at}"), "expr": expr});
        let rules: Vec<Value> = queries(&dashboard)
            .into_iter()
            .enumerate()
            .map(record)
            .collect();
        assert!(rules.len() > 20, "{name}: {}", rules.len());
        let file = folder.path().join(format!("{name}.yml"));
        // YAML has all of JSON.
        let text = json!({"groups": [{"name": name, "rules": rules}]}).to_string();
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(&promtool);
        let said = command.args(["check", "rules"]).arg(file).output();
        let said = said.expect("it runs");
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{name}: {words}");
    }
}

#[test]
fn each_dashboard_is_one_by_grafanas_own_types() {
    let script = path("scripts/dashboards");
    let run = Command::new(script).arg("check").output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(77) {
        not_tried("npm with Grafana's own types");
        return;
    }
    assert!(run.status.success(), "{said}");
}
