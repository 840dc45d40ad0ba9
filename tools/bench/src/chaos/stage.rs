//! Servers and two hosts, each of which can fail.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http::Method;
use marquee_testkit::{PostgresServer, Proxy, kafka_server};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    host::{self, Host},
    load,
    movies::JSON,
    servers::{Bus, Connected},
};

/// Servers and hosts.
pub(super) struct Stage {
    program: PathBuf,
    manifest: PathBuf,
    environment: Vec<(String, String)>,
    hosts: [Option<Host>; 2],
    data: [Arc<TempDir>; 2],
    pub(super) postgres: PostgresServer,
    /// Between hosts and databases.
    pub(super) proxy: Proxy,
    kafka: Option<kafka_server::Server>,
}

impl Stage {
    pub(super) async fn set(
        program: PathBuf,
        manifest: PathBuf,
        (bus, shared): (Bus, bool),
        mut environment: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        let postgres = marquee_testkit::postgres().await;
        let address = postgres.url("").replace("postgres://postgres@", "");
        let address: SocketAddr = address.trim_end_matches('/').parse()?;
        let proxy = marquee_testkit::proxy(address).await;
        let names = ["counter", "bus", "releases"];
        let names = names.get(..if shared { 3 } else { 2 }).unwrap_or_default();
        for name in names {
            postgres.create_database(name).await;
            let variable = format!("DATABASE_URL_{}", name.to_uppercase());
            let url = format!("postgres://postgres@{}/{name}", proxy.addr());
            environment.push((variable, url));
        }
        let kafka = match bus {
            Bus::Embedded => None,
            Bus::Kafka => Some(marquee_testkit::broker().await),
        };
        if let Some(kafka) = &kafka {
            environment.push(("KAFKA_BROKERS".to_owned(), kafka.brokers().to_owned()));
        }
        let mut stage = Self {
            program,
            manifest,
            environment,
            hosts: [None, None],
            data: [host::data()?, host::data()?],
            postgres,
            proxy,
            kafka,
        };
        for number in 0..2 {
            stage.start(number).await?;
            deploy_next(stage.host(number)?).await?;
        }
        Ok(stage)
    }

    /// A host that is there.
    pub(super) fn host(&self, number: usize) -> anyhow::Result<&Host> {
        let host = self.hosts.get(number).and_then(Option::as_ref);
        host.context("there is no such host")
    }

    /// Start a host where one was, once that one has ended.
    pub(super) async fn start(&mut self, number: usize) -> anyhow::Result<()> {
        let (Some(seat), Some(data)) = (self.hosts.get_mut(number), self.data.get(number)) else {
            return Ok(());
        };
        if let Some(before) = seat.take() {
            tokio::task::spawn_blocking(move || drop(before)).await?;
        }
        let host = Host::start_in(&self.program, &self.manifest, &self.environment, data).await?;
        *seat = Some(host);
        Ok(())
    }

    /// Where the hosts serve.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.hosts
            .iter()
            .flatten()
            .map(|host| host.address.clone())
            .collect()
    }

    /// Wait until both hosts are ready. How long that is since then.
    pub(super) async fn ready(&self, since: Instant) -> anyhow::Result<Duration> {
        for host in self.hosts.iter().flatten() {
            while load::status(&host.health, "/readyz").await != Some(200) {
                ensure!(
                    since.elapsed() < super::PATIENCE,
                    "a host does not become ready\n{}",
                    self.logs()
                );
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(since.elapsed())
    }

    /// A connection that no fault of the proxy touches.
    pub(super) async fn connect(&self, database: &str) -> anyhow::Result<Connected> {
        Connected::to(&self.postgres.url(database)).await
    }

    /// End every other session of the databases. How many.
    pub(super) async fn end_sessions(&self) -> anyhow::Result<i64> {
        let row = self
            .connect("counter")
            .await?
            .query_one(END_SESSIONS, &[])
            .await?;
        Ok(row.get(0))
    }

    /// Do something with the broker, off the async threads.
    pub(super) async fn broker(
        &mut self,
        act: impl FnOnce(&mut kafka_server::Server) + Send + 'static,
    ) -> anyhow::Result<()> {
        let mut broker = self.kafka.take().context("there is no broker")?;
        let broker = tokio::task::spawn_blocking(move || {
            act(&mut broker);
            broker
        });
        self.kafka = Some(broker.await?);
        Ok(())
    }

    /// The brokers, where there are any.
    pub(super) fn brokers(&self) -> Option<&str> {
        self.kafka.as_ref().map(kafka_server::Server::brokers)
    }

    /// The last lines of each host's log.
    pub(super) fn logs(&self) -> String {
        let tail = |host: &Host| {
            let log = host.log().unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines
                .iter()
                .rev()
                .take(40)
                .rev()
                .copied()
                .collect::<Vec<_>>()
                .join("\n")
        };
        let logs: Vec<String> = self.hosts.iter().flatten().map(tail).collect();
        logs.join("\n\n")
    }
}

/// The release after the counter's own: its migration, then its code; and back. Both have labels then.
async fn deploy_next(host: &Host) -> anyhow::Result<()> {
    let path = |rest: &str| format!("/admin/v1/components/counter/{rest}");
    let read = |file: &str| fs::read(file).with_context(|| format!("{file} cannot be read"));
    let sql = String::from_utf8(read(NEXT_MIGRATION)?)?;
    let migrate = json!({ "files": { "0002_last.sql": sql } }).to_string();
    let migrations = path("migrations");
    let sent = host.admin(Method::POST, &migrations, JSON, migrate.into_bytes());
    sent.await?;
    for (label, file) in [("v2", NEXT), ("v1", OWN)] {
        let path = path(&format!("versions?label={label}&migration=2"));
        host.admin(Method::POST, &path, "application/wasm", read(file)?)
            .await?;
    }
    Ok(())
}

const OWN: &str = "target/wasm32-wasip2/guest/counter.wasm";
const NEXT: &str = "target/wasm32-wasip2/guest/counter-next.wasm";
const NEXT_MIGRATION: &str = "components/test/counter-next/migrations/0002_last.sql";
const END_SESSIONS: &str = "
select count(pg_terminate_backend(pid)) from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid() and pid % 2 = 0";
const LOOK: Duration = Duration::from_millis(100);
