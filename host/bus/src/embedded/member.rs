//! A member of a group: keeps its leases, reads ahead, gives back what is above its share.
//!
//! Promise: it believes in a lease for 70 % of its length after the database last confirmed it, on this machine's
//! monotonic clock, and then drops what it read; the database gives the partition to another only after all of it.
//! It looks for records every quarter to half a second whatever hints come.
//! Bound: what `Intake` holds; one statement at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_database::Database;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    hints::{Hints, Wake},
    store,
};
use crate::intake::Intake;

/// The task of a member.
pub(super) struct Task {
    pub(super) database: Database,
    pub(super) who: store::Identity,
    pub(super) lease: Duration,
    pub(super) intake: Arc<Intake>,
    pub(super) hints: Arc<Hints>,
    pub(super) wake: Arc<Wake>,
    pub(super) leaving: JoinSet<(i32, u64)>,
    /// The partitions of those in `leaving`.
    pub(super) going: BTreeSet<i32>,
}

impl Task {
    /// Take part until told to leave.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let mut next_beat = Instant::now();
        // Another one waits for its share.
        self.hints.group_changed(self.intake.topic());
        while !closing.is_cancelled() {
            for number in self.intake.overdue(Instant::now()) {
                tracing::warn!(
                    topic = self.intake.topic(),
                    partition = number,
                    "a lease could not be renewed in time; what was read under it is dropped"
                );
                self.intake.lose(number);
            }
            while let Some(Ok((number, epoch))) = self.leaving.try_join_next() {
                self.let_go(number, epoch).await;
            }
            if self.wake.take_group() || Instant::now() >= next_beat {
                self.beat().await;
                next_beat = Instant::now() + (self.lease / 5).min(BEAT_MAX);
            }
            if self.read().await {
                continue;
            }
            let rest = POLL.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = closing.cancelled() => {}
                () = self.wake.rung() => {}
                // Cancel-safe: what is joined is either returned or stays.
                Some(left) = self.leaving.join_next(), if !self.leaving.is_empty() => {
                    if let Ok((number, epoch)) = left {
                        self.let_go(number, epoch).await;
                    }
                }
                () = tokio::time::sleep(rest) => {}
            }
        }
        for (number, _) in self.intake.held() {
            self.intake.lose(number);
        }
        if let Err(error) = store::leave(&self.database, &self.who).await {
            tracing::warn!(%error, "a member could not leave its group; its leases time out");
        }
        self.hints.group_changed(self.intake.topic());
    }

    async fn beat(&mut self) {
        let asked_at = Instant::now();
        let known = self.intake.held();
        let leases = match store::beat(&self.database, &self.who, self.lease, &known).await {
            Ok(leases) => leases,
            Err(error) => {
                self.intake.trouble(error);
                return;
            }
        };
        let mut lost: BTreeMap<i32, u64> = known.into_iter().collect();
        let mut above = 0;
        for lease in &leases {
            let epoch = lease.epoch.cast_unsigned();
            let trusted = lease.remaining.saturating_sub(self.lease.mul_f64(DISTRUST));
            let until = asked_at + trusted;
            if lost.get(&lease.partition) == Some(&epoch) {
                lost.remove(&lease.partition);
                self.intake.trust(lease.partition, until);
            } else {
                // A new holding of a partition whose old one is not told yet.
                if lost.remove(&lease.partition).is_some() {
                    self.intake.lose(lease.partition);
                }
                self.intake
                    .assign(lease.partition, epoch, lease.committed, Some(until));
            }
            above = leases
                .len()
                .saturating_sub(usize::try_from(lease.share).unwrap_or_default());
        }
        for number in lost.into_keys() {
            self.intake.lose(number);
        }
        let still_above = above.saturating_sub(self.going.len());
        let staying = leases
            .iter()
            .filter(|lease| !self.going.contains(&lease.partition));
        let surplus: Vec<_> = staying.rev().take(still_above).copied().collect();
        for lease in surplus {
            self.give_back(lease.partition, lease.epoch.cast_unsigned());
        }
    }

    /// Wait for the caller to be done with it, beside everything else.
    fn give_back(&mut self, number: i32, epoch: u64) {
        let guard = self.intake.revoke(number);
        self.going.insert(number);
        self.leaving.spawn(async move {
            if let Some(guard) = guard {
                // Dropped or too late: it goes either way.
                let _ = tokio::time::timeout(GUARD_TIMEOUT, guard).await;
            }
            (number, epoch)
        });
    }

    async fn let_go(&mut self, number: i32, epoch: u64) {
        self.going.remove(&number);
        // It may have been lost and won again meanwhile.
        if !self.intake.held().contains(&(number, epoch)) {
            return;
        }
        self.intake.forget(number);
        if let Err(error) = store::release(&self.database, &self.who, number, epoch).await {
            // The next heartbeat lets go of what is no longer known here.
            tracing::debug!(%error, partition = number, "a lease was not given back yet");
        }
        self.hints.group_changed(self.intake.topic());
    }

    /// Whether something came, so that there may be more.
    async fn read(&self) -> bool {
        let places = self.intake.hungry();
        if places.is_empty() {
            return false;
        }
        let limits = self.intake.limits();
        let topic = self.who.topic;
        let read = store::read(&self.database, topic, &places, limits.records, limits.bytes).await;
        let rows = match read {
            Ok(rows) => rows,
            Err(error) => {
                self.intake.trouble(error);
                return false;
            }
        };
        if rows.is_empty() {
            return false;
        }
        let mut by_partition: BTreeMap<i32, Vec<_>> = BTreeMap::new();
        for (number, record) in rows {
            by_partition.entry(number).or_default().push(record);
        }
        for (number, epoch, from) in places {
            let Some(records) = by_partition.remove(&number) else {
                continue;
            };
            if let Some(first) = records.first()
                && first.offset > from
            {
                tracing::warn!(
                    topic = self.intake.topic(),
                    partition = number,
                    offset = from,
                    "records {from} to {} were dropped by retention before this group read them",
                    first.offset - 1
                );
            }
            self.intake.push_all(number, epoch, from, records);
        }
        true
    }
}

/// Looked for records at least this often; at best half of it.
const POLL: Duration = Duration::from_millis(500);
/// Beats are cheap reads; a free partition is found in this time even without a hint.
const BEAT_MAX: Duration = Duration::from_secs(1);
/// The part of a lease that is left out, for clocks that differ and answers that take their time.
const DISTRUST: f64 = 0.3;
/// As the trait promises.
const GUARD_TIMEOUT: Duration = Duration::from_secs(2);
