//! Migrations: numbered SQL files, forward only, each applied once.
//!
//! Promise: two hosts that start at once apply each file once (advisory lock); a file that was changed after it
//! was applied is an error, not a surprise. Each file and its record are one transaction, which waits for no lock for longer
//! than a moment: where another session keeps one, as a dump does, it is tried again until it is had.

use std::{path::Path, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::{Database, Error};

/// A set of migrations of one owner: the host's own schema, or a service's folder.
#[derive(Debug, Clone)]
pub struct Migrations {
    owner: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    number: i32,
    name: String,
    sql: String,
    checksum: String,
}

/// Why migrations could not be read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A folder or file cannot be read.
    #[error("migrations {path} cannot be read")]
    Read {
        /// Which one.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not named `0001_what_it_does.sql`, or its number is taken.
    #[error("migration {file} is not named as one: {reason}")]
    Name {
        /// The file.
        file: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// What was applied is not what stands in the folder.
    #[error(
        "migration {owner}/{name} of database {database} was applied with other content; restore the file and add a new one"
    )]
    Changed {
        /// The database by name.
        database: String,
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
    },
    /// A migration's SQL failed. Those before it stand.
    #[error("migration {owner}/{name} failed")]
    Apply {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
        /// What the database said.
        #[source]
        source: Error,
    },
    /// The database cannot be asked.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Migrations {
    /// Migrations that are part of the program: `(file name, SQL)` in order.
    pub fn built_in(owner: &str, files: &[(&str, &str)]) -> Result<Self, MigrateError> {
        let steps = files
            .iter()
            .map(|(name, sql)| Step::parse(name, (*sql).to_owned()));
        Self::sorted(owner, steps.collect::<Result<_, _>>()?)
    }

    /// Migrations in a folder: every file that ends in `.sql`, but the one that is something else.
    pub fn from_folder(
        owner: &str,
        folder: &Path,
        other: Option<&Path>,
    ) -> Result<Self, MigrateError> {
        let read = |source| MigrateError::Read {
            path: folder.display().to_string(),
            source,
        };
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let is_sql = path.extension().is_some_and(|extension| extension == "sql");
            if !is_sql || other == Some(path.as_path()) {
                continue;
            }
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let sql = std::fs::read_to_string(&path).map_err(|source| MigrateError::Read {
                path: path.display().to_string(),
                source,
            })?;
            steps.push(Step::parse(&name, sql)?);
        }
        Self::sorted(owner, steps)
    }

    /// Apply what is missing. Returns the names of what was applied now.
    pub async fn apply(&self, database: &Database) -> Result<Vec<String>, MigrateError> {
        let mut connection = database.connection().await?;
        connection.wait_for(None);
        lock(&mut connection, database.name()).await?;
        let result = self.apply_locked(database, &mut connection).await;
        match &result {
            Ok(_) => connection.batch(UNLOCK).await?,
            // The lock is the session's: closing it gives the lock back whatever state it is in.
            Err(_) => connection.discard(),
        }
        result
    }

    async fn apply_locked(
        &self,
        database: &Database,
        connection: &mut crate::Connection,
    ) -> Result<Vec<String>, MigrateError> {
        connection.batch(TABLE).await?;
        let rows = connection
            .query(
                "select number, checksum from marquee.migrations where owner = $1",
                &[&self.owner],
            )
            .await?;
        let applied: std::collections::BTreeMap<i32, String> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut done = Vec::new();
        for step in &self.steps {
            match applied.get(&step.number) {
                Some(checksum) if *checksum == step.checksum => {}
                Some(_) => {
                    return Err(MigrateError::Changed {
                        database: database.name().to_owned(),
                        owner: self.owner.clone(),
                        name: step.name.clone(),
                    });
                }
                None => {
                    self.apply_step(connection, step).await?;
                    tracing::info!(
                        database = database.name(),
                        "applied migration {}/{}",
                        self.owner,
                        step.name
                    );
                    done.push(step.name.clone());
                }
            }
        }
        Ok(done)
    }

    async fn apply_step(
        &self,
        connection: &mut crate::Connection,
        step: &Step,
    ) -> Result<(), MigrateError> {
        // Names are checked when read (letters, digits, underscores), so they need no quoting here.
        let sql = format!(
            "set local statement_timeout = 0;\n{}\n;insert into marquee.migrations (owner, number, name, checksum) values ('{}', {}, '{}', '{}')",
            step.sql, self.owner, step.number, step.name, step.checksum,
        );
        let what = format!("migration {}/{}", self.owner, step.name);
        connection
            .alter(&what, &sql)
            .await
            .map_err(|source| MigrateError::Apply {
                owner: self.owner.clone(),
                name: step.name.clone(),
                source,
            })
    }

    fn sorted(owner: &str, mut steps: Vec<Step>) -> Result<Self, MigrateError> {
        if !is_plain(owner) {
            return Err(MigrateError::Name {
                file: owner.to_owned(),
                reason: "the owner has other characters than letters, digits, - and _",
            });
        }
        steps.sort_by_key(|step| step.number);
        for pair in steps.windows(2) {
            if let [first, second] = pair
                && first.number == second.number
            {
                return Err(MigrateError::Name {
                    file: second.name.clone(),
                    reason: "its number is taken",
                });
            }
        }
        Ok(Self {
            owner: owner.to_owned(),
            steps,
        })
    }
}

impl Step {
    fn parse(file: &str, sql: String) -> Result<Self, MigrateError> {
        let bad = |reason| MigrateError::Name {
            file: file.to_owned(),
            reason,
        };
        let name = file
            .strip_suffix(".sql")
            .ok_or_else(|| bad("it does not end in .sql"))?;
        let (number, _) = name
            .split_once('_')
            .ok_or_else(|| bad("it has no number and name"))?;
        let number = number
            .parse()
            .map_err(|_| bad("it does not begin with a number"))?;
        if !is_plain(name) {
            return Err(bad("it has other characters than letters, digits, - and _"));
        }
        let checksum = hex::encode(Sha256::digest(sql.as_bytes()));
        Ok(Self {
            number,
            name: name.to_owned(),
            sql,
            checksum,
        })
    }
}

/// Wait until no other host migrates this database.
async fn lock(connection: &mut crate::Connection, database: &str) -> Result<(), Error> {
    let mut locked = std::pin::pin!(connection.batch(LOCK));
    loop {
        match tokio::time::timeout(SAID_EVERY, locked.as_mut()).await {
            Ok(result) => return result,
            Err(_) => tracing::warn!(
                database,
                "another host migrates database {database}; waiting for it"
            ),
        }
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whoever waits is told of it.
const SAID_EVERY: Duration = Duration::from_secs(5);
/// One lock for all migrations of a database, whoever owns them. Two hosts that start together wait for each other.
const LOCK: &str = "set statement_timeout = 0; select pg_advisory_lock(7305803100242);";
const UNLOCK: &str = "select pg_advisory_unlock(7305803100242); reset statement_timeout;";
const TABLE: &str = "
create schema if not exists marquee;
create table if not exists marquee.migrations (
    owner text not null,
    number integer not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    constraint migrations_pkey primary key (owner, number)
);
comment on table marquee.migrations is 'What was applied to this database, by owner and number.';";
