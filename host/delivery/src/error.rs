//! What can go wrong with a delivery, sorted by what a caller does about it.

use marquee_bus::Partition;
use marquee_database::CommitError;
use tokio_postgres::error::SqlState;

/// Why a step of a delivery did not happen. Unless a variant says otherwise, nothing of the step stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another host has moved the consumer's position since this one saw it. Drop what was read of the partition;
    /// load the position anew where the partition is still held.
    #[error("consumer {consumer} has gone on in partition {partition} on another host")]
    Fenced {
        /// Whose position.
        consumer: String,
        /// Of which partition.
        partition: Partition,
    },
    /// Another transaction holds a lock for longer than a statement waits. It says nothing about the messages: the
    /// same again, a little later.
    #[error("another transaction holds what this one needs")]
    Busy(#[source] marquee_database::Error),
    /// The component's answer has not one verdict for each message.
    #[error("{given} verdicts for {expected} messages")]
    Verdicts {
        /// Messages delivered.
        expected: usize,
        /// Verdicts given.
        given: usize,
    },
    /// The message or the job is not what the claim took it for: another host claimed it when this claim had run out, or
    /// it was settled, skipped, discarded or changed meanwhile.
    #[error("{0} is no longer there to be settled")]
    Gone(String),
    /// The database refused or could not be reached.
    #[error(transparent)]
    Database(#[from] marquee_database::Error),
    /// The bus did not answer.
    #[error(transparent)]
    Bus(#[from] marquee_bus::Error),
    /// The commit failed, or nobody knows.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Error {
    /// Whether the same work may succeed if it is done again from its start, at once: a serialization failure or a
    /// deadlock.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Database(error) => error.is_conflict(),
            Self::Commit(error) => error.is_conflict(),
            _ => false,
        }
    }

    /// Whether the fault is the world's and not a message's: the database is away or busy. Wait and try again; do
    /// not halve the batch.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Database(error) => error.is_unavailable(),
            Self::Commit(CommitError::RolledBack(error)) => error.is_unavailable(),
            Self::Commit(CommitError::Unknown(_)) => true,
            _ => false,
        }
    }

    /// Whether the messages are to blame although the component did not say so: the server refused what is in them, at a
    /// statement of our own or at the commit, and would each time.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Verdicts { .. } => true,
            Self::Database(error) | Self::Commit(CommitError::RolledBack(error)) => {
                error.is_refusal()
            }
            _ => false,
        }
    }

    /// What a statement of our own that names a claim comes to, by the rows that it found.
    pub(crate) fn unless_found(
        rows: Result<u64, marquee_database::Error>,
        what: impl std::fmt::Display,
    ) -> Result<(), Self> {
        match rows.map_err(Self::of_own_statement)? {
            0 => Err(Self::Gone(what.to_string())),
            _ => Ok(()),
        }
    }

    /// A failure of one of our own statements, of which a timeout can only mean that it waited for a lock.
    pub(crate) fn of_own_statement(error: marquee_database::Error) -> Self {
        match error.code() {
            Some(code)
                if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE =>
            {
                Self::Busy(error)
            }
            _ => Self::Database(error),
        }
    }
}
