//! A real Prometheus beside a host.

use std::{fs, path::Path, process::Command, time::Duration};

use marquee_testkit::eventually;
use serde_json::{Value, json};

use crate::{raw, tools::Server};

/// One that asks a host, and its rules, each second.
pub(crate) struct Prometheus {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Start it, with the text of these rules.
    pub(crate) fn start(program: &Path, target: &str, rules: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (at, rules) in rules.iter().enumerate() {
            let file = folder.path().join(format!("{at}.rules.yml"));
            fs::write(file, rules).expect("written");
        }
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["*.rules.yml"],
            "scrape_configs": [{
                "job_name": "marquee",
                "static_configs": [{"targets": [target]}],
            }],
        });
        let path = folder.path().join("prometheus.yml");
        // YAML has all of JSON.
        fs::write(&path, config.to_string()).expect("written");
        let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut command = Command::new(program);
        command
            .arg(flag("config.file", &path))
            .arg(flag("storage.tsdb.path", &folder.path().join("data")))
            .arg("--web.listen-address=127.0.0.1:0");
        let listens = |line: &str| {
            let (_, address) = line.split_once("msg=\"Listening on\" address=")?;
            Some(address.trim().to_owned())
        };
        Self {
            server: Server::start(&mut command, listens),
            _folder: folder,
        }
    }

    /// What it answers.
    pub(crate) async fn ask(&self, path: &str) -> Value {
        let line = format!("GET /api/v1/{path}");
        let answer = raw::request(&self.server.address, &line, &[], "").await;
        match answer.status {
            200 => answer.json()["data"].clone(),
            // It is starting.
            _ => Value::Null,
        }
    }

    /// The names of the alerts that are firing.
    pub(crate) async fn firing(&self) -> Vec<String> {
        let alerts = self.ask("alerts").await["alerts"].take();
        let alerts = alerts.as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|it| it["state"] == "firing");
        let names = firing.filter_map(|it| it["labels"]["alertname"].as_str());
        names.map(str::to_owned).collect()
    }

    /// Wait until it has scraped the host.
    pub(crate) async fn has_scraped(&self) {
        eventually(PATIENCE, "it has scraped", async || {
            let targets = self.ask("targets").await;
            let target = &targets["activeTargets"][0];
            assert_eq!(
                target["lastError"].as_str().unwrap_or_default(),
                "",
                "{target}"
            );
            target["health"] == "up"
        })
        .await;
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
