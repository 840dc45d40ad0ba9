//! The loop that moves rows: lease, read, publish, delete.
//!
//! While a run is published, the one before it is deleted and the next one is read: what is read ahead is published only
//! when the bus has all that was before it. Bound: two runs in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use marquee_bus::Bus;
use marquee_database::{
    Backoff, Database,
    seeded::{Bug, seeded, slip},
};
use marquee_telemetry::traces::Traces;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    aside,
    lease::{Leases, TTL},
    run::{self, Run, Sent, home},
    store, trace,
};
use crate::{consume::error_text, telemetry::RelayTally};

/// Moves the outbox of one database to a bus. Any number of hosts run one for the same database.
pub struct Relay {
    database: Database,
    bus: Arc<dyn Bus>,
    wake: Poke,
    tally: RelayTally,
    traces: Traces,
    ttl: Duration,
    leases: Leases,
    /// Shards whose last run failed.
    backing_off: BTreeMap<i16, BackOff>,
    /// Shards whose row in `marquee.shards` speaks of a failure.
    noted: BTreeSet<i16>,
    quick_until: Instant,
}

/// Says that there may be something to relay. A hint: the relay looks by itself too.
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<Notify>);

#[derive(Debug, Clone, Copy)]
struct BackOff {
    attempts: u32,
    until: Instant,
}

/// What a pass over the outbox came to.
enum Pass {
    /// Something was moved, and there may be more.
    Moved,
    /// There is nothing to do now.
    Idle,
}

impl Poke {
    /// Look now.
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

impl Relay {
    /// A relay from a database to a bus. With each number goes whose it is: the database's source, or its name where
    /// that has no id.
    pub fn new(database: Database, bus: Arc<dyn Bus>) -> Self {
        Self::with_lease(database, bus, TTL)
    }

    /// One whose leases have another length than [`TTL`]; the times between follow it.
    pub fn with_lease(database: Database, bus: Arc<dyn Bus>, ttl: Duration) -> Self {
        Self {
            database,
            bus,
            wake: Poke::default(),
            tally: RelayTally::default(),
            traces: Traces::default(),
            ttl,
            leases: Leases::new(ttl),
            backing_off: BTreeMap::new(),
            noted: BTreeSet::new(),
            quick_until: Instant::now(),
        }
    }

