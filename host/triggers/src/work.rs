//! One call of a component in a unit of work that the trigger began.
//!
//! What the call failed of is told apart by whose fault it was: the call's, another transaction's (again), or the
//! world's (wait). A session that ends late in a call is the call's doing: whatever ends sessions that work for long would
//! end the same call's each time. On a refusal the unit was rolled back. After a commit in which something was published or
//! touched, those are told whom it concerns.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_capabilities::postgres::{self, Poke, UnitOfWork};
use marquee_database::{Backoff, CommitError, Database, Unit};
use marquee_manifest::ComponentId;
use marquee_runtime::{Call, CallError, Runtime};
use marquee_telemetry::traces::Trace;

/// Calls a component in units of work of its database.
pub struct Worker {
    /// Runs it.
    pub runtime: Runtime,
    /// The component.
    pub component: ComponentId,
    /// Its database.
    pub database: Database,
    /// Called once what it published or touched stands.
    pub poke: Poke,
}

/// A unit in which the component has done its part.
pub(crate) struct Work {
    pub(crate) unit: Unit,
    published: Option<Poke>,
    time: Time,
    trace: Trace,
}

/// How long a call has taken of what it may.
#[derive(Clone, Copy)]
struct Time {
    begun: Instant,
    half: Duration,
}

/// Why a call came to nothing.
pub(crate) enum Refusal {
    /// Another transaction was in the way: the same again, at once.
    Conflict,
    /// The component failed.
    Failed(String),
    /// No fault of the call.
    Error(marquee_delivery::Error),
}

impl Worker {
    /// Make a call in this unit. `body` makes it; its inner error is the component's own.
    pub(crate) async fn run<T>(
        &self,
        unit: Unit,
        call: Call,
        body: impl AsyncFnOnce(Call) -> Result<Result<T, String>, CallError>,
    ) -> Result<(Work, T), Refusal> {
        let begun = Instant::now();
        let half = call.deadline.saturating_duration_since(begun) / 2;
        let time = Time { begun, half };
        let trace = call.trace.clone();
        let lent = Arc::new(UnitOfWork::new(unit));
        let answer = body(call.with_unit(Arc::clone(&lent) as _)).await;
        let Some(unit) = lent.take().await else {
            return Err(Refusal::Failed(
                "the unit of work was lost with the call".to_owned(),
            ));
        };
        let failure = match answer {
            Ok(Ok(_)) if unit.has_failed() => {
                "it succeeded after a statement had failed".to_owned()
            }
            Ok(Ok(value)) => {
                let published = lent.has_published().then(|| Arc::clone(&self.poke));
                let work = Work {
                    unit,
                    published,
                    time,
                    trace,
                };
                return Ok((work, value));
            }
            Ok(Err(error)) => error,
            Err(
                error @ (CallError::Overloaded(_)
                | CallError::NoRoom(_)
                | CallError::Cancelled(_)
                | CallError::UnknownComponent(_)),
            ) => {
                unit.rollback().await;
                return Err(Refusal::Error(self.away(error.to_string())));
            }
            Err(error) => marquee_runtime::chain(&error),
        };
        let (conflict, unavailable) = (unit.is_conflict(), unit.is_unavailable());
        unit.rollback().await;
        Err(if conflict {
            Refusal::Conflict
        } else if unavailable {
            time.lost(&failure)
                .unwrap_or_else(|| Refusal::Error(self.away(failure)))
        } else {
            Refusal::Failed(failure)
        })
    }

    /// No fault of the call: wait.
    pub(crate) fn away(&self, reason: String) -> marquee_delivery::Error {
        let database = self.database.name().to_owned();
        CommitError::RolledBack(marquee_database::Error::Unavailable { database, reason }).into()
    }
}

impl Work {
    /// Work without a call.
    pub(crate) fn none(unit: Unit) -> Self {
        let time = Time {
            begun: Instant::now(),
            half: Duration::MAX,
        };
        Self {
            unit,
            published: None,
            time,
            trace: Trace::default(),
        }
    }

    /// Leave nothing of it, since a statement that was to settle it failed.
    pub(crate) async fn unsettled(self, error: marquee_delivery::Error) -> Refusal {
        self.unit.rollback().await;
        let lost = match &error {
            marquee_delivery::Error::Database(cause) if cause.is_unavailable() => {
                self.time.lost(&marquee_runtime::chain(cause))
            }
            _ => None,
        };
        lost.unwrap_or_else(|| error.into())
    }

    /// Make it stand.
    pub(crate) async fn commit(self, worker: &Worker) -> Result<(), CommitError> {
        let mut span = postgres::commit(&self.trace, worker.database.name());
        let committed = self.unit.commit().await;
        if let Err(error) = &committed {
            span.fail("commit", error.to_string());
        }
        committed?;
        if let Some(poke) = self.published {
            poke();
        }
        Ok(())
    }
}

impl Time {
    /// A session was lost by now: the call's failure, if it has taken long.
    fn lost(self, failure: &str) -> Option<Refusal> {
        let took = self.begun.elapsed();
        (took > self.half).then(|| {
            Refusal::Failed(format!(
                "it lost its session after {took:.1?}, more than half of its deadline: {failure}"
            ))
        })
    }
}

impl From<marquee_delivery::Error> for Refusal {
    fn from(error: marquee_delivery::Error) -> Self {
        if error.is_conflict() {
            Self::Conflict
        } else {
            Self::Error(error)
        }
    }
}

/// Between tries of what the world does not let a trigger do now.
pub(crate) const BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// A claim outlasts the call, its commit, and the wait for a connection.
pub(crate) const LEASE_MARGIN: Duration = Duration::from_secs(15);
