//! What of a manifest a component is loaded by.

use std::collections::{BTreeMap, BTreeSet};

use marquee_manifest::{ComponentId, Dependencies};

use crate::Limits;

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What the manifest calls it.
    pub id: ComponentId,
    /// What other components provide to it.
    pub dependencies: Dependencies,
    /// The exported interfaces whose calls are units of work.
    pub transactional: BTreeSet<String>,
    /// The exported interfaces that the host itself calls, and what for.
    pub entry_points: BTreeMap<String, String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The bounds of its calls.
    pub limits: Limits,
}
