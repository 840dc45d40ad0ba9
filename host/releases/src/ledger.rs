//! The ledger: what should be live, in PostgreSQL, for all hosts of an application.
//!
//! Promise: a step is one revision, written by compare-and-set with the bytes of the versions that it needs: it stands whole
//! or not at all, and of two that are taken at once one stands and the other is told. Nothing is pushed: hosts ask for the
//! revision, which also works through a pooler and needs no second connection. Not here: making a state take effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use marquee_database::{CommitError, Database, Migrations, Unit, migrate::MigrateError};
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Event, State};
use marquee_runtime::Health;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{Error, LedgerError, Signature, Versions, versions::Stored};

/// The ledger of an application, as one of its hosts has it. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    database: Database,
    application: String,
    /// Of this host, since its start.
    host: String,
    /// For people.
    name: String,
}

/// What changed since a revision.
pub(crate) struct News {
    pub(crate) revision: i64,
    pub(crate) changes: Vec<Change>,
}

/// The state of a component.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) component: ComponentId,
    pub(crate) state: State,
    pub(crate) health: Health,
    /// The step that brought it; 0 before it is written.
    pub(crate) revision: i64,
}

/// A host of the application, by what it said last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostReport {
    /// Its id, another one at each start.
    pub id: String,
    /// Its machine and the address of its admin API.
    pub host: String,
    /// How long ago it said so, in milliseconds.
    pub seen_ms_ago: u64,
    /// It has done all that it can of the steps up to this one.
    pub revision: i64,
    /// Components whose state it cannot make live, and why.
    pub failing: BTreeMap<String, String>,
    /// `current`, `behind` (it has steps to take), `failing`, or `silent` for longer than a host that works is.
    pub state: String,
}

impl HostReport {
    /// Whether it was heard of lately.
    pub(crate) fn is_there(&self) -> bool {
        Duration::from_millis(self.seen_ms_ago) < SILENT
    }
}

impl Ledger {
    /// Install or migrate the schema. The name of the host is for people.
    pub async fn open(
        database: Database,
        application: &str,
        name: String,
    ) -> Result<Self, MigrateError> {
        let first = include_str!("../schema/0001_releases.sql");
        let migrations = Migrations::built_in("releases", &[("0001_releases.sql", first)])?;
        migrations.apply(&database).await?;
        Ok(Self {
            database,
            application: application.to_owned(),
            host: Uuid::now_v7().to_string(),
            name,
        })
    }

    /// The id of this host.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What changed since this revision.
    pub(crate) async fn news(&self, since: i64) -> Result<News, LedgerError> {
        let mut connection = self.database.connection().await?;
        let rows = connection.query(NEWS, &[&self.application, &since]).await?;
        let mut news = News {
            revision: rows.first().map_or(0, |row| row.get(0)),
            changes: Vec::new(),
        };
        for row in rows {
            // A release with other rules may have written the name; no component of this host's has it.
            let component: Option<String> = row.get(1);
            let Some(component) = component.and_then(|name| name.parse().ok()) else {
                continue;
            };
            let state = serde_json::from_value(row.get(2));
            news.changes.push(Change {
                state: state.map_err(|source| LedgerError::strange(&component, source))?,
                component,
                health: match row.get(3) {
                    true => Health::Forced,
                    false => Health::Asked,
                },
                revision: row.get(4),
            });
        }
        Ok(news)
    }

    /// Write states as the revision after `from`, with the versions that they need. None: another step was taken since.
    pub(crate) async fn commit(
        &self,
        from: i64,
        changes: &[Change],
        versions: &Versions,
    ) -> Result<Option<i64>, Error> {
        let mut unit = self.database.unit();
        match self.write(&mut unit, from, changes, versions).await {
            Ok(true) => {}
            Ok(false) => {
                unit.rollback().await;
                return Ok(None);
            }
            Err(error) => {
                unit.rollback().await;
                return Err(error);
            }
        }
        let revision = from + 1;
        match unit.commit().await {
            Ok(()) => Ok(Some(revision)),
            // What is written there now tells.
            Err(CommitError::Unknown(_)) => {
                let news = self.news(from).await?;
                let stands = changes.iter().all(|ours| {
                    let same = |it: &&Change| it.component == ours.component;
                    let theirs = news.changes.iter().find(same);
                    theirs.is_some_and(|theirs| theirs.state == ours.state)
                });
                Ok(stands.then_some(revision))
            }
            Err(error) => Err(LedgerError::from(error).into()),
        }
    }

