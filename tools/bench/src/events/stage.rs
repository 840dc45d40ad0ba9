//! The servers of a run, and a hand of our own on each.

use std::{path::PathBuf, sync::Arc};

use anyhow::ensure;
use marquee_bus::{Partition, embedded, kafka};
use marquee_database::{Config, Database, Secret};
use marquee_testkit::{PostgresServer, kafka_server};

use super::statements;
use crate::{
    host::Host,
    servers::{Bus, Connected},
};

/// Servers with databases, topics, and no host.
pub(crate) struct Stage {
    program: PathBuf,
    manifest: PathBuf,
    environment: Vec<(String, String)>,
    /// The bus, without a host.
    pub(crate) bus: Arc<dyn marquee_bus::Bus>,
    /// The component's database.
    pub(crate) counter: Database,
    postgres: PostgresServer,
    kafka: Option<kafka_server::Server>,
}

impl Stage {
    /// Start the servers, and make everything that a host would find.
    pub(crate) async fn set(
        program: PathBuf,
        manifest: PathBuf,
        bus: Bus,
        counts_statements: bool,
    ) -> anyhow::Result<Self> {
        let mut postgres = marquee_testkit::postgres().await;
        let mut environment = Vec::new();
        for name in ["counter", "bus", NATIVE] {
            postgres.create_database(name).await;
            let variable = format!("DATABASE_URL_{}", name.to_uppercase());
            environment.push((variable, postgres.url(name)));
        }
        if counts_statements {
            statements::enable(&mut postgres).await?;
        }
        let kafka = match bus {
            Bus::Embedded => None,
            Bus::Kafka => Some(marquee_testkit::broker().await),
        };
        let hand: Arc<dyn marquee_bus::Bus> = match &kafka {
            None => {
                let database = database("bus", &postgres)?;
                Arc::new(embedded::Embedded::open(database, embedded::Config::default()).await?)
            }
            Some(server) => {
                let brokers = server.brokers().to_owned();
                environment.push(("KAFKA_BROKERS".to_owned(), brokers.clone()));
                Arc::new(kafka::Kafka::new(kafka::Config::new(brokers))?)
            }
        };
        for topic in [TOPIC, DRAINED] {
            hand.ensure_topic(topic, PARTITIONS).await?;
        }
        let stage = Self {
            program,
            manifest,
            environment,
            bus: hand,
            counter: database("counter", &postgres)?,
            postgres,
            kafka,
        };
        stage.migrate().await?;
        Ok(stage)
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let migrated = tokio::process::Command::new(&self.program)
            .arg("migrate")
            .arg("--manifest")
            .arg(&self.manifest)
            .envs(self.environment.iter().cloned())
            .output()
            .await?;
        ensure!(
            migrated.status.success(),
            "the databases cannot be migrated: {}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        Ok(())
    }

    /// A host, serving. It ends when it is dropped.
    pub(crate) async fn host(&self) -> anyhow::Result<Host> {
        Host::start_with(&self.program, &self.manifest, &self.environment).await
    }

    /// A connection beside all pools.
    pub(crate) async fn connect(&self, name: &str) -> anyhow::Result<Connected> {
        Connected::to(&self.postgres.url(name)).await
    }

    /// The brokers, where there are any.
    pub(crate) fn brokers(&self) -> Option<&str> {
        self.kafka.as_ref().map(kafka_server::Server::brokers)
    }

    /// Where the partitions of the component's topic end.
    pub(crate) async fn ends(&self) -> anyhow::Result<Vec<i64>> {
        self.ends_of(TOPIC).await
    }

    /// Where a topic's partitions end.
    pub(crate) async fn ends_of(&self, topic: &str) -> anyhow::Result<Vec<i64>> {
        let mut ends = Vec::new();
        for number in 0..PARTITIONS {
            let topic = topic.to_owned();
            ends.push(self.bus.log(&Partition { topic, number }).await?.end);
        }
        Ok(ends)
    }

    /// Transactions in which something was applied.
    pub(crate) async fn batches(&self) -> anyhow::Result<f64> {
        let mut counter = self.counter.connection().await?;
        let rows = counter.query(BATCHES, &[]).await?;
        Ok(rows.first().map_or(0.0, |row| row.get(0)))
    }
}

fn database(name: &str, postgres: &PostgresServer) -> anyhow::Result<Database> {
    let url = Secret::new(postgres.url(name));
    Ok(Database::new(&Config::new(name, url))?)
}

/// What the component consumes.
pub(crate) const TOPIC: &str = "numbers";
/// What nobody does.
pub(crate) const DRAINED: &str = "drained";
/// As the host makes them where the manifest says nothing.
pub(crate) const PARTITIONS: i32 = 8;
/// The database of the programs without a host.
pub(crate) const NATIVE: &str = "native";
const BATCHES: &str = "select count(distinct xmin::text)::float8 from seen";
