//! Which shards this relay holds.
//!
//! Promise: as [`marquee_database::lease`] has it. That does not fence the bus: a relay that was stopped within a call may
//! publish late, and consumers drop what they have seen by its number. Bound: its share of the shards, as many as there
//! are relays alive.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use marquee_database::{
    Database, Error,
    lease::{Lease, Member, Table},
};
use uuid::Uuid;

/// How long a lease lasts. A relay that was killed is replaced this much later.
pub const TTL: Duration = Duration::from_secs(15);

/// The leases of one relay.
pub(crate) struct Leases {
    member: Member,
    held: BTreeMap<i16, Lease>,
    due_at: Instant,
}

impl Leases {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            member: Member::new(&SHARDS, Vec::new(), Uuid::now_v7(), ttl),
            held: BTreeMap::new(),
            due_at: Instant::now(),
        }
    }

    /// By what name the shards are held.
    pub(crate) fn owner(&self) -> Uuid {
        self.member.name()
    }

    /// The shards that may be worked on now.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = i16> {
        let now = Instant::now();
        let trusted = self
            .held
            .iter()
            .filter(move |(_, lease)| lease.trusted_until > now);
        trusted.map(|(shard, _)| *shard)
    }

    /// The holding of a shard, if it is still held.
    pub(crate) fn epoch(&self, shard: i16) -> Option<i64> {
        self.held.get(&shard).map(|lease| lease.epoch)
    }

    /// When [`Self::tend`] has something to do.
    pub(crate) fn due_at(&self) -> Instant {
        self.due_at
    }

    /// How long they may be left alone while rows are being published.
    pub(crate) fn pause(&self) -> Duration {
        self.member.pause()
    }

    /// Keep them. Safe while rows are being published.
    pub(crate) async fn keep(&mut self, database: &Database) -> Result<(), Error> {
        let held = self.member.keep(database, &self.known()).await?;
        self.held = by_shard(held.leases);
        Ok(())
    }

    /// Keep them, take what is free below this relay's share, and give back what is above it. Between runs only. Returns
    /// what is new, and how many failed runs of it are noted.
    pub(crate) async fn tend(&mut self, database: &Database) -> Result<Vec<(i16, i64)>, Error> {
        if Instant::now() < self.due_at {
            return Ok(Vec::new());
        }
        // Also after a failure: the next try comes at its time.
        self.due_at = Instant::now() + self.pause();
        let known = self.known();
        let held = self.member.beat(database, &known).await?;
        let is_above = held.leases.len() > held.share;
        self.held = by_shard(held.leases.into_iter().take(held.share));
        if is_above {
            self.keep(database).await?;
        }
        let held = self.held.iter();
        let new = held.filter(|(_, lease)| !known.contains(&(lease.part, lease.epoch)));
        Ok(new.map(|(shard, lease)| (*shard, lease.told)).collect())
    }

    /// Give everything back.
    pub(crate) async fn leave(&mut self, database: &Database) -> Result<(), Error> {
        self.held.clear();
        self.member.leave(database).await
    }

    fn known(&self) -> Vec<(i32, i64)> {
        self.held
            .values()
            .map(|lease| (lease.part, lease.epoch))
            .collect()
    }
}

fn by_shard(leases: impl IntoIterator<Item = Lease>) -> BTreeMap<i16, Lease> {
    let by_shard = |lease: Lease| Some((i16::try_from(lease.part).ok()?, lease));
    leases.into_iter().filter_map(by_shard).collect()
}

/// The version is that of a relay that counts what it deletes.
const SHARDS: Table = Table {
    parts: "marquee.shards",
    part: "shard",
    told: "attempts::bigint",
    members: "marquee.relays",
    member: "owner",
    row: "(owner, alive_until, version) values ($1, now() + make_interval(secs => $2), 3) on conflict (owner)",
    scope: "true",
};
