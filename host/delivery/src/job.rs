//! Scheduled jobs: when each is due, and which host runs it.
//!
//! Promise: of a due run one try takes effect, whatever dies: the row moves on in the transaction of the job's own
//! effects, and only from the claim under which it ran. A host that died in a run is replaced when its claim runs
//! out. A run that fails is tried again with growing pauses until it succeeds. All times are PostgreSQL's.
//! Bound: one row a job. Not here: what a schedule means (the caller says what is next), calling the component.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use marquee_database::{Backoff, Database, Unit};
use serde::Serialize;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{Error, consume::error_text};

/// A job of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The component's id in the manifest.
    pub component: String,
    /// What the manifest calls it.
    pub name: String,
}

/// What came of asking for a job.
#[derive(Debug, Clone)]
pub enum Due {
    /// It is this host's to run.
    Now(Claimed),
    /// Nothing to do for so long: it is not due, waits after a failure, or runs elsewhere.
    In(Duration),
}

/// A job as its database has it, for people.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The component's id in the manifest.
    pub component: String,
    /// What the manifest calls it.
    pub name: String,
    /// What its due times follow.
    pub schedule: String,
    /// When the next run is due, or the one that is under way was.
    pub due_at: DateTime<Utc>,
    /// Tries of that run so far.
    pub attempts: i32,
    /// When it is tried next; while it runs, when another host may.
    pub next_attempt_at: DateTime<Utc>,
    /// Whether it runs somewhere.
    pub runs: bool,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
    /// When a run was done last.
    pub done_at: Option<DateTime<Utc>>,
}

/// A run that this host may do now.
#[derive(Debug, Clone)]
pub struct Claimed {
    job: Job,
    claim: Uuid,
    due_at: DateTime<Utc>,
    attempt: u32,
}

/// All jobs of a database.
pub async fn all(database: &Database) -> Result<Vec<Standing>, Error> {
    let mut connection = database.connection().await?;
    let rows = connection.query(ALL, &[]).await?;
    let standing = rows.iter().map(|row| Standing {
        component: row.get("component"),
        name: row.get("name"),
        schedule: row.get("schedule"),
        due_at: row.get("due_at"),
        attempts: row.get("attempts"),
        next_attempt_at: row.get("next_attempt_at"),
        runs: row.get("runs"),
        error: row.get("error"),
        done_at: row.get("done_at"),
    });
    Ok(standing.collect())
}

impl Job {
    /// Make it known. `schedule` names what its due times follow: a job that is known with another one begins anew.
    /// `first` says when it is due first, given the time.
    pub async fn ensure(
        &self,
        database: &Database,
        schedule: &str,
        first: impl Fn(DateTime<Utc>) -> DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut connection = database.connection().await?;
        let now = connection.query("select now()", &[]).await?;
        let now = now.first().map_or_else(Utc::now, |row| row.get(0));
        connection
            .execute(
                ENSURE,
                &[&self.component, &self.name, &schedule, &first(now)],
            )
            .await?;
        Ok(())
    }

    /// Claim it if it is due. `lease` is longer than a run can take: after it, another host may claim what this one
    /// did not settle.
    pub async fn claim(&self, database: &Database, lease: Duration) -> Result<Due, Error> {
        let mut connection = database.connection().await?;
        let rows = connection
            .query(CLAIM, &[&self.component, &self.name, &lease.as_secs_f64()])
            .await?;
        if let Some(row) = rows.first() {
            return Ok(Due::Now(Claimed {
                job: self.clone(),
                claim: row.get(0),
                due_at: row.get(1),
                attempt: u32::try_from(row.get::<_, i32>(2)).unwrap_or(u32::MAX),
            }));
        }
        let rows = connection
            .query(WAIT, &[&self.component, &self.name])
            .await?;
        // No row: someone took it out by hand. The next start makes it known again.
        let seconds: f64 = rows.first().map_or(30.0, |row| row.get(0));
        Ok(Due::In(Duration::from_secs_f64(seconds.max(0.0))))
    }
}

impl Claimed {
    /// When the run was due.
    pub fn due_at(&self) -> DateTime<Utc> {
        self.due_at
    }

    /// Which try of this run it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The run is done: the last statement of its unit. `next` says when the job is due next, given the time.
    pub async fn settle(
        &self,
        unit: &mut Unit,
        next: impl Fn(DateTime<Utc>) -> DateTime<Utc>,
    ) -> Result<(), Error> {
        // Not now(): that is when the transaction began, and a run may outlast its interval.
        let now = unit.query("select clock_timestamp()", &[]).await?;
        let now = now.first().map_or_else(Utc::now, |row| row.get(0));
        let Job { component, name } = &self.job;
        let params: [&(dyn ToSql + Sync); 4] = [component, name, &self.claim, &next(now)];
        Error::unless_found(unit.execute(SETTLE, &params).await, &self.job)
    }

    /// The try failed and was rolled back: try again after a pause that grows with each. Returns the pause.
    pub async fn fail(&self, database: &Database, error: &str) -> Result<Duration, Error> {
        let pause = BACKOFF.delay(self.attempt);
        let Job { component, name } = &self.job;
        let (error, seconds) = (error_text(error), pause.as_secs_f64());
        let params: [&(dyn ToSql + Sync); 5] = [component, name, &self.claim, &error, &seconds];
        let mut connection = database.connection().await?;
        Error::unless_found(connection.execute(FAIL, &params).await, &self.job)?;
        Ok(pause)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} of {}", self.name, self.component)
    }
}

const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(600));

const ALL: &str = "
select component, name, schedule, due_at, attempts, next_attempt_at, error, done_at,
    claim is not null and next_attempt_at > now() as runs
from marquee.jobs order by component, name";

/// $1 component, $2 name, $3 schedule, $4 first due time.
const ENSURE: &str = "
insert into marquee.jobs (component, name, schedule, due_at, next_attempt_at) values ($1, $2, $3, $4, $4)
on conflict on constraint jobs_pkey do update set
    schedule = excluded.schedule, due_at = excluded.due_at, next_attempt_at = excluded.next_attempt_at,
    attempts = 0, claim = null, error = null
where jobs.schedule <> excluded.schedule";

/// $1 component, $2 name, $3 lease in seconds.
const CLAIM: &str = "
update marquee.jobs set
    attempts = attempts + 1, claim = gen_random_uuid(), next_attempt_at = now() + make_interval(secs => $3)
where component = $1 and name = $2 and next_attempt_at <= now()
returning claim, due_at, attempts";

/// $1 component, $2 name.
const WAIT: &str = "
select extract(epoch from next_attempt_at - now())::float8 from marquee.jobs where component = $1 and name = $2";

/// $1 component, $2 name, $3 claim, $4 next due time.
const SETTLE: &str = "
update marquee.jobs set
    due_at = $4, next_attempt_at = $4, attempts = 0, claim = null, error = null, done_at = clock_timestamp()
where component = $1 and name = $2 and claim = $3";

/// $1 component, $2 name, $3 claim, $4 error, $5 pause in seconds.
const FAIL: &str = "
update marquee.jobs set claim = null, error = $4, next_attempt_at = now() + make_interval(secs => $5)
where component = $1 and name = $2 and claim = $3";
