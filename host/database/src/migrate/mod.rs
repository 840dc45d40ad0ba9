//! Migrations: numbered SQL files, forward only, each applied once.
//!
//! Promise: two hosts that start at once apply each file once (advisory lock); a file that was changed after it
//! was applied is an error, not a surprise. Each file and its record are one transaction, which waits for no lock for longer
//! than a moment: where another session keeps one, as a dump does, it is tried again until it is had.
//!
//! A file whose first line is `-- marquee: expand` says that versions which do not know of it go on working; with `-- marquee:
//! contract` that it takes away what they may use, and it is run only where that is asked for. A release runs what is marked.
//!
//! A file whose first line is `-- marquee: no transaction` is run statement by statement, for what no transaction may hold
//! (`create index concurrently`). It is recorded after its last one; broken off before, it is run again from its first, so
//! each must be one that can be repeated. Nothing of a folder is run before all of its new files are known to be right.

mod file;
mod lock;

use std::{collections::BTreeMap, path::Path, time::Duration};

use tokio_postgres::error::SqlState;

use self::file::{Marks, Plan, Shape, Step, is_plain};
use crate::{Connection, Database, Error, statements::Statement};

/// A set of migrations of one owner: the host's own schema, or a service's folder.
#[derive(Debug, Clone)]
pub struct Migrations {
    owner: String,
    steps: Vec<Step>,
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
    /// It begins or ends a transaction itself. Nothing was run.
    #[error("migration {owner}/{name}.sql:{line}: `{statement}` cannot stand there: {instead}")]
    Transaction {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
        /// Where in it.
        line: usize,
        /// How the statement begins.
        statement: String,
        /// What to do.
        instead: &'static str,
    },
    /// Its first line asks for something that there is not. Nothing was run.
    #[error(
        "migration {owner}/{name}.sql:1: `-- marquee: {said}` is not known; there is `-- marquee: no transaction`, and `expand` or \
         `contract`, with commas between"
    )]
    Mark {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
        /// What it asks for.
        said: String,
    },
    /// It is new, a version is live that does not know of it, and it does not say what becomes of that. Nothing was run.
    #[error(
        "migration {owner}/{name}.sql does not say whether what is live goes on working with it: let its first line be `-- marquee: \
         expand` if it does, or `-- marquee: contract` if it takes something away"
    )]
    Unmarked {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
    },
    /// It takes something away, and files of the same set were not applied yet. Nothing was run.
    #[error(
        "migration {owner}/{name}.sql was not applied yet; release the version that brings it before anything is taken away"
    )]
    NotReleased {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
    },
    /// A statement of a file without a transaction failed. Those before it stand, and are run again with it.
    #[error(
        "migration {owner}/{name}.sql:{line} failed; what stands before it in the file stands, and is run again at the next \
         start, so it must be repeatable (`if not exists`){invalid}"
    )]
    Apart {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
        /// Where the statement begins.
        line: usize,
        /// The indexes that it left behind half made, and what to do about them; empty if there are none.
        invalid: String,
        /// What the database said.
        #[source]
        source: Box<Error>,
    },
    /// A file without a transaction ran to its end, and an index is not what it says: it was left half made before, and
    /// `if not exists` passed it over.
    #[error("migration {owner}/{name} is not done{invalid}")]
    Invalid {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
        /// The indexes, and what to do about them.
        invalid: String,
    },
    /// A migration's SQL failed. Those before it stand.
    #[error("migration {owner}/{name} failed{hint}")]
    Apply {
        /// Whose set.
        owner: String,
        /// Which file.
        name: String,
        /// What to do, where that is known.
        hint: &'static str,
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
        let steps = files.iter().map(|(name, sql)| Step::parse(name, sql));
        Self::sorted(owner, steps.collect::<Result<_, _>>()?)
    }

    /// Migrations that somebody sent: SQL by the file's name.
    pub fn of(owner: &str, files: &BTreeMap<String, String>) -> Result<Self, MigrateError> {
        let steps = files.iter().map(|(name, sql)| Step::parse(name, sql));
        Self::sorted(owner, steps.collect::<Result<_, _>>()?)
    }

    /// The number of the newest: by it a version says which tables it knows. 0: there are none.
    pub fn newest(&self) -> i32 {
        self.steps.last().map_or(0, |step| step.number)
    }

    /// The number of the newest that takes something away; None: none does.
    pub fn newest_contraction(&self) -> Result<Option<i32>, MigrateError> {
        let mut newest = None;
        for step in &self.steps {
            if step.marks(&self.owner)?.shape == Some(Shape::Contract) {
                newest = Some(step.number);
            }
        }
        Ok(newest)
    }

    /// Migrations in a folder: every file that ends in `.sql`, but the one that is something else.
    pub fn from_folder(
        owner: &str,
        folder: &Path,
        other: Option<&Path>,
    ) -> Result<Self, MigrateError> {
        Self::of(owner, &in_folder(folder, |path| other != Some(path))?)
    }

    /// Apply what is missing, but for what takes something away. Returns the names of what was applied now.
    pub async fn apply(&self, database: &Database) -> Result<Vec<String>, MigrateError> {
        self.apply_those(database, Which::Start).await
    }

    /// The same while versions are live that do not know of it: whatever is missing has to say what becomes of them.
    pub async fn expand(&self, database: &Database) -> Result<Vec<String>, MigrateError> {
        self.apply_those(database, Which::Expand).await
    }

    /// Apply what takes something away. Nothing else may be missing.
    pub async fn contract(&self, database: &Database) -> Result<Vec<String>, MigrateError> {
        self.apply_those(database, Which::Contract).await
    }

    async fn apply_those(
        &self,
        database: &Database,
        which: Which,
    ) -> Result<Vec<String>, MigrateError> {
        let mut connection = database.connection().await?;
        connection.wait_for(None);
        lock::take(&mut connection, database.name()).await?;
        let result = self.apply_locked(database, which, &mut connection).await;
        if result.is_ok() {
            lock::give_back(&mut connection).await?;
        }
        // What a file sets (`set search_path`, as a dump does) is not for the next one to use the connection. After a failure
        // closing it gives the lock back too, whatever state it is in.
        if !matches!(&result, Ok(done) if done.is_empty()) {
            connection.discard();
        }
        result
    }

    async fn apply_locked(
        &self,
        database: &Database,
        which: Which,
        connection: &mut Connection,
    ) -> Result<Vec<String>, MigrateError> {
        connection.batch(TABLE).await?;
        let missing = self.missing(database, connection).await?;
        let mut wanted = Vec::new();
        for (step, plan) in missing {
            if which.wants(&self.owner, step)? {
                wanted.push((step, plan));
            }
        }
        let mut done = Vec::new();
        for (step, plan) in wanted {
            match plan {
                Plan::Whole => self.apply_whole(connection, step).await?,
                Plan::Apart(statements) => {
                    self.apply_apart(connection, step, &statements).await?;
                }
            }
            tracing::info!(
                database = database.name(),
                "applied migration {}/{}",
                self.owner,
                step.name
            );
            done.push(step.name.clone());
        }
        Ok(done)
    }

    /// What was not applied yet, each known to be right as far as it shows without running it.
    async fn missing(
        &self,
        database: &Database,
        connection: &mut Connection,
    ) -> Result<Vec<(&Step, Plan<'_>)>, MigrateError> {
        let rows = connection
            .query(
                "select number, checksum from marquee.migrations where owner = $1",
                &[&self.owner],
            )
            .await?;
        let applied: BTreeMap<i32, String> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut missing = Vec::new();
        for step in &self.steps {
            match applied.get(&step.number) {
                Some(recorded) if step.was(recorded) => {}
                Some(_) => {
                    return Err(MigrateError::Changed {
                        database: database.name().to_owned(),
                        owner: self.owner.clone(),
                        name: step.name.clone(),
                    });
                }
                None => missing.push((step, step.plan(&self.owner)?)),
            }
        }
        Ok(missing)
    }

    async fn apply_whole(
        &self,
        connection: &mut Connection,
        step: &Step,
    ) -> Result<(), MigrateError> {
        let sql = format!(
            "set local statement_timeout = 0;\n{}\n;{}",
            step.sql,
            self.record(step)
        );
        connection
            .alter(&self.name(step), &sql)
            .await
            .map_err(|source| MigrateError::Apply {
                owner: self.owner.clone(),
                name: step.name.clone(),
                hint: if source.code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION) {
                    NEEDS_NONE
                } else {
                    ""
                },
                source,
            })
    }

    async fn apply_apart(
        &self,
        connection: &mut Connection,
        step: &Step,
        statements: &[Statement<'_>],
    ) -> Result<(), MigrateError> {
        for statement in statements {
            let what = format!("{}.sql:{}", self.name(step), statement.line);
            // Nobody stands behind what is done concurrently, and given up half-way it leaves an index that is none.
            let result = if statement.says("concurrently") {
                connection.batch("set lock_timeout = 0").await?;
                patiently(&what, connection.batch(statement.text)).await
            } else {
                connection.alter_apart(&what, statement.text).await
            };
            if let Err(source) = result {
                // Where the database is gone, so is what it could tell of its indexes.
                let invalid = invalid_indexes(connection, step).await;
                return Err(MigrateError::Apart {
                    owner: self.owner.clone(),
                    name: step.name.clone(),
                    line: statement.line,
                    invalid: invalid.unwrap_or_default(),
                    source: Box::new(source),
                });
            }
        }
        let invalid = invalid_indexes(connection, step).await?;
        if !invalid.is_empty() {
            return Err(MigrateError::Invalid {
                owner: self.owner.clone(),
                name: step.name.clone(),
                invalid,
            });
        }
        connection.batch(&self.record(step)).await?;
        Ok(())
    }

    fn name(&self, step: &Step) -> String {
        format!("migration {}/{}", self.owner, step.name)
    }

    /// That it was applied. Names are checked when read (letters, digits, underscores), so they need no quoting here.
    fn record(&self, step: &Step) -> String {
        format!(
            "insert into marquee.migrations (owner, number, name, checksum) values ('{}', {}, '{}', '{}')",
            self.owner, step.number, step.name, step.checksum,
        )
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

/// The SQL of those files in a folder that end in `.sql` and are wanted, by their names.
pub fn in_folder(
    folder: &Path,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<BTreeMap<String, String>, MigrateError> {
    let unread = |path: &Path, source| MigrateError::Read {
        path: path.display().to_string(),
        source,
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|source| unread(folder, source))? {
        let path = entry.map_err(|source| unread(folder, source))?.path();
        let is_sql = path.extension().is_some_and(|extension| extension == "sql");
        if !is_sql || !is_wanted(&path) {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let sql = std::fs::read_to_string(&path).map_err(|source| unread(&path, source))?;
        files.insert(name.into_owned(), sql);
    }
    Ok(files)
}

/// Which of the missing ones are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// A host starts, or a person migrates: all but those that take something away.
    Start,
    /// A release: those that say that what is live goes on working.
    Expand,
    /// Those that take something away.
    Contract,
}

impl Which {
    /// Whether this one is, if it may be there.
    fn wants(self, owner: &str, step: &Step) -> Result<bool, MigrateError> {
        let Marks { shape, .. } = step.marks(owner)?;
        let (owner, name) = (owner.to_owned(), step.name.clone());
        match (self, shape) {
            (Self::Start, shape) => Ok(shape != Some(Shape::Contract)),
            (Self::Expand, None) => Err(MigrateError::Unmarked { owner, name }),
            (Self::Contract, None | Some(Shape::Expand)) => {
                Err(MigrateError::NotReleased { owner, name })
            }
            (Self::Expand, Some(shape)) => Ok(shape == Shape::Expand),
            (Self::Contract, Some(Shape::Contract)) => Ok(true),
        }
    }
}

/// Wait for a statement that may take long, and say so.
async fn patiently(
    what: &str,
    statement: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let mut statement = std::pin::pin!(statement);
    loop {
        match tokio::time::timeout(SAID_EVERY, statement.as_mut()).await {
            Ok(result) => return result,
            Err(_) => tracing::info!(
                "{what} is not done yet: it reads the whole table, and waits for every transaction that began before it"
            ),
        }
    }
}

/// Indexes that were left half made, of those that the file names or whose tables it does; in words, with what to do.
async fn invalid_indexes(connection: &mut Connection, step: &Step) -> Result<String, Error> {
    let words: Vec<String> = step
        .sql
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .flat_map(|word| [word.to_owned(), word.to_lowercase()])
        .collect();
    let rows = connection.query(INVALID, &[&words]).await?;
    let said = rows.iter().map(|row| {
        let index: String = row.get(0);
        format!("; index {index} is half made and serves nobody: `drop index concurrently {index}`, then start again")
    });
    Ok(said.collect())
}

/// Those of a partitioned table are left out: they are not valid before all parts have theirs.
const INVALID: &str = "
select x.indexrelid::regclass::text
from pg_index as x
join pg_class as i on i.oid = x.indexrelid
join pg_class as t on t.oid = x.indrelid
where not x.indisvalid and i.relkind = 'i' and (i.relname = any($1) or t.relname = any($1))
order by 1";
const SAID_EVERY: Duration = Duration::from_secs(30);
const NEEDS_NONE: &str = "; for what no transaction may hold, begin a file of its own with the line `-- marquee: no transaction`";
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
