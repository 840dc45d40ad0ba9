//! The application's databases: given by URL, or in a PostgreSQL of the host's own.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use marquee_database::{Config, Database, Migrations, Secret, Unfit};
use marquee_delivery::{audit::Check, identity};
use marquee_manifest::{App, Component, ComponentId, Outside, Subscription};

use crate::settings::{Set, Settings};

/// What the application keeps its data in.
pub(crate) struct Databases {
    /// Of each component that has one.
    pub(crate) by_component: BTreeMap<ComponentId, Database>,
    /// The application's own audits, by the database's name.
    pub(crate) checks: BTreeMap<String, Check>,
    /// Where the embedded bus lives, where it is used.
    pub(crate) bus: Option<Database>,
    /// Where all hosts of the application have what should be live. None: each host has its own. Never beside the data of
    /// a component: whoever may write there decides which code runs.
    pub(crate) releases: Option<Database>,
    /// The server that the host has started, or found running, for those without a URL.
    pub(crate) embedded: Option<marquee_embedded::Server>,
}

impl Databases {
    /// Start what is missing, connect nothing yet.
    pub(crate) async fn open(app: &App, settings: &Settings) -> anyhow::Result<Self> {
        let owners: Vec<&Component> = app
            .load_order()
            .into_iter()
            .filter(|c| c.database.is_some())
            .collect();
        let names: Vec<&str> = owners
            .iter()
            .filter_map(|c| Some(c.database.as_ref()?.name.as_str()))
            .collect();
        let given: BTreeMap<&str, Option<Set<Secret>>> = names
            .iter()
            .map(|name| (*name, settings.database_url(name)))
            .collect();
        let bus_needed = app.outside() == Outside::Bus && settings.kafka_brokers.is_none();

        let embedded = if given.values().any(Option::is_none) {
            let folder = settings.data.value.join("postgres");
            let server =
                marquee_embedded::Server::start(marquee_embedded::Options::new(folder)).await;
            Some(server.context(
                "the embedded PostgreSQL cannot be started; DATABASE_URL_... names another one",
            )?)
        } else {
            None
        };
        let mut urls = BTreeMap::new();
        for (name, url) in given {
            let url = match (url, &embedded) {
                (Some(url), _) => url.value,
                (None, Some(server)) => local(server, name).await?,
                (None, None) => continue,
            };
            urls.insert(name, url);
        }
        let bus_url = match (&settings.bus_database, &embedded) {
            _ if !bus_needed => None,
            (Some(url), _) => Some(url.value.clone()),
            (None, Some(server)) => Some(local(server, "bus").await?),
            // All databases were given: the log lives beside the first one's data, in a schema of its own.
            (None, None) => urls.values().next().cloned(),
        };

        let releases_url = match (settings.database_url("releases"), &embedded) {
            (Some(url), _) => Some(url.value),
            (None, Some(server)) => Some(local(server, "releases").await?),
            (None, None) => None,
        };

        let mut by_component = BTreeMap::new();
        let mut checks = BTreeMap::new();
        for component in owners {
            let Some(own) = &component.database else {
                continue;
            };
            let Some(url) = urls.get(own.name.as_str()) else {
                continue;
            };
            if let Some(path) = &own.audit {
                checks.insert(own.name.clone(), check(settings.root(), path)?);
            }
            let mut config = Config::new(&own.name, url.clone());
            config.pool_size = own.pool_size;
            by_component.insert(component.id.clone(), Database::new(&config)?);
        }
        let bus = bus_url
            .map(|url| Database::new(&Config::new("bus", url)))
            .transpose()?;
        let releases = releases_url.map(|url| {
            let mut config = Config::new("releases", url);
            config.pool_size = RELEASES_POOL;
            Database::new(&config)
        });
        let releases = releases.transpose()?;
        Ok(Self {
            by_component,
            checks,
            bus,
            releases,
            embedded,
        })
    }

    /// Apply the host's schema and each component's own migrations; then its audit has to suit them.
    pub(crate) async fn migrate(
        &self,
        app: &App,
        settings: &Settings,
    ) -> anyhow::Result<Vec<String>> {
        let ours = marquee_delivery::migrations()?;
        // All are read before any is applied.
        let theirs = self.migrations(app, settings)?;
        let mut applied = Vec::new();
        for (id, database) in &self.by_component {
            let name = database.name();
            let failed = || format!("database {name} cannot be migrated");
            applied.extend(labelled(
                name,
                ours.apply(database).await.with_context(failed)?,
            ));
            if let Some(migrations) = theirs.get(id) {
                applied.extend(labelled(
                    name,
                    migrations.apply(database).await.with_context(failed)?,
                ));
            }
            if let Some(check) = self.checks.get(name) {
                check.verify(database).await?;
            }
        }
        Ok(applied)
    }

