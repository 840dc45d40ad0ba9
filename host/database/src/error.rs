//! What can go wrong with a database, sorted by what a caller can do about it.

use tokio_postgres::error::SqlState;

/// Why a statement, or the connection for it, was not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be used as it stands.
    #[error("the URL of database {database} cannot be used: {reason}")]
    Url {
        /// The database by name.
        database: String,
        /// What is wrong with it, without the URL itself.
        reason: String,
    },
    /// No connection in time, or the one in use broke. It is worth trying again.
    #[error("database {database} cannot be reached: {reason}")]
    Unavailable {
        /// The database by name.
        database: String,
        /// What the operating system, the pool or the server said.
        reason: String,
    },
    /// It answers, and a session that was opened just now cannot write. It is worth trying again: another server may take
    /// over.
    #[error("database {database} can be read and not written: {reason}")]
    ReadOnly {
        /// The database by name.
        database: String,
        /// Why it is so.
        reason: &'static str,
    },
    /// The server, or the driver on its behalf, refused the statement.
    #[error("database {database} refused a statement")]
    Statement {
        /// The database by name.
        database: String,
        /// What it said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The statement was not sent: a call's transaction is the host's, and what one call does to a session is not for the
    /// next to see.
    #[error("{0}")]
    Refused(&'static str),
    /// The transaction that a unit of work was is not there any more at its end. What stands of it is not known.
    #[error(
        "the transaction of a unit of work on database {database} was ended by something else than the host"
    )]
    Lost {
        /// The database by name.
        database: String,
    },
    /// A statement came after one that failed in the same unit of work.
    #[error(
        "the unit of work on database {database} has failed before; it can only be rolled back"
    )]
    UnitFailed {
        /// The database by name.
        database: String,
    },
}

impl Error {
    /// Sort what the driver said.
    pub fn from_driver(database: &str, source: tokio_postgres::Error) -> Self {
        let lost = source.is_closed()
            || source.as_db_error().is_none() && is_io(&source)
            || code(&source).is_some_and(is_connection_class);
        if lost {
            Self::Unavailable {
                database: database.to_owned(),
                reason: chain(&source),
            }
        } else {
            Self::Statement {
                database: database.to_owned(),
                source,
            }
        }
    }

    /// The server's code for it, where the server said anything.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Statement { source, .. } => code(source),
            _ => None,
        }
    }

    /// Whether the same work may succeed if it is done again from its start: a serialization failure, a deadlock, or a
    /// statement that was prepared before a change of what it is about.
    pub fn is_conflict(&self) -> bool {
        self.code().is_some_and(is_conflict) || self.is_stale()
    }

    /// Whether the statement was prepared before a change of what it is about, or its prepared form is gone. Nothing was
    /// done.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Statement { source, .. } if is_stale(source))
    }

    /// Whether the server refused the statement, or what stood at the commit, for what is in it: it would refuse it each
    /// time. Not where it is short of something, can only be read, or was told to stop.
    pub fn is_refusal(&self) -> bool {
        const OF_THE_SERVER: [&str; 6] = ["40", "53", "55", "57", "58", "XX"];
        match self {
            Self::Statement { .. } => self.code().is_some_and(|code| {
                !OF_THE_SERVER
                    .iter()
                    .any(|class| code.code().starts_with(class))
                    && *code != SqlState::READ_ONLY_SQL_TRANSACTION
                    && !self.is_stale()
            }),
            Self::Refused(_) | Self::Lost { .. } => true,
            _ => false,
        }
    }

    /// Whether a lock was not had in time, since another session keeps it. Nothing was done.
    pub fn is_locked(&self) -> bool {
        self.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether the database could not be reached, which is no fault of the statement.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::ReadOnly { .. })
    }
}

/// Why a unit of work did not commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It was rolled back; nothing of it stands.
    #[error("the unit of work was rolled back")]
    RolledBack(#[source] Error),
    /// The commit was sent and its answer was lost: it stands or it does not. Never report this as failed.
    #[error("the commit's answer was lost; whether it stands is unknown: {0}")]
    Unknown(String),
}

impl CommitError {
    /// Whether the same work may succeed if it is done again from its start.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::RolledBack(error) if error.is_conflict())
    }
}

/// The server's code in a driver's error.
pub fn code(error: &tokio_postgres::Error) -> Option<&SqlState> {
    error.code()
}

/// An error and all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(crate) fn is_conflict(code: &SqlState) -> bool {
    *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED
}

/// The statement's plan would have other columns now, or the session does not know its name any more.
pub(crate) fn is_stale(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else {
        return false;
    };
    *error.code() == SqlState::INVALID_SQL_STATEMENT_NAME
        || *error.code() == SqlState::FEATURE_NOT_SUPPORTED
            && error.routine() == Some("RevalidateCachedQuery")
}

/// The session is not one to go on with: it is in a transaction that failed, or on a server that only reads.
pub(crate) fn is_of_the_session(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) || is_read_only(error)
}

/// It would have written, and could not.
pub(crate) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// Class 08 (connection), 57P (the server is going down or starting) and 53300 (no connection left): the
/// statement was not judged.
fn is_connection_class(code: &SqlState) -> bool {
    let code = code.code();
    code.starts_with("08") || code.starts_with("57P") || code == "53300"
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}
