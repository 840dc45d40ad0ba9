//! Which shards this relay holds, by leases on PostgreSQL's clock.
//!
//! Promise: a lease is trusted for 70 % of its length on this host's monotonic clock, counted from before it was asked
//! for. That does not fence the bus: a relay that was stopped within a call may publish late, and consumers drop what
//! they have seen by its number. Bound: its share of the shards, as many as there are relays alive.

use std::{collections::BTreeMap, time::Duration};

use marquee_database::{Database, Error};
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::store;

/// The shards of a database.
pub const SHARDS: usize = 16;
/// How long a lease lasts. A relay that was killed is replaced this much later.
pub const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed: two may fail.
pub const RENEW_AFTER: Duration = Duration::from_secs(5);
/// How often a relay that has less than its share looks for free shards.
const CLAIM_AFTER: Duration = Duration::from_secs(2);

/// The leases of one relay.
#[derive(Debug)]
pub(crate) struct Leases {
    owner: Uuid,
    ttl: Duration,
    held: BTreeMap<i16, Lease>,
    alive: usize,
    renew_at: Instant,
    claim_at: Instant,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) epoch: i64,
    trusted_until: Instant,
}

/// A shard that has just become this relay's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) shard: i16,
    /// Failed runs that the owner before has noted.
    pub(crate) attempts: i32,
}

impl Leases {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            owner: Uuid::now_v7(),
            ttl,
            held: BTreeMap::new(),
            alive: 1,
            renew_at: Instant::now(),
            claim_at: Instant::now(),
        }
    }

    /// By what name the shards are held.
    pub(crate) fn owner(&self) -> Uuid {
        self.owner
    }

    /// The shards that may be worked on now.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = i16> {
        let now = Instant::now();
        self.held
            .iter()
            .filter(move |(_, lease)| lease.trusted_until > now)
            .map(|(shard, _)| *shard)
    }

    /// The holding of a shard, if it is still held.
    pub(crate) fn epoch(&self, shard: i16) -> Option<i64> {
        self.held.get(&shard).map(|lease| lease.epoch)
    }

    /// When [`Self::tend`] has something to do.
    pub(crate) fn due_at(&self) -> Instant {
        if self.held.len() < self.share() {
            self.renew_at.min(self.claim_at)
        } else {
            self.renew_at
        }
    }

    /// Renew where it is time. Safe while rows are being published.
    pub(crate) async fn renew(&mut self, database: &Database) -> Result<(), Error> {
        let asked = Instant::now();
        if asked < self.renew_at {
            return Ok(());
        }
        // Also after a failure: the next try comes at its time.
        self.renew_at = asked + self.ttl.mul_f64(RENEW_FRACTION);
        let mut connection = database.connection().await?;
        let seconds = self.ttl.as_secs_f64();
        let alive = connection
            .query(store::HEARTBEAT, &[&self.owner, &seconds])
            .await?;
        self.alive = alive
            .first()
            .and_then(|row| usize::try_from(row.get::<_, i64>(0)).ok())
            .unwrap_or(1);
        let rows = connection
            .query(store::RENEW, &[&self.owner, &seconds])
            .await?;
        self.held.clear();
        self.take(&rows, asked);
        Ok(())
    }

    /// Renew, give back what is above this relay's share, and take what is free below it. Between runs only. Returns
    /// what is new.
    pub(crate) async fn tend(&mut self, database: &Database) -> Result<Vec<Taken>, Error> {
        self.renew(database).await?;
        let share = self.share();
        if self.held.len() > share {
            let extra: Vec<i16> = self.held.keys().skip(share).copied().collect();
            database
                .connection()
                .await?
                .execute(store::RELEASE, &[&self.owner, &extra])
                .await?;
            self.held.retain(|shard, _| !extra.contains(shard));
        }
        let asked = Instant::now();
        let free = share.saturating_sub(self.held.len());
        if free == 0 || asked < self.claim_at {
            return Ok(Vec::new());
        }
        self.claim_at = asked + self.ttl.mul_f64(CLAIM_FRACTION);
        let free = i64::try_from(free).unwrap_or(0);
        let rows = database
            .connection()
            .await?
            .query(store::CLAIM, &[&self.owner, &self.ttl.as_secs_f64(), &free])
            .await?;
        Ok(self.take(&rows, asked))
    }

    /// Give everything back.
    pub(crate) async fn release(&mut self, database: &Database) -> Result<(), Error> {
        let shards: Vec<i16> = std::mem::take(&mut self.held).into_keys().collect();
        let mut connection = database.connection().await?;
        connection
            .execute(store::RELEASE, &[&self.owner, &shards])
            .await?;
        connection.execute(store::LEAVE, &[&self.owner]).await?;
        Ok(())
    }

    fn share(&self) -> usize {
        SHARDS.div_ceil(self.alive.max(1))
    }

    fn take(&mut self, rows: &[Row], asked: Instant) -> Vec<Taken> {
        let trusted_until = asked + self.ttl.mul_f64(TRUSTED);
        rows.iter()
            .map(|row| {
                let shard = row.get(0);
                let lease = Lease {
                    epoch: row.get(1),
                    trusted_until,
                };
                self.held.insert(shard, lease);
                Taken {
                    shard,
                    attempts: row.get(2),
                }
            })
            .collect()
    }
}

/// The rest is for clocks that run unevenly and for statements under way.
const TRUSTED: f64 = 0.7;
const RENEW_FRACTION: f64 = RENEW_AFTER.as_millis() as f64 / TTL.as_millis() as f64;
const CLAIM_FRACTION: f64 = CLAIM_AFTER.as_millis() as f64 / TTL.as_millis() as f64;
