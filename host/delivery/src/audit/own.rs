//! An application's own check of what it keeps: one query, each row of which is something that does not add up.
//!
//! Promise: it changes nothing, in a transaction that only reads and is rolled back. A query that fails is a finding.
//! Bound: as long as any statement of the database, [`LISTED`] rows, and a text for each; counted up to
//! [`lag::COUNTED`].

use marquee_database::{Database, chain};

use super::Finding;
use crate::{Error, lag};

/// The query, and where it stands.
#[derive(Debug, Clone)]
pub struct Check {
    place: String,
    sql: String,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The file has no query.
    #[error("the audit {0} is empty")]
    Empty(String),
    /// It is not one query, or does not only read.
    #[error("the audit {place} is not one query that only reads")]
    Refused {
        /// The file.
        place: String,
        /// What the database said.
        #[source]
        source: Error,
    },
}

impl Check {
    /// The text of a file, by the name that persons know.
    pub fn new(place: String, text: &str) -> Result<Self, CheckError> {
        let is_comment = |line: &str| line.is_empty() || line.starts_with("--");
        if text.lines().map(str::trim).all(is_comment) {
            return Err(CheckError::Empty(place));
        }
        let sql = text.trim().trim_end_matches(';').to_owned();
        Ok(Self { place, sql })
    }

    /// Refuse what is not one query, or writes. Where a function that it calls writes, the database says so when it runs.
    pub async fn verify(&self, database: &Database) -> Result<(), CheckError> {
        self.ask(database, 0)
            .await
            .map(drop)
            .map_err(|source| CheckError::Refused {
                place: self.place.clone(),
                source,
            })
    }

    /// What it finds.
    pub async fn findings(&self, database: &Database) -> Result<Vec<Finding>, Error> {
        let finding = |what| Finding {
            place: self.place.clone(),
            what,
        };
        let rows = match self.ask(database, LISTED).await {
            Err(error) if !error.is_passing() => {
                let what = format!("the query failed: {}", chain(&error));
                return Ok(vec![finding(what)]);
            }
            rows => rows?,
        };
        let all = rows.first().map_or(0, |row| row.0);
        let listed = rows.len();
        let mut findings: Vec<Finding> = rows.into_iter().map(|row| finding(row.1)).collect();
        if all > lag::COUNTED {
            let more = format!(
                "more than {} rows differ; {listed} are listed",
                lag::COUNTED
            );
            findings.push(finding(more));
        } else if all > LISTED {
            findings.push(finding(format!("{all} rows differ; {listed} are listed")));
        }
        Ok(findings)
    }

    /// How many rows there are, and the text of each of the first.
    async fn ask(&self, database: &Database, listed: i64) -> Result<Vec<(i64, String)>, Error> {
        let mut unit = database.unit();
        let rows = async {
            unit.execute("set transaction read only", &[]).await?;
            unit.query_planned(&self.question(listed), &[]).await
        };
        let rows = rows.await;
        unit.rollback().await;
        Ok(rows?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// As a part of another query it can be nothing but a query. JSON, since that takes any type of a column and keeps
    /// their order.
    fn question(&self, listed: i64) -> String {
        let (sql, counted) = (&self.sql, lag::COUNTED + 1);
        format!(
            "
select
    count(*) over () as \"all\",
    left((
        select string_agg(c.name || ': ' || coalesce(c.value, 'null'), ', ' order by c.number)
        from json_each_text(row_to_json(differing)) with ordinality as c (name, value, number)
    ), {SHOWN}) as what
from (select * from (
{sql}
) as own limit {counted}) as differing
limit {listed}"
        )
    }
}

/// More than a person reads at once.
const LISTED: i64 = 100;
/// Characters of a row.
const SHOWN: i64 = 1_000;
