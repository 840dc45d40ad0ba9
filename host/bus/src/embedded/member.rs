//! A member of a group: keeps its leases, reads ahead, gives back what is above its share.
//!
//! Promise: what it read is dropped when it no longer believes in the lease, see [`marquee_database::lease`]. A partition
//! that it gives back is another's only when the caller is done with it, or two seconds later. It looks for records every
//! quarter to half a second whatever hints come.
//! Bound: what `Intake` holds; one statement at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use marquee_database::{Database, lease};
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
    pub(super) member: lease::Member,
    pub(super) intake: Arc<Intake>,
    pub(super) hints: Arc<Hints>,
    pub(super) wake: Arc<Wake>,
    pub(super) leaving: JoinSet<(i32, i64)>,
    /// The partitions of those in `leaving`.
    pub(super) going: BTreeSet<i32>,
}

impl Task {
    /// Take part until told to leave.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let mut next_beat = Instant::now();
        let mut freed = false;
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
                freed = true;
            }
            while let Some(Ok((number, epoch))) = self.leaving.try_join_next() {
                freed |= self.let_go(number, epoch);
            }
            if freed || self.wake.take_group() || Instant::now() >= next_beat {
                // From before: a beat that was not answered is soon asked again.
                next_beat = Instant::now() + self.member.pause();
                self.beat().await;
            }
            if std::mem::take(&mut freed) {
                self.hints.group_changed(self.intake.topic());
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
                        freed |= self.let_go(number, epoch);
                    }
                }
                () = tokio::time::sleep(rest) => {}
            }
        }
        for (number, _) in self.intake.held() {
            self.intake.lose(number);
        }
        let left = store::within(&self.database, self.member.leave(&self.database));
        if let Err(error) = left.await {
            tracing::warn!(%error, "a member could not leave its group; its leases time out");
        }
        self.hints.group_changed(self.intake.topic());
    }

    async fn beat(&mut self) {
        let known = self.intake.held();
        let beat = self.member.beat(&self.database, &known);
        let held = match store::within(&self.database, beat).await {
            Ok(held) => held,
            Err(error) => {
                self.intake.trouble(error);
                return;
            }
        };
        let mut lost: BTreeMap<i32, i64> = known.into_iter().collect();
        for lease in &held.leases {
            let (number, until) = (lease.part, lease.trusted_until);
            if lost.get(&number) == Some(&lease.epoch) {
                lost.remove(&number);
                self.intake.trust(number, until);
            } else {
                // A new holding of a partition whose old one is not told yet.
                if lost.remove(&number).is_some() {
                    self.intake.lose(number);
                }
                self.intake
                    .assign(number, lease.epoch, lease.told, Some(until));
            }
        }
        for number in lost.into_keys() {
            self.intake.lose(number);
        }
        let above = held.leases.len().saturating_sub(held.share);
        let still_above = above.saturating_sub(self.going.len());
        let staying = held
            .leases
            .iter()
            .filter(|lease| !self.going.contains(&lease.part));
        let surplus: Vec<_> = staying.rev().take(still_above).copied().collect();
        for lease in surplus {
            self.give_back(lease.part, lease.epoch);
        }
    }

    /// Wait for the caller to be done with it, beside everything else.
    fn give_back(&mut self, number: i32, epoch: i64) {
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

    /// The next beat lets go of what is no longer known here. False: it was lost, and perhaps won again, meanwhile.
    fn let_go(&mut self, number: i32, epoch: i64) -> bool {
        self.going.remove(&number);
        let is_held = self.intake.held().contains(&(number, epoch));
        if is_held {
            self.intake.forget(number);
        }
        is_held
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
/// As the trait promises.
const GUARD_TIMEOUT: Duration = Duration::from_secs(2);
