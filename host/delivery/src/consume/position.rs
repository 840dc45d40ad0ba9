//! How far a consumer has come in a partition, kept where its effects are kept.

use marquee_bus::{Incoming, Partition};
use marquee_database::Database;

use super::{Consumer, Summary, store};
use crate::Error;

/// A consumer's position in a partition, as this host last saw it. One for each assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub(crate) consumer: String,
    pub(crate) partition: Partition,
    pub(crate) next: i64,
    pub(crate) starts: u32,
}

/// How the records after a position are to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they come.
    Batch,
    /// One by one: a host did not survive the first of them, or seems not to have.
    Single,
    /// The first one not at all: it goes to the dead by [`super::bury`], since no host survived it.
    Bury,
}

impl Position {
    /// The position as it stands. To be called when a partition was assigned, and after [`Error::Fenced`] or a
    /// commit whose outcome is unknown.
    pub async fn load(
        database: &Database,
        consumer: &str,
        partition: &Partition,
    ) -> Result<Self, Error> {
        let mut connection = database.connection().await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&consumer, &partition.topic, &partition.number];
        let mut rows = connection.query(store::POSITION, &params).await?;
        if rows.is_empty() {
            connection.execute(store::NEW_POSITION, &params).await?;
            rows = connection.query(store::POSITION, &params).await?;
        }
        let row = rows.first();
        Ok(Self {
            consumer: consumer.to_owned(),
            partition: partition.clone(),
            next: row.map_or(0, |row| row.get(0)),
            starts: row.map_or(0, |row| store::count(row.get(1))),
        })
    }

    /// The position of a consumer that has seen nothing of the partition.
    pub fn unseen(consumer: &str, partition: &Partition) -> Self {
        Self {
            consumer: consumer.to_owned(),
            partition: partition.clone(),
            next: 0,
            starts: 0,
        }
    }

    /// The offset to seek to after an assignment: none where the consumer has seen nothing of the partition, so
    /// that the group's own beginning holds.
    pub fn seek_to(&self) -> Option<i64> {
        (self.next > 0).then_some(self.next)
    }

    /// Of which partition it is.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Everything below this offset is dealt with.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Of a stretch of the partition, what is not dealt with yet.
    pub fn fresh<'a>(&self, records: &'a [Incoming]) -> &'a [Incoming] {
        let dealt_with = records.partition_point(|record| record.offset < self.next);
        records.get(dealt_with..).unwrap_or_default()
    }

    /// Begin at the partition's beginning again, since the log that the position was of is gone. What was dealt with
    /// already is known by its number or event id, and is not dealt with twice.
    pub async fn restart(&mut self, database: &Database) -> Result<(), Error> {
        self.starts = self.change_starts(database, store::RESTART).await?;
        self.next = 0;
        Ok(())
    }

    /// Count the beginning of a delivery, durably and before it begins. To be called for the first batch after an
    /// assignment, and in [`Mode::Single`] for each record. A later try learns from it that this one's host died.
    pub async fn start(&mut self, database: &Database) -> Result<(), Error> {
        self.starts = self.change_starts(database, store::START).await?;
        Ok(())
    }

    /// The host has survived what it started, although the position did not move (the batch was rolled back, the
    /// partition revoked).
    pub async fn survived(&mut self, database: &Database) -> Result<(), Error> {
        if self.starts > 0 {
            self.starts = self.change_starts(database, store::SURVIVED).await?;
        }
        Ok(())
    }

    /// How to go on, given how often hosts died at this position. The start of the present try is counted in.
    pub fn mode(&self, consumer: &Consumer) -> Mode {
        let deaths = self.starts.saturating_sub(1);
        if deaths >= consumer.policy.attempts.max(DEATHS_UNTIL_SINGLE) {
            Mode::Bury
        } else if deaths >= DEATHS_UNTIL_SINGLE {
            Mode::Single
        } else {
            Mode::Batch
        }
    }

    /// Go on after a batch whose unit of work has committed.
    pub fn advance(&mut self, summary: &Summary) {
        self.next = summary.next;
        self.starts = 0;
    }

    /// Which try of the record at the position this is.
    pub(crate) fn attempt(&self) -> u32 {
        self.starts.max(1)
    }

    async fn change_starts(&self, database: &Database, sql: &str) -> Result<u32, Error> {
        let rows = database
            .connection()
            .await?
            .query(
                sql,
                &[
                    &self.consumer,
                    &self.partition.topic,
                    &self.partition.number,
                    &self.next,
                ],
            )
            .await
            .map_err(Error::of_own_statement)?;
        rows.first()
            .map(|row| store::count(row.get(0)))
            .ok_or_else(|| self.fenced())
    }

    pub(crate) fn fenced(&self) -> Error {
        Error::Fenced {
            consumer: self.consumer.clone(),
            partition: self.partition.clone(),
        }
    }
}

/// One death may be anything. Two at the same place are likely the message's doing.
const DEATHS_UNTIL_SINGLE: u32 = 2;
