//! Why a server could not be had, and what to do about it.

use std::path::PathBuf;

/// Why a server could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine has no PostgreSQL server programs.
    #[error(
        "no PostgreSQL server programs (initdb, postgres, pg_ctl) on this machine; install them (Debian and Ubuntu: apt-get install postgresql)"
    )]
    NoPrograms,
    /// Running as root, which PostgreSQL refuses, and there is no user to run it as.
    #[error(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody; run as another user"
    )]
    NoUser,
    /// Another host uses the folder.
    #[error(
        "{0} is in use by another host; stop that one, or keep this one's data elsewhere with --data"
    )]
    InUse(PathBuf),
    /// The folder cannot be made, read or given to the server's user.
    #[error("{path} cannot be used: {reason}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the operating system said, and what to do.
        reason: String,
    },
    /// One of the programs failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which one.
        program: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// The data are of another version of PostgreSQL.
    #[error(
        "{folder} has the data of PostgreSQL {data}, and this machine has PostgreSQL {programs}, which cannot read them; \
         install PostgreSQL {data} beside it (Debian and Ubuntu: apt-get install postgresql-{data}) and it is used, or bring \
         the data over with pg_upgrade, or move the folder away to begin anew"
    )]
    OtherVersion {
        /// Where.
        folder: PathBuf,
        /// Theirs.
        data: u32,
        /// Those of the programs that were found.
        programs: u32,
    },
    /// It was started and does not answer.
    #[error("the server does not answer; the end of {log}: {tail}")]
    Silent {
        /// Its log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// It refused a statement.
    #[error("the server refused: {0}")]
    Refused(#[from] tokio_postgres::Error),
}
