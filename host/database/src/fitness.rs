//! Whether a database can keep what the host promises: asked before it is used.
//!
//! Bound: two connections beside the pool, a dozen short statements. They are simple ones: behind a pooler a prepared
//! statement may not be there any more. Not here: which of it is refused, and what a person can do.

use std::fmt;

use tokio_postgres::SimpleQueryMessage;

use crate::{Connection, Database, Error};

/// Why a database cannot keep it. Displayed as what follows the database's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It acknowledges what it may forget when its machine stops: these settings are off.
    Forgetful(Vec<String>),
    /// It keeps texts in this encoding. Whatever does not exist in it is refused when it comes, or kept as bytes that
    /// nobody can read.
    Encoding(String),
    /// A session does not have the settings that it asked for at its start.
    Deaf(Vec<String>),
    /// A connection gets now this session and now that one.
    Shared,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forgetful(off) => write!(
                f,
                "may lose what it acknowledged when its machine stops: {} is off",
                off.join(", ")
            ),
            Self::Encoding(name) => {
                write!(
                    f,
                    "has the encoding {name}, in which not every text can be kept"
                )
            }
            Self::Deaf(settings) => write!(
                f,
                "does not give its sessions what they ask for at their start: {}",
                settings.join(", ")
            ),
            Self::Shared => write!(
                f,
                "is behind a pooler that gives a connection another session with each transaction, so that neither \
                 settings nor prepared statements last"
            ),
        }
    }
}

impl Database {
    /// Everything that is wrong with it.
    pub async fn unfit(&self) -> Result<Vec<Unfit>, Error> {
        // Two that are this question's own: what is done to their sessions goes with them.
        let beside = self.beside(2)?;
        let found = beside.find().await;
        beside.close().await;
        found
    }

    async fn find(&self) -> Result<Vec<Unfit>, Error> {
        let (mut ours, mut other) = (self.connection().await?, self.connection().await?);
        let mut found = Vec::new();
        let off = firsts(&mut ours, UNSAFE).await?;
        if !off.is_empty() {
            found.push(Unfit::Forgetful(off));
        }
        let encoding = firsts(&mut ours, "show server_encoding").await?.concat();
        if encoding != "UTF8" {
            found.push(Unfit::Encoding(encoding));
        }
        if is_shared(&mut ours, &mut other).await? {
            // Whose settings would be asked for?
            found.push(Unfit::Shared);
            return Ok(found);
        }
        let mut deaf = Vec::new();
        for (name, asked) in self.session() {
            let sql = format!("select setting from pg_settings where lower(name) = '{name}'");
            let is = firsts(&mut ours, &sql).await?.concat();
            if is != asked {
                deaf.push(format!("{name} is {is} and not {asked}"));
            }
        }
        if !deaf.is_empty() {
            found.push(Unfit::Deaf(deaf));
        }
        Ok(found)
    }
}

/// Whether one of two connections has not its own session all the time. A pooler has the session of a connection that
/// says nothing for whoever is next: that is the other one, in a transaction.
async fn is_shared(ours: &mut Connection, other: &mut Connection) -> Result<bool, Error> {
    let mark = rand::random::<u64>();
    let session = format!("select pg_backend_pid() || ' ' || {MARK}");
    ours.batch(&format!("set marquee.session = '{mark}'"))
        .await?;
    let first = firsts(ours, &session).await?;
    let is_ours = |session: &[String]| session.concat().ends_with(&format!(" {mark}"));
    if !is_ours(&first) {
        return Ok(true);
    }
    // Where others work on the same pooler, one of them may come in between.
    for _ in 0..ROUNDS {
        other.batch("begin").await?;
        let theirs = firsts(other, &session).await?;
        if theirs == first || is_ours(&theirs) {
            return Ok(true);
        }
        let again = firsts(ours, &session).await?;
        other.batch("commit").await?;
        if again != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first column of what a statement answers.
async fn firsts(connection: &mut Connection, sql: &str) -> Result<Vec<String>, Error> {
    let answers = connection
        .during(async |client| client.simple_query(sql).await)
        .await?;
    let rows = answers.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(rows.collect())
}

// https://www.postgresql.org/docs/current/runtime-config-wal.html
const UNSAFE: &str = "
select name from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
order by name";
const MARK: &str = "coalesce(current_setting('marquee.session', true), '')";
const ROUNDS: usize = 3;