    /// Each component's own migrations.
    fn migrations<'a>(
        &'a self,
        app: &App,
        settings: &Settings,
    ) -> anyhow::Result<BTreeMap<&'a ComponentId, Migrations>> {
        let root = settings.root();
        let mut theirs = BTreeMap::new();
        for (id, database) in &self.by_component {
            let own = app
                .components
                .get(id)
                .and_then(|component| component.database.as_ref());
            if let Some(folder) = own.and_then(|own| own.migrations.as_ref()) {
                let audit = own.and_then(|own| own.audit.as_ref());
                let audit = audit.map(|path| root.join(path));
                let read =
                    Migrations::from_folder(database.name(), &root.join(folder), audit.as_deref());
                theirs.insert(id, read?);
            }
        }
        Ok(theirs)
    }

    /// The number of the newest migration of each component that has any.
    pub(crate) fn newest_migrations(
        &self,
        app: &App,
        settings: &Settings,
    ) -> anyhow::Result<BTreeMap<ComponentId, i32>> {
        let theirs = self.migrations(app, settings)?.into_iter();
        Ok(theirs.map(|(id, it)| (id.clone(), it.newest())).collect())
    }

    /// Refuse a database that cannot keep what the host promises.
    pub(crate) async fn check(&self, settings: &Settings) -> anyhow::Result<()> {
        for database in self.all() {
            let name = database.name();
            let unfit = database.unfit().await;
            let unfit = unfit.with_context(|| format!("database {name} cannot be looked at"))?;
            for fault in unfit {
                let is_allowed = settings.allow_unsafe_database.value;
                if matches!(fault, Unfit::Forgetful(_)) && is_allowed {
                    tracing::warn!(database = name, "the database {fault}");
                    continue;
                }
                anyhow::bail!("database {name} {fault}; {}", remedy(&fault));
            }
        }
        Ok(())
    }

    /// Refuse a consumer that is most likely another one with a new name: everything would be applied once more. The
    /// manifest says which it is.
    pub(crate) async fn check_identities(&self, app: &App) -> anyhow::Result<()> {
        for component in app.load_order() {
            let (None, Some(database)) = (
                &component.said_consumer,
                self.by_component.get(&component.id),
            ) else {
                continue;
            };
            let (id, name) = (&component.id, database.name());
            for Subscription { topic, .. } in &component.subscriptions {
                let consumes =
                    |it: &&Component| it.subscriptions.iter().any(|of| of.topic == *topic);
                let others = app.components.values().filter(consumes);
                let others: Vec<&str> = others.map(Component::consumer).collect();
                let consumer = component.consumer();
                let before = identity::predecessors(database, consumer, topic, &others);
                let before = before.await.with_context(|| {
                    format!("the consumers of database {name} cannot be asked for")
                })?;
                if let Some(before) = before.first() {
                    anyhow::bail!(
                        "component {id} would begin topic {topic} anew: in database {name} it was read by consumer {before}, which no \
                         component is any more, and what that one has applied would be applied again. In \
                         [component.{id}.tool.marquee] say `consumer = \"{before}\"` if this is the same one by another name: it \
                         goes on where it was; or `consumer = \"{id}\"` if it is not"
                    );
                }
            }
        }
        Ok(())
    }

    /// Where each database is, in words, without secrets.
    pub(crate) fn describe(&self, settings: &Settings) -> Vec<(String, String)> {
        let all = self.by_component.values().map(|database| {
            let place = match settings.database_url(database.name()) {
                Some(Set { source, .. }) => format!("PostgreSQL ({source})"),
                None => "embedded PostgreSQL".to_owned(),
            };
            (database.name().to_owned(), place)
        });
        all.collect()
    }

    /// Those of the host beside those of components.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Database> {
        let components = self.by_component.values();
        components.chain(&self.bus).chain(&self.releases)
    }

    /// Close every pool, then stop the server that is the host's own.
    pub(crate) async fn close(self) {
        for database in self.all() {
            database.close().await;
        }
        if let Some(server) = self.embedded
            && let Err(error) = server.stop().await
        {
            tracing::warn!(%error, "the embedded PostgreSQL did not stop as it should");
        }
    }
}

/// A look, a beat, a step and somebody who asks.
const RELEASES_POOL: usize = 4;

/// What a person can do about it.
fn remedy(fault: &Unfit) -> &'static str {
    match fault {
        Unfit::Forgetful(_) => {
            "turn it on, or say --allow-unsafe-database where nothing may be lost that counts"
        }
        Unfit::Encoding(_) => {
            "make another one, `create database NAME encoding 'UTF8' template template0`, and bring over what is in it"
        }
        Unfit::Deaf(_) => {
            "give the address of PostgreSQL itself, or of a pooler in session mode that passes on `options`"
        }
        Unfit::Shared => "give the address of PostgreSQL itself, or of a pooler in session mode",
    }
}

fn check(root: &Path, path: &Path) -> anyhow::Result<Check> {
    let place = path.display().to_string();
    let text = std::fs::read_to_string(root.join(path))
        .with_context(|| format!("the audit {place} cannot be read"))?;
    Ok(Check::new(place, &text)?)
}

async fn local(server: &marquee_embedded::Server, name: &str) -> anyhow::Result<Secret> {
    server
        .create_database(name)
        .await
        .with_context(|| format!("database {name} cannot be created"))?;
    Ok(Secret::new(server.url(name)))
}

fn labelled(database: &str, names: Vec<String>) -> impl Iterator<Item = String> {
    names
        .into_iter()
        .map(move |name| format!("{database}: {name}"))
}
