//! The event path as a whole, for people: topics, consumers, and whether everything adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use marquee_bus::{Bus, Partition};
use marquee_database::Database;
use marquee_delivery::{
    Error,
    audit::{Audit, Check, Finding, audit},
    consumers::{self, Standing},
    identity::{self, Unattended},
    partition::State,
};
use marquee_manifest::{App, ComponentId};
use marquee_registry::{Choice, Weight};
use marquee_releases::Partitions;
use marquee_triggers::Watch;
use serde::Serialize;

/// Where events come from and go to. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    pub(crate) bus: Option<Arc<dyn Bus>>,
    /// Of all components.
    pub databases: Arc<[Database]>,
    checks: Arc<BTreeMap<String, Check>>,
    /// What this host does with its partitions.
    pub watch: Watch,
    plan: Arc<Plan>,
}

/// What the manifest says of them.
struct Plan {
    topics: BTreeMap<String, Ends>,
    /// What each component consumes.
    consumed: BTreeMap<ComponentId, BTreeSet<String>>,
    /// By consumer and topic: the name of the database.
    subscriptions: BTreeMap<(String, String), String>,
}

/// Both ends of a topic.
#[derive(Debug, Clone, Default, Serialize)]
struct Ends {
    published_by: BTreeSet<String>,
    consumed_by: BTreeSet<String>,
}

/// What an audit of all databases came to.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// Nothing was found.
    pub sound: bool,
    /// Of each database.
    pub databases: Vec<Audited>,
}

/// Of one of them.
#[derive(Debug, Serialize)]
pub struct Audited {
    /// Its name.
    pub database: String,
    /// What was found.
    #[serde(flatten)]
    pub audit: Audit,
    /// What waits for consumers that no component is. Each is a finding too.
    pub unattended: Vec<Unattended>,
}

/// A consumer of a topic.
#[derive(Debug, Serialize)]
pub struct ConsumerReport {
    /// Its name.
    pub database: String,
    /// Whether the manifest still has it.
    subscribed: bool,
    #[serde(flatten)]
    /// As its database has it.
    pub standing: Standing,
    /// What this host does with the partitions that it holds.
    pub(crate) here: BTreeMap<i32, State>,
}

/// A topic on the bus.
#[derive(Debug, Serialize)]
pub(crate) struct TopicReport {
    topic: String,
    #[serde(flatten)]
    ends: Ends,
    /// Messages that the bus has of it.
    messages: i64,
    partitions: Vec<TopicPartition>,
}

#[derive(Debug, Serialize)]
struct TopicPartition {
    partition: i32,
    begin: i64,
    end: i64,
}

impl Events {
    /// Those of an application; each database may have a check of its own, by its name.
    pub fn new(
        app: &App,
        databases: impl IntoIterator<Item = Database>,
        checks: BTreeMap<String, Check>,
        bus: Option<Arc<dyn Bus>>,
        watch: Watch,
    ) -> Self {
        let mut topics: BTreeMap<String, Ends> = BTreeMap::new();
        let mut subscriptions = BTreeMap::new();
        let mut consumed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for component in app.components.values() {
            for topic in &component.publish {
                let ends = topics.entry(topic.clone()).or_default();
                ends.published_by.insert(component.id.to_string());
            }
            for subscription in &component.subscriptions {
                let ends = topics.entry(subscription.topic.clone()).or_default();
                ends.consumed_by.insert(component.consumer().to_owned());
                let topics = consumed.entry(component.id.clone()).or_default();
                topics.insert(subscription.topic.clone());
                if let Some(database) = &component.database {
                    let place = (component.consumer().to_owned(), subscription.topic.clone());
                    subscriptions.insert(place, database.name.clone());
                }
            }
        }
        Self {
            bus,
            databases: databases.into_iter().collect(),
            checks: Arc::new(checks),
            watch,
            plan: Arc::new(Plan {
                topics,
                consumed,
                subscriptions,
            }),
        }
    }