    async fn write(
        &self,
        unit: &mut Unit,
        from: i64,
        changes: &[Change],
        versions: &Versions,
    ) -> Result<bool, Error> {
        let application = &self.application;
        if from == 0 {
            let begun = unit.execute(BEGIN, &[application]).await;
            begun.map_err(LedgerError::from)?;
        }
        // From here on nobody else takes a step, or removes a version.
        let stepped = unit.execute(STEP, &[application, &from]).await;
        if stepped.map_err(LedgerError::from)? == 0 {
            return Ok(false);
        }
        for change in changes {
            let (id, state) = (&change.component, &change.state);
            let component = id.to_string();
            let text = serde_json::to_value(state);
            let text = text.map_err(|source| LedgerError::strange(id, source))?;
            let forced = change.health == Health::Forced;
            let revision = from + 1;
            let row: [&(dyn ToSql + Sync); 5] =
                [application, &component, &revision, &text, &forced];
            let set = unit.execute(SET, &row).await;
            set.map_err(LedgerError::from)?;

            let needed: BTreeSet<Digest> = state.needed().map(|(digest, _)| digest).collect();
            let names: Vec<&[u8]> = needed.iter().map(|it| it.as_bytes()).collect();
            let has = unit.query(HAS, &[application, &component, &names]).await;
            let has = has.map_err(LedgerError::from)?;
            let has: BTreeSet<Vec<u8>> = has.iter().map(|row| row.get(0)).collect();
            for digest in needed {
                let name = digest.as_bytes();
                if has.contains(name) {
                    // It may have been brought before somebody vouched for it.
                    if let Some(signature) = versions.signature(digest).await? {
                        let signature = signature.as_bytes();
                        let row: [&(dyn ToSql + Sync); 4] =
                            [application, &component, &name, &signature];
                        let signed = unit.execute(SIGN, &row).await;
                        signed.map_err(LedgerError::from)?;
                    }
                    continue;
                }
                let Some(stored) = versions.stored(id, digest).await? else {
                    // What is not live may have gone.
                    continue;
                };
                let signature = stored.signature.as_ref().map(Signature::as_bytes);
                let row: [&(dyn ToSql + Sync); 6] = [
                    application,
                    &component,
                    &name,
                    &stored.bytes,
                    &stored.by,
                    &signature,
                ];
                let put = unit.execute(PUT, &row).await;
                put.map_err(LedgerError::from)?;
            }
        }
        Ok(true)
    }

    /// The versions of a component that it has, the newest first.
    pub(crate) async fn versions(
        &self,
        component: &ComponentId,
    ) -> Result<Vec<Digest>, LedgerError> {
        let mut connection = self.database.connection().await?;
        let component = component.to_string();
        let rows = connection
            .query(VERSIONS, &[&self.application, &component])
            .await?;
        let names = rows.iter().map(|row| row.get::<_, Vec<u8>>(0));
        Ok(names.filter_map(|name| Digest::named(&name)).collect())
    }

    /// A version.
    pub(crate) async fn version(
        &self,
        component: &ComponentId,
        digest: Digest,
    ) -> Result<Stored, LedgerError> {
        let mut connection = self.database.connection().await?;
        let component = component.to_string();
        let name = digest.as_bytes();
        let rows = connection
            .query(VERSION, &[&self.application, &component, &name])
            .await?;
        let row = rows.first().ok_or(LedgerError::Missing(digest))?;
        let bytes: Vec<u8> = row.get(0);
        if Digest::of(&bytes) != digest {
            return Err(LedgerError::Changed(digest));
        }
        let signature: Option<Vec<u8>> = row.get(2);
        Ok(Stored {
            bytes,
            by: row.get(1),
            signature: signature.as_deref().and_then(Signature::of),
        })
    }

    /// Remove the bytes of all versions but the newest `keep` of each component and those that are needed, as it is known from
    /// a revision; if another step was taken since, nothing.
    pub(crate) async fn collect(
        &self,
        revision: i64,
        keep: usize,
        needed: impl IntoIterator<Item = Digest>,
    ) -> Result<(), LedgerError> {
        let needed: Vec<Digest> = needed.into_iter().collect();
        let needed: Vec<&[u8]> = needed.iter().map(|it| it.as_bytes()).collect();
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let mut connection = self.database.connection().await?;
        connection
            .execute(COLLECT, &[&self.application, &revision, &keep, &needed])
            .await?;
        Ok(())
    }

    /// Add an event to the history of all hosts.
    pub(crate) async fn add(&self, event: &Event) -> Result<(), LedgerError> {
        let component = event.component.to_string();
        let text = serde_json::to_value(event);
        let text = text.map_err(|source| LedgerError::strange(&event.component, source))?;
        let mut connection = self.database.connection().await?;
        connection
            .execute(ADD, &[&self.application, &component, &text])
            .await?;
        Ok(())
    }

