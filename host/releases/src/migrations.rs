//! Migrations of a release: what expands a component's tables before its new version is live, and what takes away later
//! what no version uses any more.
//!
//! Promise: before a version is live that needs them, files are run that say of themselves that what is live goes on working.
//! One that takes something away is run only when every version that is live was released with it, on every host that is
//! there; from then on no other one is live again, and that is written before the file is run. Two who do either at once
//! wait for each other (a lock in the database), and each file is run once. Not here: reading files, and whether what they
//! say of themselves is so.

use futures::FutureExt as _;
use marquee_database::{Database, Migrations, migrate::MigrateError};
use marquee_manifest::ComponentId;
use marquee_registry::{States, together};

use super::{Error, Inner, Releases, step::Step};

impl Releases {
    /// Run what is missing and expands; the names of what was run.
    pub async fn expand(
        &self,
        who: &str,
        component: &ComponentId,
        migrations: &Migrations,
        database: &Database,
    ) -> Result<Vec<String>, Error> {
        self.0.component(component)?;
        let step = self.0.step(who, component, "expand").await;
        let run = self.0.bounded(&step, run(migrations.expand(database)));
        let run = run.await;
        self.0.migrated(step, run).await
    }

    /// Run what takes something away; the names of what was run.
    pub async fn contract(
        &self,
        who: &str,
        component: &ComponentId,
        migrations: &Migrations,
        database: &Database,
    ) -> Result<Vec<String>, Error> {
        self.0.component(component)?;
        let Some(newest) = migrations.newest_contraction()? else {
            return Ok(Vec::new());
        };
        let step = self.0.step(who, component, "contract").await;
        let run = self.0.contract(&step, newest, migrations, database).await;
        self.0.migrated(step, run).await
    }
}

async fn run(
    work: impl Future<Output = Result<Vec<String>, MigrateError>>,
) -> Result<Vec<String>, Error> {
    Ok(work.await?)
}

impl Inner {
    async fn contract(
        &self,
        step: &Step<'_>,
        newest: i32,
        migrations: &Migrations,
        database: &Database,
    ) -> Result<Vec<String>, Error> {
        let contract = |states: &States| together::each(states, |_, state| state.contract(newest));
        self.take(step, contract).await?;
        self.is_everywhere(step).await?;
        self.bounded(step, run(migrations.contract(database))).await
    }

    /// Wait until no host has calls of a version that is not live any more.
    async fn is_everywhere(&self, step: &Step<'_>) -> Result<(), Error> {
        for id in &step.components {
            for version in self.draining.of(id) {
                let ended = self.draining.ended(&version).map(Ok);
                self.bounded(step, ended).await?;
            }
        }
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        let all = self.everywhere(ledger).await?;
        self.bounded(step, self.settled(step, ledger, &all)).await
    }

    /// Into the history, if anything was run or could not be.
    async fn migrated(
        &self,
        mut step: Step<'_>,
        run: Result<Vec<String>, Error>,
    ) -> Result<Vec<String>, Error> {
        if run.as_ref().is_ok_and(Vec::is_empty) {
            return run;
        }
        let states = self.states(&step).await?;
        let (names, result) = match run {
            Ok(names) => (names, Ok(states)),
            Err(error) => (Vec::new(), Err(error)),
        };
        step.also = format!("applied {}; ", names.join(", "));
        self.end(step, result).await.map(|_| names)
    }
}