    /// The database of that name.
    pub(crate) fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|it| it.name() == name)
    }

    /// The database of a subscription.
    pub(crate) fn of(&self, consumer: &str, topic: &str) -> Option<&Database> {
        let place = (consumer.to_owned(), topic.to_owned());
        self.database(self.plan.subscriptions.get(&place)?)
    }

    /// What waits in a database for consumers that no component is.
    pub(crate) async fn unattended(&self, database: &Database) -> Result<Vec<Unattended>, Error> {
        let subscribed = self.plan.subscriptions.keys();
        let subscribed: Vec<(&str, &str)> = subscribed
            .map(|(consumer, topic)| (consumer.as_str(), topic.as_str()))
            .collect();
        identity::unattended(database, &subscribed).await
    }

    /// Whether everything adds up, in all databases.
    pub async fn audit(&self) -> Result<AuditReport, Error> {
        let mut report = AuditReport {
            sound: true,
            databases: Vec::new(),
        };
        for database in self.databases.iter() {
            let mut audit = audit(database, self.bus.as_deref()).await?;
            if let Some(check) = self.checks.get(database.name()) {
                audit.findings.extend(check.findings(database).await?);
            }
            let unattended = self.unattended(database).await?;
            audit.findings.extend(unattended.iter().map(|it| Finding {
                place: format!("{}: {}", it.consumer, it.topic),
                what: it.to_string(),
            }));
            report.sound &= audit.findings.is_empty();
            report.databases.push(Audited {
                database: database.name().to_owned(),
                audit,
                unattended,
            });
        }
        Ok(report)
    }

    /// Those that have read something, and those that the manifest has.
    pub async fn consumers(&self) -> Result<Vec<ConsumerReport>, Error> {
        let mut missing = self.plan.subscriptions.clone();
        let mut all = Vec::new();
        for database in self.databases.iter() {
            for standing in consumers::standing(database, self.bus.as_deref()).await? {
                let place = (standing.consumer.clone(), standing.topic.clone());
                missing.remove(&place);
                let subscribed = self.plan.subscriptions.contains_key(&place);
                if !subscribed && standing.is_gone() {
                    continue;
                }
                let state = |number: i32| {
                    let topic = standing.topic.clone();
                    let partition = Partition { topic, number };
                    let state = self.watch.state(&standing.consumer, &partition)?;
                    Some((number, state))
                };
                all.push(ConsumerReport {
                    database: database.name().to_owned(),
                    subscribed,
                    here: standing
                        .partitions
                        .iter()
                        .filter_map(|it| state(it.partition))
                        .collect(),
                    standing,
                });
            }
        }
        let missing = missing
            .into_iter()
            .map(|((consumer, topic), database)| ConsumerReport {
                database,
                subscribed: true,
                standing: Standing::unseen(consumer, topic),
                here: BTreeMap::new(),
            });
        all.extend(missing);
        Ok(all)
    }

    /// What a canary of this weight gets of each topic that its component consumes, where the bus says how many partitions
    /// it has.
    pub(crate) async fn shares(&self, component: &ComponentId, weight: Weight) -> Vec<Partitions> {
        let mut shares = Vec::new();
        let topics = self.plan.consumed.get(component);
        let Some((bus, topics)) = self.bus.as_ref().zip(topics) else {
            return shares;
        };
        for topic in topics {
            let Ok(partitions) = bus.partitions(topic).await else {
                continue;
            };
            let partitions = u32::try_from(partitions).unwrap_or(0);
            shares.push(Partitions {
                topic: topic.clone(),
                partitions,
                canary: Choice::partitions(weight, partitions),
            });
        }
        shares
    }

    /// Those that the manifest names. Without a bus there are none.
    pub(crate) async fn topics(&self) -> Result<Vec<TopicReport>, Error> {
        let Some(bus) = &self.bus else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for (topic, ends) in &self.plan.topics {
            let partition = async |number: i32| {
                let topic = topic.clone();
                let log = bus.log(&Partition { topic, number }).await?;
                Ok::<_, Error>(TopicPartition {
                    partition: number,
                    begin: log.begin,
                    end: log.end,
                })
            };
            let numbers = stream::iter(0..bus.partitions(topic).await?);
            let partitions = numbers.map(partition).buffered(consumers::ASKED_AT_ONCE);
            let partitions: Vec<_> = partitions.try_collect().await?;
            all.push(TopicReport {
                topic: topic.clone(),
                ends: ends.clone(),
                messages: partitions.iter().map(|it| it.end - it.begin).sum(),
                partitions,
            });
        }
        Ok(all)
    }
}
