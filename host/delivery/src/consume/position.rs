//! How far a consumer has come in a partition, kept where its effects are kept.

use marquee_bus::{Incoming, Partition};
use marquee_database::Database;

use super::{Summary, store};
use crate::{Error, partition::DEATHS_UNTIL_ALONE};

/// Where a consumer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The next offset.
    pub next: i64,
    /// Of which log.
    pub log: Option<String>,
    /// Why there.
    pub why: Why,
}

/// Why a position is set and not advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It begins: for the first time, or in another log.
    Anew,
    /// What was before is not there any more.
    Lost,
    /// There is no message before.
    Empty,
}

/// A consumer's position in a partition, as this host last saw it. One for each assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub(crate) consumer: String,
    pub(crate) partition: Partition,
    pub(crate) next: i64,
    pub(crate) incarnation: i64,
    pub(crate) log: Option<String>,
    pub(crate) began: Option<i64>,
    pub(crate) starts: u32,
    pub(crate) is_paused: bool,
}

impl Position {
    /// The position of a consumer that has seen nothing of the partition.
    pub fn unseen(consumer: &str, partition: &Partition) -> Self {
        Self {
            consumer: consumer.to_owned(),
            partition: partition.clone(),
            next: 0,
            incarnation: 0,
            log: None,
            began: None,
            starts: 0,
            is_paused: false,
        }
    }

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
        let mut position = Self::unseen(consumer, partition);
        if let Some(row) = rows.first() {
            position.next = row.get(0);
            position.incarnation = row.get(1);
            position.log = row.get(2);
            position.began = row.get(3);
            position.starts = store::count(row.get(4));
            position.is_paused = row.get(5);
        }
        Ok(position)
    }

    /// Of which partition it is.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Everything below this offset is dealt with.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// How often a host began to deliver from here and was not heard of again, the present try counted in.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Whether as many hosts died in a delivery from here as make its first message go alone.
    pub fn is_suspect(&self) -> bool {
        self.starts >= DEATHS_UNTIL_ALONE
    }

    /// Of a stretch of the partition, what is not dealt with yet.
    pub fn fresh<'a>(&self, records: &'a [Incoming]) -> &'a [Incoming] {
        let dealt_with = records.partition_point(|record| record.offset < self.next);
        records.get(dealt_with..).unwrap_or_default()
    }

    /// Go on elsewhere than where the last batch ended. Whoever knows the position as it was is fenced. What was dealt
    /// with already is known by its number or event id, and is not dealt with twice.
    pub async fn set(mut self, database: &Database, to: &Place) -> Result<Self, Error> {
        let Place { next, log, why } = to;
        let began = self.began.filter(|_| *why != Why::Anew).unwrap_or(*next);
        let passed = |of| if *why == of { next - self.next } else { 0 };
        let (lost, holes) = (passed(Why::Lost), passed(Why::Empty));
        let anew = *why == Why::Anew;
        self.incarnation = self
            .change(
                database,
                store::SET,
                &[next, log, &began, &anew, &lost, &holes],
            )
            .await?;
        self.starts = 0;
        self.next = *next;
        self.log.clone_from(log);
        self.began = Some(began);
        Ok(self)
    }

    /// Count the beginning of a delivery, durably and before it begins. A later try learns from it that this one's
    /// host died.
    pub async fn start(mut self, database: &Database) -> Result<Self, Error> {
        let starts = self.change(database, store::START, &[]).await?;
        self.starts = u32::try_from(starts).unwrap_or(u32::MAX);
        Ok(self)
    }

    /// The host has survived what it started, although the position did not move (the batch was rolled back, the
    /// partition revoked).
    pub async fn survived(mut self, database: &Database) -> Result<Self, Error> {
        self.change(database, store::SURVIVED, &[]).await?;
        self.starts = 0;
        Ok(self)
    }

    /// Go on after a batch whose unit of work has committed.
    pub fn advance(&mut self, summary: &Summary) {
        self.next = summary.next;
        self.starts = 0;
    }

    /// Whether keys may begin with any number: what was before is not there to be read.
    pub(crate) fn takes_any_number(&self) -> bool {
        self.began.is_some_and(|began| began > 0)
    }

    async fn change(
        &self,
        database: &Database,
        sql: &str,
        more: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<i64, Error> {
        let mut params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![
            &self.consumer,
            &self.partition.topic,
            &self.partition.number,
            &self.next,
            &self.incarnation,
        ];
        params.extend(more);
        let rows = database
            .connection()
            .await?
            .query(sql, &params)
            .await
            .map_err(Error::of_own_statement)?;
        rows.first()
            .map(|row| row.get(0))
            .ok_or_else(|| self.fenced())
    }

    pub(crate) fn fenced(&self) -> Error {
        Error::Fenced {
            consumer: self.consumer.clone(),
            partition: self.partition.clone(),
        }
    }
}