    /// The newest events, newest first.
    pub(crate) async fn newest(
        &self,
        count: usize,
        component: Option<&ComponentId>,
    ) -> Result<Vec<Event>, LedgerError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let component = component.map(ToString::to_string);
        let mut connection = self.database.connection().await?;
        let rows = connection
            .query(EVENTS, &[&self.application, &component, &count])
            .await?;
        let events = rows.iter().map(|row| row.get::<_, serde_json::Value>(0));
        // What a later release wrote may say more than this one understands.
        Ok(events
            .filter_map(|it| serde_json::from_value(it).ok())
            .collect())
    }

    /// Say how far this host has come.
    pub(crate) async fn beat(
        &self,
        revision: i64,
        failing: &BTreeMap<ComponentId, String>,
    ) -> Result<(), LedgerError> {
        let failing: serde_json::Map<String, serde_json::Value> = failing
            .iter()
            .map(|(id, why)| (id.to_string(), why.clone().into()))
            .collect();
        let failing = serde_json::Value::from(failing);
        let mut connection = self.database.connection().await?;
        let (application, host, name) = (&self.application, &self.host, &self.name);
        connection
            .execute(BEAT, &[application, host, name, &revision, &failing])
            .await?;
        Ok(())
    }

    /// This host is going.
    pub(crate) async fn leave(&self) -> Result<(), LedgerError> {
        let mut connection = self.database.connection().await?;
        connection
            .execute(LEAVE, &[&self.application, &self.host])
            .await?;
        Ok(())
    }

    /// The hosts, by name.
    pub(crate) async fn hosts(&self) -> Result<Vec<HostReport>, LedgerError> {
        let mut connection = self.database.connection().await?;
        let rows = connection.query(HOSTS, &[&self.application]).await?;
        let reports = rows.iter().map(|row| {
            let failing = serde_json::from_value(row.get(4)).unwrap_or_default();
            let (revision, newest): (i64, i64) = (row.get(3), row.get(5));
            let mut report = HostReport {
                id: row.get(0),
                host: row.get(1),
                seen_ms_ago: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
                revision,
                failing,
                state: String::new(),
            };
            let state = match () {
                () if !report.is_there() => "silent",
                () if !report.failing.is_empty() => "failing",
                () if revision < newest => "behind",
                () => "current",
            };
            state.clone_into(&mut report.state);
            report
        });
        Ok(reports.collect())
    }
}

/// Of a host that works: it says something each second.
pub(crate) const SILENT: Duration = Duration::from_secs(10);

const NEWS: &str = "\
select a.revision, c.component, c.state, c.forced, c.revision
from marquee_releases.applications a
left join marquee_releases.components c on c.application = a.name and c.revision > $2
where a.name = $1";
const VERSIONS: &str = "\
select digest from marquee_releases.versions where application = $1 and component = $2 order by stored_at desc";
const HAS: &str = "\
select digest from marquee_releases.versions where application = $1 and component = $2 and digest = any($3)";
const BEGIN: &str = "\
insert into marquee_releases.applications (name) values ($1) on conflict do nothing";
const STEP: &str = "\
update marquee_releases.applications set revision = revision + 1 where name = $1 and revision = $2";
const SET: &str = "\
insert into marquee_releases.components (application, component, revision, state, forced)
values ($1, $2, $3, $4, $5)
on conflict (application, component)
do update set revision = excluded.revision, state = excluded.state, forced = excluded.forced";
const PUT: &str = "\
insert into marquee_releases.versions (application, component, digest, bytes, stored_by, signature)
values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
const SIGN: &str = "\
update marquee_releases.versions set signature = $4
where application = $1 and component = $2 and digest = $3 and signature is distinct from $4";
const VERSION: &str = "\
select bytes, stored_by, signature from marquee_releases.versions where application = $1 and component = $2 and digest = $3";
const COLLECT: &str = "\
with known as (
    select from marquee_releases.applications where name = $1 and revision = $2 for update
), old as (
    select component, digest, row_number() over (partition by component order by stored_at desc) as nth
    from marquee_releases.versions where application = $1
)
delete from marquee_releases.versions v using old
where exists (select from known) and v.application = $1 and v.component = old.component and v.digest = old.digest
and old.nth > $3 and v.digest <> all($4)";
const ADD: &str = "\
insert into marquee_releases.events (application, component, event) values ($1, $2, $3)";
const EVENTS: &str = "\
select event from marquee_releases.events
where application = $1 and ($2::text is null or component = $2 or (event -> 'with') ? $2) order by id desc limit $3";
const BEAT: &str = "\
with gone as (
    delete from marquee_releases.hosts where application = $1 and seen_at < now() - interval '1 hour'
)
insert into marquee_releases.hosts (application, id, name, revision, failing) values ($1, $2, $3, $4, $5)
on conflict (application, id)
do update set seen_at = now(), name = excluded.name, revision = excluded.revision, failing = excluded.failing";
const LEAVE: &str = "delete from marquee_releases.hosts where application = $1 and id = $2";
const HOSTS: &str = "\
select h.id, h.name, (extract(epoch from now() - h.seen_at) * 1000)::bigint, h.revision, h.failing,
    coalesce(a.revision, 0)
from marquee_releases.hosts h left join marquee_releases.applications a on a.name = h.application
where h.application = $1 order by h.name, h.id";