    /// The same, which says where it sends rows that are part of a trace.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// The same once more, for when one has failed: it takes its shards when the leases of the other have run out.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self {
            wake: self.wake.clone(),
            tally: self.tally.clone(),
            traces: self.traces.clone(),
            ..Self::with_lease(self.database.clone(), Arc::clone(&self.bus), self.ttl)
        }
    }

    /// A handle that wakes it.
    pub fn poke(&self) -> Poke {
        self.wake.clone()
    }

    /// What it counts.
    pub fn tally(&self) -> RelayTally {
        self.tally.clone()
    }

    /// Relay until told to stop; then finish the run under way and hand the leases back.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            // Registered before looking, so that a poke in between is not lost.
            let wake = self.wake.clone();
            let woken = wake.0.notified();
            let mut until = match Box::pin(self.pass(&stop)).await {
                Ok(Pass::Moved) => {
                    failures = 0;
                    continue;
                }
                Ok(Pass::Idle) => {
                    failures = 0;
                    Instant::now() + self.pause()
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(
                        database = self.database.name(),
                        attempt = failures,
                        error = &error as &dyn std::error::Error,
                        "the outbox of database {} cannot be relayed now: {error}",
                        self.database.name()
                    );
                    DATABASE_BACKOFF.pause(failures, &stop).await;
                    continue;
                }
            };
            until = until.min(self.leases.due_at().into());
            if let Some(first) = self.backing_off.values().map(|one| one.until).min() {
                until = until.min(first);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken => self.quick_until = Instant::now() + QUICK_FOR,
                () = sleep_until(until) => {}
            }
        }
        if let Err(error) = self.leases.leave(&self.database).await {
            tracing::warn!(
                database = self.database.name(),
                "the relay's leases could not be handed back; they run out by themselves: {error}"
            );
        }
    }

    async fn pass(&mut self, stop: &CancellationToken) -> Result<Pass, marquee_database::Error> {
        let taken = self.leases.tend(&self.database).await?;
        if !taken.is_empty() {
            self.check_source().await?;
        }
        for (shard, failed) in taken {
            // The owner before was backing off: this one tries at once, and clears the note when it succeeds.
            if failed > 0 {
                let noted = BackOff {
                    attempts: u32::try_from(failed).unwrap_or(0),
                    until: Instant::now(),
                };
                self.backing_off.insert(shard, noted);
                self.noted.insert(shard);
            } else {
                self.backing_off.remove(&shard);
            }
        }
        let mut run = self.read(&[]).await?;
        let mut behind = Vec::new();
        let mut moved = 0;
        while !run.sent.is_empty() {
            self.quick_until = Instant::now() + QUICK_FOR;
            let Run { sent, outgoing } = run;
            if seeded(Bug::RelayDeletesFirst) {
                let taken = sent.iter().map(|_| Ok(())).collect();
                self.delete(&run::report(sent.clone(), taken).acknowledged)
                    .await?;
            }
            let (results, ahead) = self.publish(outgoing, &behind, &sent).await?;
            let shards: BTreeSet<i16> = sent.iter().map(|row| home(row.shard)).collect();
            let report = run::report(sent, results);
            let (acknowledged, refused) = (report.acknowledged.len(), report.refused.len());
            self.tally.run(acknowledged, refused, report.failed.len());
            moved += report.acknowledged.len();
            self.note(shards, &report.failed).await?;
            behind = report.acknowledged;
            let is_whole = report.failed.is_empty() && report.refused.is_empty();
            let goes_on = (is_whole || seeded(Bug::ReadAheadKept))
                && !stop.is_cancelled()
                && Instant::now() < self.leases.due_at().into()
                && self.is_trusted(&ahead);
            if !goes_on {
                // What was read ahead may stand behind what failed, or be another relay's by now.
                self.delete(&behind).await?;
                aside::refuse(&self.database, &self.leases, &report.refused).await?;
                self.tell(moved);
                return Ok(if moved > 0 { Pass::Moved } else { Pass::Idle });
            }
            run = ahead;
            if run.sent.is_empty() {
                // Something may have come since it was read.
                run = self.beside(&behind, &[]).await?;
                behind.clear();
            }
        }
        self.tell(moved);
        Ok(Pass::Idle)
    }

    fn tell(&self, moved: usize) {
        if moved > 0 {
            tracing::debug!(database = self.database.name(), "relayed {moved} messages");
        }
    }

    /// A restored or promoted database begins to number anew; publishing sees that by itself, before any number is given.
    async fn check_source(&self) -> Result<(), marquee_database::Error> {
        let mut connection = self.database.connection().await?;
        let rows = connection.query(store::CHECK_SOURCE, &[]).await?;
        if rows.first().is_some_and(|row| row.get(0)) {
            tracing::warn!(
                database = self.database.name(),
                "database {} is not the one that it was (restored, promoted or copied): the keys of its events begin at 1 under a new source",
                self.database.name()
            );
        }
        Ok(())
    }

    /// The next rows that are not `flying`: on their way already.
    async fn read(&self, flying: &[&Sent]) -> Result<Run, marquee_database::Error> {
        let now = Instant::now();
        let shards: Vec<i16> = self
            .leases
            .trusted()
            .filter(|shard| {
                self.backing_off
                    .get(shard)
                    .is_none_or(|one| one.until <= now)
            })
            .collect();
        if shards.is_empty() {
            return Ok(Run::default());
        }
        let aside: Vec<i16> = shards.iter().map(|shard| -1 - shard).collect();
        let mut busy: BTreeMap<i16, i64> = BTreeMap::new();
        for row in flying {
            *busy.entry(row.shard).or_default() += 1;
        }
        // As many shards as had something have something again: no more is looked at of each than a run can hold.
        let shard_rows = RUN_ROWS / number(busy.len().max(1));
        let in_shard: Vec<i64> = shards
            .iter()
            .map(|shard| busy.get(shard).copied().unwrap_or(0))
            .collect();
        let ids: Vec<i64> = flying.iter().map(|row| row.id).collect();
        let rows = self
            .database
            .connection()
            .await?
            .query_planned(
                store::READ,
                &[
                    &shards,
                    &RUN_ROWS,
                    &RUN_BYTES,
                    &shard_rows,
                    &aside,
                    &REFUSED_ROWS,
                    &in_shard,
                    &ids,
                ],
            )
            .await?;
        let (sent, outgoing) = rows
            .iter()
            .map(|row| run::outgoing(self.database.name(), row))
            .unzip();
        Ok(Run { sent, outgoing })
    }

    /// Whether all of it is still this relay's to publish.
    fn is_trusted(&self, run: &Run) -> bool {
        let trusted: BTreeSet<i16> = self.leases.trusted().collect();
        run.sent
            .iter()
            .all(|row| trusted.contains(&home(row.shard)))
    }

    /// Publish; meanwhile delete what was acknowledged before, read what comes next, and then keep the leases.
    async fn publish(
        &mut self,
        mut records: Vec<marquee_bus::Outgoing>,
        behind: &[Sent],
        flying: &[Sent],
    ) -> Result<(Vec<Result<(), marquee_bus::Error>>, Run), marquee_database::Error> {
        let bus = Arc::clone(&self.bus);
        let (begun, tally) = (Instant::now(), self.tally.clone());
        let sending = trace::sending(&self.traces, &*bus, &mut records);
        // No answer in time is no acknowledgement of anything.
        let publishing = async {
            let answered = timeout(PUBLISH_TIMEOUT, bus.publish(records)).await;
            tally.answered(begun.elapsed());
            let results = answered.unwrap_or_default();
            sending.ended(&results);
            results
        };
        tokio::pin!(publishing);
        let beside = self.beside(behind, flying);
        let mut results = None;
        let ahead = {
            tokio::pin!(beside);
            loop {
                tokio::select! {
                    answered = &mut publishing, if results.is_none() => results = Some(answered),
                    ahead = &mut beside => break ahead,
                }
            }
        };
        loop {
            if let Some(results) = results {
                return Ok((results, ahead?));
            }
            tokio::select! {
                answered = &mut publishing => results = Some(answered),
                () = sleep(self.leases.pause()) => {
                    if let Err(error) = self.leases.keep(&self.database).await {
                        tracing::warn!(database = self.database.name(), "the relay's leases could not be kept: {error}");
                    }
                }
            }
        }
    }

    /// Delete what was acknowledged, and read what is neither that nor `flying`.
    async fn beside(
        &self,
        behind: &[Sent],
        flying: &[Sent],
    ) -> Result<Run, marquee_database::Error> {
        let known: Vec<&Sent> = behind.iter().chain(flying).collect();
        let ((), run) = tokio::try_join!(self.delete(behind), self.read(&known))?;
        Ok(run)
    }

    async fn delete(&self, acknowledged: &[Sent]) -> Result<(), marquee_database::Error> {
        let mut shards = Vec::with_capacity(acknowledged.len());
        let mut ids = Vec::with_capacity(acknowledged.len());
        let mut epochs = Vec::with_capacity(acknowledged.len());
        for row in acknowledged {
            if row.shard < 0 {
                aside::release(&self.database, &self.leases, row).await?;
                continue;
            }
            // Lost meanwhile: the new owner publishes it again and deletes it.
            if let Some(epoch) = self.leases.epoch(row.shard) {
                shards.push(row.shard);
                ids.push(row.id);
                epochs.push(epoch);
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let acknowledged = slip(
            Bug::LeaseEpochIgnored,
            store::ACKNOWLEDGED,
            "s.owner = $1 and s.epoch = done.epoch",
            "$1::uuid is not null",
        );
        let acknowledged = slip(
            Bug::RelayedNotCounted,
            acknowledged,
            "count(*), count(g.seq)",
            "0, 0",
        );
        self.database
            .connection()
            .await?
            .query_planned(
                &acknowledged,
                &[&self.leases.owner(), &shards, &ids, &epochs],
            )
            .await?;
        Ok(())
    }

    /// Remember what failed, for the next run and for operators; clear what succeeded.
    async fn note(
        &mut self,
        shards: BTreeSet<i16>,
        failed: &BTreeMap<i16, String>,
    ) -> Result<(), marquee_database::Error> {
        for shard in shards {
            let Some(error) = failed.get(&shard) else {
                self.backing_off.remove(&shard);
                if self.noted.contains(&shard) {
                    self.write_note(shard, 0, None, None).await?;
                    self.noted.remove(&shard);
                }
                continue;
            };
            let before = self.backing_off.get(&shard).map_or(0, |one| one.attempts);
            let attempts = before.saturating_add(1);
            let delay = BUS_BACKOFF.delay(attempts);
            let until = Instant::now() + delay;
            self.backing_off.insert(shard, BackOff { attempts, until });
            tracing::warn!(
                database = self.database.name(),
                shard,
                attempt = attempts,
                "the bus did not take shard {shard}: {error}; next try in {} ms",
                delay.as_millis()
            );
            self.write_note(shard, attempts, Some(error), Some(delay))
                .await?;
        }
        Ok(())
    }

    async fn write_note(
        &mut self,
        shard: i16,
        attempts: u32,
        error: Option<&str>,
        delay: Option<Duration>,
    ) -> Result<(), marquee_database::Error> {
        let Some(epoch) = self.leases.epoch(shard) else {
            return Ok(());
        };
        self.noted.insert(shard);
        self.database
            .connection()
            .await?
            .execute(
                store::NOTE,
                &[
                    &self.leases.owner(),
                    &shard,
                    &epoch,
                    &i32::try_from(attempts).unwrap_or(i32::MAX),
                    &error.map(error_text),
                    &delay.map(|delay| delay.as_secs_f64()),
                ],
            )
            .await?;
        Ok(())
    }

    fn pause(&self) -> Duration {
        let milliseconds = if Instant::now() < self.quick_until {
            rand::random_range(10..=25)
        } else {
            rand::random_range(400..=500)
        };
        Duration::from_millis(milliseconds)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Of a shard of which the bus took nothing.
const BUS_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
const DATABASE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// As many as one publish gathers well, and as little as a crash has to repeat.
const RUN_ROWS: i64 = 2_000;
/// Of rows in memory at once; one may exceed it alone.
const RUN_BYTES: i64 = 4 * 1024 * 1024;
/// The bus has its own, shorter bounds; this one ends a bus that breaks them.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a run, that the bus has refused before: little beside the others, however many there are.
const REFUSED_ROWS: i64 = 20;
/// After something was there, more is likely.
const QUICK_FOR: Duration = Duration::from_secs(2);
