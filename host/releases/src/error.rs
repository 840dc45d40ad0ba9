//! Why a step is not taken. What was live stays so.

use std::{collections::BTreeSet, time::Duration};

use marquee_database::{CommitError, migrate::MigrateError};
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Refused, StoreError};
use marquee_runtime::LoadError;
use tokio::task::JoinError;

use crate::{Unsigned, compiler::CompileError};

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The database says no.
    #[error("the releases of all hosts cannot be had")]
    Database(#[from] marquee_database::Error),
    /// A step may stand or not.
    #[error("whether the step stands is not known; look at what is live when the database answers")]
    Commit(#[from] CommitError),
    /// What is written there is not understood.
    #[error(
        "what the database says of component {component} is not understood: a later release may have written it"
    )]
    Strange {
        /// Of which component.
        component: ComponentId,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The bytes of a version are not those that its name says.
    #[error("the bytes of version {0} in the database of releases are others; deploy it again")]
    Changed(Digest),
    /// The bytes of a version are not there.
    #[error("version {0} is not in the database of releases; deploy it again")]
    Missing(Digest),
}

impl LedgerError {
    pub(crate) fn strange(component: &ComponentId, source: serde_json::Error) -> Self {
        Self::Strange {
            component: component.clone(),
            source,
        }
    }
}

/// Why a step is not taken.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The application has no such component.
    #[error("there is no component {0}")]
    UnknownComponent(ComponentId),
    /// Its state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is no component, or cannot be compiled.
    #[error("step compile")]
    Compile(#[from] CompileError),
    /// It does not fit, is not granted what it asks for, does not start, or is not healthy.
    #[error("step {}", step(.0))]
    Load(#[from] LoadError),
    /// Calls under way would lose what they call, whatever of the step came first.
    #[error(
        "step WIT check: what is live needs the old version of one and what is new the new one; export both for a release"
    )]
    Breaks(#[source] LoadError),
    /// What came is not what its name says.
    #[error("the bytes that came are those of version {0}; send them once more")]
    Others(Digest),
    /// It asks for more than the version that is live.
    #[error("step grants: it imports {}, which the live version does not; if that is meant, deploy it with --widen", list(.0))]
    Widens(BTreeSet<String>),
    /// A migration cannot be run.
    #[error("step migrations")]
    Migrate(#[source] Box<MigrateError>),
    /// It took too long.
    #[error(
        "nothing was changed: it took more than {} s; look at what the machine is busy with, and try again", .0.as_secs()
    )]
    Late(Duration),
    /// The host is on its way down.
    #[error("nothing was changed: the host is stopping; try again when it is back")]
    Stopping,
    /// Nobody vouches for it.
    #[error("step signature")]
    Unsigned(#[from] Unsigned),
    /// A host that is there cannot do it.
    #[error("nothing was changed: host {host} cannot have it live: {reason}")]
    NotEverywhere {
        /// Which host.
        host: String,
        /// Why not.
        reason: String,
    },
    /// What all hosts share cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store of versions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What worked on it ended in the middle.
    #[error("the host failed")]
    Work(#[from] JoinError),
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(Box::new(error))
    }
}

/// The step of loading that failed.
fn step(error: &LoadError) -> &'static str {
    match error {
        LoadError::Artifact { .. } => "compile",
        LoadError::UnknownImport { .. }
        | LoadError::Mismatch { .. }
        | LoadError::MissingExport { .. }
        | LoadError::EntryPoint { .. }
        | LoadError::Link { .. } => "WIT check",
        LoadError::NotGranted { .. } => "grants",
        LoadError::Instantiate { .. } => "instantiate",
        _ => "health",
    }
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(" and ")
}
