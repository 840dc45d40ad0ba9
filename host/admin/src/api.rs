//! What the API tells of and changes: the state that all its routes share.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::FromRef};
use marquee_database::Database;
use marquee_manifest::ComponentId;
use marquee_problem::{NO_SUCH_RESOURCE, UNAVAILABLE};
use marquee_releases::{ComponentReport, Error, Releases};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    console::{Console, sessions::Sessions},
    events::Events,
    health::Health,
    metrics::Metrics,
    peer::Token,
    problem::{self, Problem},
};

/// The API of a host. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) releases: Releases,
    pub(crate) console: Console,
    pub(crate) sessions: Sessions,
    pub(crate) events: Events,
    /// Of each component that has one.
    pub(crate) databases: Arc<BTreeMap<ComponentId, Database>>,
    health: Health,
    pub(crate) metrics: Metrics,
    /// None: there is no API over TCP.
    pub(crate) token: Option<Token>,
    uploads: Arc<Semaphore>,
}

impl FromRef<Api> for Health {
    fn from_ref(api: &Api) -> Self {
        api.health.clone()
    }
}

pub(crate) type Answer<T> = Result<Json<T>, Problem>;

impl Api {
    /// What it tells of and changes. Without a token it is not for who asks over TCP.
    pub fn new(
        releases: Releases,
        console: Console,
        events: Events,
        databases: BTreeMap<ComponentId, Database>,
        health: Health,
        metrics: Metrics,
        token: Option<Token>,
    ) -> Self {
        Self {
            releases,
            console,
            sessions: Sessions::default(),
            events,
            databases: Arc::new(databases),
            health,
            metrics,
            token,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
        }
    }

    /// A place for the bytes of a version that come.
    pub(crate) fn upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.uploads).try_acquire_owned();
        place.map_err(|_| {
            let detail = "other versions are being deployed; try again when they are";
            UNAVAILABLE.with(detail).into()
        })
    }

    /// Take a step with a component, and tell how it stands then. A client that goes away does not stop it half-way.
    pub(crate) async fn step<T: Send + 'static, F>(
        &self,
        id: ComponentId,
        step: impl FnOnce(Releases, ComponentId) -> F,
    ) -> Answer<ComponentReport>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let taken = step(self.releases.clone(), id.clone());
        self.releases.carry_out(taken).await?;
        self.report(&id).await
    }

    pub(crate) async fn report(&self, id: &ComponentId) -> Answer<ComponentReport> {
        let mut found = self.reports(Some(id)).await?;
        found.pop().map(Json).ok_or_else(problem::nothing)
    }

    pub(crate) async fn reports(
        &self,
        id: Option<&ComponentId>,
    ) -> Result<Vec<ComponentReport>, Problem> {
        let mut found = self.releases.report(id).await?;
        for report in &mut found {
            if let Some(weight) = report.canary() {
                report.shares = self.events.shares(&report.component, weight).await;
            }
        }
        Ok(found)
    }

    /// The database of that name.
    pub(crate) fn database(&self, name: &str) -> Result<&Database, Problem> {
        self.events.database(name).ok_or_else(|| {
            NO_SUCH_RESOURCE
                .with(format!("the application has no database {name}"))
                .into()
        })
    }
}

/// Each takes its size in memory, and a compiler.
const UPLOADS: usize = 4;
