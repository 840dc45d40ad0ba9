//! `marquee config`: what the host would run with.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets::NOTHING};

use super::{environment, print};
use crate::{
    app,
    settings::{Flags, Set, Settings, UpFlags, shown_access_log},
};

/// Print each setting and where it came from. Secrets are hidden.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee config --listen 127.0.0.1:8080")]
pub(crate) struct Config {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    up: UpFlags,
}

impl Config {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::decide(&self.flags, &self.up, environment())?;
        let app = app::read(&settings.manifest.value)?;
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_header(["setting", "value", "from"]);
        let mut row = |name: String, value: String, from: String| {
            table.add_row([name, value, from]);
        };
        let plain = |set: &Set<String>| (set.value.clone(), set.source.to_string());
        row(
            "manifest".into(),
            settings.manifest.value.display().to_string(),
            settings.manifest.source.to_string(),
        );
        row(
            "data".into(),
            settings.data.value.display().to_string(),
            settings.data.source.to_string(),
        );
        row(
            "listen".into(),
            settings.listen.value.to_string(),
            settings.listen.source.to_string(),
        );
        row(
            "admin listen".into(),
            settings.admin_listen.value.to_string(),
            settings.admin_listen.source.to_string(),
        );
        if let Some(token) = &settings.admin_token {
            row(
                "admin token".into(),
                token.value.to_string(),
                token.source.to_string(),
            );
        }
        row(
            "trusted proxies".into(),
            settings.trusted_proxies.value.to_string(),
            settings.trusted_proxies.source.to_string(),
        );
        if !settings.proxy_protocol.value.is_empty() {
            row(
                "proxy protocol".into(),
                settings.proxy_protocol.value.to_string(),
                settings.proxy_protocol.source.to_string(),
            );
        }
        row(
            "drain delay".into(),
            humantime::format_duration(settings.drain_delay.value).to_string(),
            settings.drain_delay.source.to_string(),
        );
        row(
            "grace".into(),
            humantime::format_duration(settings.grace.value).to_string(),
            settings.grace.source.to_string(),
        );
        row(
            "allow unsafe database".into(),
            settings.allow_unsafe_database.value.to_string(),
            settings.allow_unsafe_database.source.to_string(),
        );
        row(
            "manifest versions".into(),
            settings.manifest_versions.value.to_string(),
            settings.manifest_versions.source.to_string(),
        );
        row(
            "keep versions".into(),
            settings.keep_versions.value.to_string(),
            settings.keep_versions.source.to_string(),
        );
        let keys = settings.release_keys.value.iter();
        for key in keys {
            let source = settings.release_keys.source.to_string();
            row("release key".into(), key.display().to_string(), source);
        }
        row(
            "require signature".into(),
            settings.require_signature.value.to_string(),
            settings.require_signature.source.to_string(),
        );
        // Those of components stand with them.
        for name in ["bus", "releases"] {
            if let Some(url) = settings.database_url(name) {
                let (value, from) = (url.value.to_string(), url.source.to_string());
                row(format!("database {name}"), value, from);
            }
        }
        if let Some(lag) = &settings.health_lag {
            let value = format!("{} messages", lag.value);
            row("health lag".into(), value, lag.source.to_string());
        }
        for (name, set) in [
            ("health outbox", &settings.health_outbox),
            ("health stuck", &settings.health_stuck),
        ] {
            if let Some(set) = set {
                let value = humantime::format_duration(set.value).to_string();
                row(name.into(), value, set.source.to_string());
            }
        }
        if let Some(export) = settings.traces(&app.name)?.export {
            let value = redacted(export.endpoint.as_str());
            row("traces".into(), value, "environment OTEL_*".into());
        }
        row(
            "keep traces".into(),
            settings.keep_traces.value.to_string(),
            settings.keep_traces.source.to_string(),
        );
        let (value, from) = plain(&settings.log);
        row("log".into(), value, from);
        row(
            "access log".into(),
            shown_access_log(settings.access_log.value),
            settings.access_log.source.to_string(),
        );
        match &settings.kafka_brokers {
            Some(brokers) => {
                let (value, from) = plain(brokers);
                row("kafka brokers".into(), value, from);
                for (name, property) in &settings.kafka_properties {
                    let (value, from) = (property.shown(), property.source.to_string());
                    row(format!("kafka {name}"), value.to_owned(), from);
                }
            }
            None => row("bus".into(), "embedded".into(), "default".into()),
        }
        if let Some(retention) = &settings.bus_retention {
            let value = humantime::format_duration(retention.value).to_string();
            row("bus retention".into(), value, retention.source.to_string());
        }
        for component in app.load_order() {
            let id = &component.id;
            if let Some(database) = &component.database {
                let (value, from) = match settings.database_url(&database.name) {
                    Some(url) => (url.value.to_string(), url.source.to_string()),
                    None => ("embedded".to_owned(), "default".to_owned()),
                };
                row(format!("database {}", database.name), value, from);
                row(
                    format!("database {} pool", database.name),
                    database.pool_size.to_string(),
                    "manifest".into(),
                );
            }
            let limits = &component.limits;
            let deadline = humantime::format_duration(limits.deadline).to_string();
            row(format!("{id} deadline"), deadline, "manifest".into());
            row(
                format!("{id} memory"),
                format!("{}MiB", limits.memory_bytes >> 20),
                "manifest".into(),
            );
            row(
                format!("{id} concurrent calls"),
                limits.concurrent_calls.to_string(),
                "manifest".into(),
            );
            for class in &component.rates.classes {
                let mut value = format!("{} by client", class.client);
                if let Some(subject) = class.subject {
                    value.push_str(&format!("; {subject} by subject"));
                }
                row(
                    format!("{id} rate {}", class.name),
                    value,
                    "manifest".into(),
                );
            }
            for subscription in &component.subscriptions {
                let value = format!(
                    "retry every {}, dead after {} attempts, batches of {}",
                    humantime::format_duration(subscription.retry),
                    subscription.attempts,
                    subscription.batch
                );
                row(
                    format!("{id} topic {}", subscription.topic),
                    value,
                    "manifest".into(),
                );
            }
        }
        for (name, variable) in &app.variables {
            let (value, from) = match settings.variable(name) {
                Some(set) if variable.is_secret => (set.value.to_string(), set.source.to_string()),
                // A variable may hold a URL with a password without being marked.
                Some(set) => (redacted(set.value.reveal()), set.source.to_string()),
                None => match &variable.default {
                    Some(default) => (redacted(default), "manifest".to_owned()),
                    None => ("(missing)".to_owned(), String::new()),
                },
            };
            row(format!("variable {name}"), value, from);
        }
        print(table.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A URL without its password.
fn redacted(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for URLs that cannot have a password.
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        _ => text.to_owned(),
    }
}
