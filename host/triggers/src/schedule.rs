//! The clock: a job of a component, each time that it is due.
//!
//! Promise: every host looks, one runs it, and of all tries of a due run one takes effect. A run that fails is tried
//! again with growing pauses. Bound: one run at a time of a job. On stop, the run under way is finished.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_delivery::job::{Claimed, Due, Job};
use marquee_manifest::Schedule;
use marquee_runtime::Call;
use marquee_telemetry::traces::{Trace, Traces};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    telemetry::ScheduleTally,
    trace,
    work::{BACKOFF, LEASE_MARGIN, Refusal, Worker},
};

/// A scheduled job.
pub struct Trigger {
    worker: Worker,
    schedule: Schedule,
    job: Job,
    tally: ScheduleTally,
    traces: Traces,
}

impl Trigger {
    /// A job of the component that `worker` calls.
    pub fn new(worker: Worker, schedule: Schedule, traces: Traces) -> Self {
        let job = Job {
            component: worker.component.to_string(),
            name: schedule.name.clone(),
        };
        Self {
            worker,
            schedule,
            job,
            tally: ScheduleTally::default(),
            traces,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.schedule.name
    }

    /// Whose it is.
    pub(crate) fn component(&self) -> &str {
        self.worker.component.as_str()
    }

    /// What is counted.
    pub(crate) fn tally(&self) -> &ScheduleTally {
        &self.tally
    }

    /// Run it each time that it is due, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            match self.ensure().await {
                Ok(()) => break,
                Err(error) => {
                    self.warn(&error, "the job cannot be made known; trying again");
                    failures = failures.saturating_add(1);
                    BACKOFF.pause(failures, &stop).await;
                }
            }
        }
        failures = 0;
        while !stop.is_cancelled() {
            let pause = match self.claim().await {
                Ok(Due::Now(claimed)) => {
                    failures = 0;
                    self.attempt(claimed).await;
                    continue;
                }
                Ok(Due::In(pause)) => pause.clamp(SHORTEST, LONGEST),
                Err(error) => {
                    self.warn(&error, "the job cannot be asked for; trying again");
                    failures = failures.saturating_add(1);
                    BACKOFF.pause(failures, &stop).await;
                    continue;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn ensure(&self) -> Result<(), marquee_delivery::Error> {
        let when = &self.schedule.when;
        self.job
            .ensure(&self.worker.database, &when.to_string(), |now| {
                when.after(now)
            })
            .await
    }

    async fn claim(&self) -> Result<Due, marquee_delivery::Error> {
        self.job
            .claim(&self.worker.database, self.schedule.deadline + LEASE_MARGIN)
            .await
    }

    async fn attempt(&self, claimed: Claimed) {
        self.tally.begins(claimed.due_at().timestamp_millis());
        let begun = Instant::now();
        let failure = self.tried(&claimed).await;
        self.tally.ended(begun.elapsed(), failure.is_none());
        if let Some(failure) = failure {
            self.failed(&claimed, &failure).await;
        }
    }

    /// Why the run came to nothing, if it did.
    async fn tried(&self, claimed: &Claimed) -> Option<String> {
        for _ in 0..CONFLICTS {
            match self.once(claimed).await {
                Ok(()) => return None,
                Err(Refusal::Conflict) => {}
                Err(Refusal::Failed(error)) => return Some(error),
                // The try is over all the same: what is away is not asked again at once.
                Err(Refusal::Error(error)) => return Some(marquee_runtime::chain(&error)),
            }
        }
        Some("other transactions were in the way each time".to_owned())
    }

    async fn once(&self, claimed: &Claimed) -> Result<(), Refusal> {
        let (component, job) = (self.component(), &self.schedule.name);
        let mut span = trace::job(&self.traces, component, job, claimed.attempt());
        let done = self.called(claimed, span.trace()).await;
        if let Err(refusal) = &done {
            trace::refused(&mut span, refusal);
        }
        done
    }

    async fn called(&self, claimed: &Claimed, trace: &Trace) -> Result<(), Refusal> {
        let Worker {
            runtime,
            component,
            database,
            ..
        } = &self.worker;
        let call = Call::new(
            Uuid::now_v7().to_string(),
            Instant::now() + self.schedule.deadline,
        )
        .with_trace(trace.clone());
        let due_at_ms = u64::try_from(claimed.due_at().timestamp_millis()).unwrap_or(0);
        let (mut work, ()) = self
            .worker
            .run(database.unit().until(call.deadline), call, async |call| {
                let name = self.schedule.name.clone();
                runtime.run_job(component, name, due_at_ms, call).await
            })
            .await?;
        let settled = claimed
            .settle(&mut work.unit, |now| self.schedule.when.after(now))
            .await;
        if let Err(error) = settled {
            return Err(work.unsettled(error).await);
        }
        work.commit(&self.worker)
            .await
            .map_err(|error| marquee_delivery::Error::from(error).into())
    }

    async fn failed(&self, claimed: &Claimed, error: &str) {
        let (component, job) = (&self.worker.component, &self.schedule.name);
        match claimed.fail(&self.worker.database, error).await {
            Ok(pause) => tracing::warn!(
                %component, job, attempt = claimed.attempt(), error,
                "job {job} failed and was rolled back; it is tried again in {:.0?}", pause
            ),
            Err(unnoted) => tracing::warn!(
                %component, job, attempt = claimed.attempt(), error,
                unnoted = %marquee_runtime::chain(&unnoted),
                "job {job} failed, and that could not be noted; it is tried again when its claim has run out"
            ),
        }
    }

    fn warn(&self, error: &marquee_delivery::Error, what: &str) {
        tracing::warn!(
            component = %self.worker.component, job = self.schedule.name,
            error = %marquee_runtime::chain(error), "{what}"
        );
    }
}

/// A clock that is not quite PostgreSQL's does not make for many questions.
const SHORTEST: Duration = Duration::from_millis(20);
/// A run that another host did not finish is found this soon after its claim ran out.
const LONGEST: Duration = Duration::from_secs(30);
/// Tries of a run that other transactions get in the way of.
const CONFLICTS: usize = 5;
