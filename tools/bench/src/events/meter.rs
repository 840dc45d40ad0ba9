//! What is read off the servers while a host works.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{
    feed::HOT,
    stage::{DRAINED, NATIVE, Stage, TOPIC},
};

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Progress {
    /// Positions of the consumer.
    Applied,
    /// Records of the topic that nobody consumes.
    Drained,
    /// Parked messages of the blocked key that are gone.
    Unblocked,
}

/// How far it is to go.
pub(crate) struct Goal {
    of: Progress,
    events: i64,
    target: i64,
}

impl Goal {
    /// So many more. To be set before anything moves.
    pub(crate) async fn set(stage: &Stage, of: Progress, events: i64) -> anyhow::Result<Self> {
        let target = match of {
            Progress::Applied => stage.ends_of(TOPIC).await?.iter().sum::<i64>(),
            Progress::Drained => stage.ends_of(DRAINED).await?.iter().sum::<i64>(),
            Progress::Unblocked => 0,
        };
        let more = match of {
            Progress::Applied => waiting(stage, TOPIC).await?,
            Progress::Drained => waiting(stage, DRAINED).await?,
            Progress::Unblocked => 0,
        };
        Ok(Self {
            of,
            events,
            target: target + more,
        })
    }

    /// Wait until it is reached. How many a second, from the moment at which something moved.
    pub(crate) async fn reached(self, stage: &Stage) -> anyhow::Result<f64> {
        let before = self.target - self.events;
        let mut begun: Option<(Instant, i64)> = None;
        let mut moved = (Instant::now(), before);
        loop {
            let now = progress(stage, self.of).await?;
            let at = Instant::now();
            if now > moved.1 {
                moved = (at, now);
                begun = begun.or(Some((at, now)));
            }
            if let (Some((since, first)), true) = (begun, now >= self.target) {
                #[expect(clippy::cast_precision_loss, reason = "for people to read")]
                let done = (now - first) as f64;
                return Ok(done / (at - since).as_secs_f64());
            }
            ensure!(
                moved.0.elapsed() < PATIENCE,
                "{:?}: nothing has moved for a long time, {} are left",
                self.of,
                self.target - now
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn progress(stage: &Stage, of: Progress) -> anyhow::Result<i64> {
    let mut counter = stage.counter.connection().await?;
    let rows = match of {
        Progress::Applied => counter.query(POSITIONS, &[&TOPIC]).await?,
        Progress::Drained => return Ok(stage.ends_of(DRAINED).await?.iter().sum()),
        Progress::Unblocked => counter.query(BLOCKED, &[&TOPIC, &HOT]).await?,
    };
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// What is in the outbox for a topic.
async fn waiting(stage: &Stage, topic: &str) -> anyhow::Result<i64> {
    let mut counter = stage.counter.connection().await?;
    let rows = counter.query(WAITING, &[&topic]).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// What PostgreSQL has done so far. It counts what a connection did at most a second late, and at its end: look when
/// the host is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// The write-ahead log was forced to the disk, by whomever.
    pub(crate) fsyncs: f64,
    /// Commits of the databases of the component and of the bus.
    pub(crate) transactions: f64,
}

impl Server {
    pub(crate) async fn look(stage: &Stage) -> anyhow::Result<Self> {
        let client = stage.connect(NATIVE).await?;
        let row = client.query_one(STATISTICS, &[]).await?;
        Ok(Self {
            fsyncs: row.get(0),
            transactions: row.get(1),
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            fsyncs: self.fsyncs - before.fsyncs,
            transactions: self.transactions - before.transactions,
        }
    }
}

/// Longer than a lease of a host that is gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
const POSITIONS: &str =
    "select coalesce(sum(position), 0)::bigint from marquee.positions where topic = $1";
const BLOCKED: &str =
    "select -coalesce(sum(parked), 0)::bigint from marquee.key_state where topic = $1 and key = $2";
const WAITING: &str = "select count(*) from marquee.outbox where topic = $1";
const STATISTICS: &str = "
select (select wal_sync from pg_stat_wal)::float8,
    (select sum(xact_commit) from pg_stat_database where datname in ('counter', 'bus'))::float8";
