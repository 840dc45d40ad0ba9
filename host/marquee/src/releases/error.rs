//! Why a step is not taken. What was live stays so.

use std::{collections::BTreeSet, fmt, time::Duration};

use marquee_manifest::ComponentId;
use marquee_registry::{Refused, StoreError};
use marquee_runtime::LoadError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The application has no such component.
    #[error("there is no component {0}")]
    UnknownComponent(ComponentId),
    /// Its state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is no component, or cannot be compiled.
    #[error("step compile")]
    Compile(#[source] HostError),
    /// It does not fit, is not granted what it asks for, does not start, or is not healthy.
    #[error("step {}", step(.0))]
    Load(#[from] LoadError),
    /// It asks for more than the version that is live.
    #[error("step grants: it imports {}, which the live version does not; if that is meant, deploy it with --widen", list(.0))]
    Widens(BTreeSet<String>),
    /// It took too long.
    #[error(
        "nothing was changed: it took more than {} s; look at what the machine is busy with, and try again", .0.as_secs()
    )]
    Late(Duration),
    /// The host is on its way down.
    #[error("nothing was changed: the host is stopping; try again when it is back")]
    Stopping,
    /// The store of versions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host itself.
    #[error("the host failed")]
    Host(#[source] HostError),
}
/// An error with its causes, which it tells in one line.
#[derive(Debug)]
pub(crate) struct HostError(pub(crate) anyhow::Error);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for HostError {}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<StoreError>() {
            Ok(error) => Self::Store(error),
            Err(error) => Self::Host(HostError(error)),
        }
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
