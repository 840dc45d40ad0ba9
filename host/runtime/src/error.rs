//! Why a component could not be loaded, or a call had no answer.

use std::sync::Arc;

use marquee_manifest::ComponentId;

use crate::outcome::{Blame, Kind, Outcome};

/// Why a call had no answer. Nothing of it stands, unless the variant says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No component of this name is loaded.
    #[error("component {0} is not loaded")]
    UnknownComponent(ComponentId),
    /// The component's active version does not export what is called.
    #[error("component {component} does not export {export}")]
    NoExport {
        /// Who.
        component: ComponentId,
        /// What.
        export: String,
    },
    /// All its instances are busy and stayed so.
    #[error("component {0} has more calls than it may have at once")]
    Overloaded(ComponentId),
    /// The instances of all components have all the memory, or all the places, that there are.
    #[error("the host has no room left for component {0}")]
    NoRoom(ComponentId),
    /// Whoever asked did not send the rest of the request, or did not take the answer, before the deadline.
    #[error("the client of component {0} did not do its part in time")]
    Client(ComponentId),
    /// Calls of others that it has under way hold too much: 32 MiB of arguments and of answers that it has not taken.
    #[error(
        "component {0} has more under way than one call may hold; it has to await some of it first"
    )]
    TooMuchPending(ComponentId),
    /// It did not end in time and was ended.
    #[error("component {0} did not answer in time")]
    Deadline(ComponentId),
    /// It trapped.
    #[error("component {component}@{version} trapped")]
    Trap {
        /// Who.
        component: ComponentId,
        /// Which version, by short digest.
        version: String,
        /// Where and why.
        #[source]
        source: Arc<wasmtime::Error>,
    },
    /// No instance of it could be made.
    #[error("component {component}@{version} cannot be instantiated")]
    Instantiate {
        /// Who.
        component: ComponentId,
        /// Which version, by short digest.
        version: String,
        /// Why.
        #[source]
        source: Arc<wasmtime::Error>,
    },
    /// The host itself failed in it: a bug of the host's, which is in its log.
    #[error("the host failed in a call of component {0}")]
    Panicked(ComponentId),
    /// Whoever waited for it went away, or the host stops.
    #[error("the call of component {0} was cancelled")]
    Cancelled(ComponentId),
    /// Its unit of work could not be made to stand: it was rolled back.
    #[error("the unit of work of component {component} was rolled back: {reason}")]
    RolledBack {
        /// Who.
        component: ComponentId,
        /// What the database said.
        reason: String,
        /// Whether the database could not be reached, which is no fault of the call.
        unavailable: bool,
    },
    /// The answer to its commit was lost: it stands or it does not.
    #[error("whether the unit of work of component {component} stands is unknown: {reason}")]
    Unknown {
        /// Who.
        component: ComponentId,
        /// What was lost.
        reason: String,
    },
}

impl CallError {
    /// What its caller may know: which component it was, and what kind of failure. What a database said, which version it was
    /// and where it trapped are the operator's, in the log.
    pub fn told(&self) -> String {
        match self {
            Self::Trap { component, .. } => format!("component {component} trapped"),
            Self::Instantiate { component, .. } => {
                format!("component {component} cannot be instantiated")
            }
            Self::RolledBack { component, .. } => {
                format!("the unit of work of component {component} was rolled back")
            }
            Self::Unknown { component, .. } => {
                format!("whether the unit of work of component {component} stands is unknown")
            }
            other => other.to_string(),
        }
    }

    /// What came of a call of `component`, and whose doing that was.
    pub fn outcome(&self, component: &ComponentId) -> Outcome {
        use Blame::{Client, Dependency, Host, Version};
        let (of, kind, blame) = match self {
            Self::UnknownComponent(of) | Self::Overloaded(of) | Self::NoRoom(of) => {
                (of, Kind::Refused, Host)
            }
            Self::NoExport { component: of, .. } => (of, Kind::Refused, Version),
            Self::Client(of) => (of, Kind::Late, Client),
            Self::Deadline(of) => (of, Kind::Late, Version),
            Self::Trap { component: of, .. } | Self::Instantiate { component: of, .. } => {
                (of, Kind::Trapped, Version)
            }
            // What this version does brings it out, and going back to the one before is what helps.
            Self::Panicked(of) | Self::TooMuchPending(of) => (of, Kind::Trapped, Version),
            Self::Cancelled(of) => (of, Kind::Cancelled, Client),
            Self::RolledBack { component: of, .. } | Self::Unknown { component: of, .. } => {
                (of, Kind::Undone, Dependency)
            }
        };
        // One that came through from a component which this one called.
        let blame = if of == component { blame } else { Dependency };
        Outcome::new(kind, blame)
    }
}

/// An error and its causes on one line.
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

/// Why a component could not be loaded. What was active stays active.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// What was compiled of it does not fit this host.
    #[error("what was compiled of component {component} cannot be used")]
    Artifact {
        /// Who.
        component: ComponentId,
        /// What is wrong.
        #[source]
        source: wasmtime::Error,
    },
    /// It imports something that nobody gives.
    #[error(
        "component {component} imports {import}, which neither the host nor a dependency in its manifest provides"
    )]
    UnknownImport {
        /// Who.
        component: ComponentId,
        /// What.
        import: String,
    },
    /// It imports something that it was not granted.
    #[error("component {component} imports {import}: {reason}")]
    NotGranted {
        /// Who.
        component: ComponentId,
        /// What.
        import: String,
        /// What is missing, and where it is granted.
        reason: String,
    },
    /// The component that its manifest names for an import does not export it, or exports it with other types.
    #[error("component {importer} imports {interface} from component {exporter}: {difference}")]
    Mismatch {
        /// Who imports.
        importer: ComponentId,
        /// Who should export.
        exporter: ComponentId,
        /// What.
        interface: String,
        /// The first difference, both sides named.
        difference: String,
    },
    /// It does not export what its manifest says it has.
    #[error(
        "component {component} does not export {interface}, which its manifest needs for {purpose}"
    )]
    MissingExport {
        /// Who.
        component: ComponentId,
        /// What.
        interface: String,
        /// What for.
        purpose: String,
    },
    /// Its manifest has a function of it cached that cannot be.
    #[error("component {component}: {function} cannot be cached: {reason}")]
    Cache {
        /// Who.
        component: ComponentId,
        /// What.
        function: String,
        /// Why.
        reason: String,
    },
    /// It exports an interface that the host calls, with other types.
    #[error(
        "component {component} exports {interface} with other types than the host calls it with"
    )]
    EntryPoint {
        /// Who.
        component: ComponentId,
        /// What.
        interface: String,
        /// The first difference.
        #[source]
        source: wasmtime::Error,
    },
    /// It cannot be linked.
    #[error("component {component} cannot be linked")]
    Link {
        /// Who.
        component: ComponentId,
        /// What is wrong.
        #[source]
        source: wasmtime::Error,
    },
    /// It cannot be started: a trap or an endless loop while it is instantiated.
    #[error("component {component} cannot be instantiated")]
    Instantiate {
        /// Who.
        component: ComponentId,
        /// What happened.
        #[source]
        source: CallError,
    },
    /// It says itself that it cannot work, or did not say.
    #[error("component {component} is not healthy: {reason}")]
    Unhealthy {
        /// Who.
        component: ComponentId,
        /// Its own words, or why there are none.
        reason: String,
    },
}
