//! Calls of transactional interfaces as units of work.
//!
//! Promise: what the call did stands if and only if it answered without an error and its commit was acknowledged. A
//! conflict with another transaction is answered by doing all of it again. A call that is dropped leaves nothing: its
//! unit is dropped with it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use marquee_database::{Backoff, CommitError, Hang};
use marquee_manifest::ComponentId;
use marquee_runtime::{Body, Call, CallError, Discarded, Manner, is_error};
use wasmtime::component::Val;

use super::{config::Granted, dry_run::Borrowed, trace::commit, unit::UnitOfWork};

/// Opens, commits and rolls back.
pub struct Transactor {
    granted: BTreeMap<ComponentId, Granted>,
}

/// One try of a call.
enum Try {
    Done(Val),
    Conflict,
}

impl Transactor {
    /// The databases of components.
    pub fn new(granted: BTreeMap<ComponentId, Granted>) -> Self {
        Self { granted }
    }

    async fn once(
        granted: &Granted,
        component: &ComponentId,
        call: Call,
        body: &Body,
    ) -> Result<Try, CallError> {
        let shared = Arc::new(UnitOfWork::new(
            granted.database.unit().until(call.deadline),
        ));
        let trace = call.trace.clone();
        let result = body(call.with_unit(Arc::clone(&shared) as _)).await;
        let rolled_back = |reason: String, unavailable| CallError::RolledBack {
            component: component.clone(),
            reason,
            unavailable,
        };
        let Some(unit) = shared.take().await else {
            return Err(rolled_back("its unit of work was lost".to_owned(), false));
        };
        if unit.is_conflict() {
            unit.rollback().await;
            return Ok(Try::Conflict);
        }
        let value = match result {
            Ok(value) if !is_error(&value) => value,
            other => {
                unit.rollback().await;
                return other.map(Try::Done);
            }
        };
        if unit.has_failed() {
            let unavailable = unit.is_unavailable();
            unit.rollback().await;
            return Err(rolled_back(
                "it answered without an error after a statement had failed".to_owned(),
                unavailable,
            ));
        }
        let mut span = commit(&trace, granted.database.name());
        let committed = unit.commit().await;
        if let Err(error) = &committed {
            span.fail("commit", error.to_string());
        }
        match committed {
            Ok(()) => {
                if shared.has_published() {
                    (granted.poke)();
                }
                Ok(Try::Done(value))
            }
            Err(error) if error.is_conflict() => Ok(Try::Conflict),
            Err(CommitError::Unknown(reason)) => Err(CallError::Unknown {
                component: component.clone(),
                reason,
            }),
            Err(error) => Err(rolled_back(marquee_runtime::chain(&error), false)),
        }
    }
}

#[async_trait]
impl marquee_runtime::Transactor for Transactor {
    async fn run(&self, component: &ComponentId, call: Call, body: Body) -> Result<Val, CallError> {
        let conflict = || CallError::RolledBack {
            component: component.clone(),
            reason: "other transactions were in the way each time".to_owned(),
            unavailable: true,
        };
        let Some(granted) = self.granted.get(component) else {
            return Err(CallError::RolledBack {
                component: component.clone(),
                reason: "it has no database".to_owned(),
                unavailable: false,
            });
        };
        for attempt in 1..=TRIES {
            match Self::once(granted, component, call.clone(), &body).await? {
                Try::Done(value) => return Ok(value),
                Try::Conflict => {
                    tracing::debug!(%component, attempt, "a unit of work was in conflict and is done again");
                    let pause = BACKOFF.delay(attempt);
                    if attempt == TRIES || Instant::now() + pause >= call.deadline {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
        Err(conflict())
    }

    fn discard(
        &self,
        component: &ComponentId,
        call: &Call,
        manner: Manner,
    ) -> Option<Box<dyn Discarded>> {
        let granted = self.granted.get(component)?;
        let hang = match manner {
            Manner::Unit => Hang::Together,
            Manner::Alone => Hang::Alone,
        };
        let undone = granted.database.undone(call.deadline, hang);
        Some(Box::new(Borrowed::new(undone, call.dry_run.clone()?)))
    }
}

/// More conflicts in a row mean that the work is badly cut.
const TRIES: u32 = 4;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(60));
