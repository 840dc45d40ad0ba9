//! What is known of a stored version beside its bytes: `metadata.json`.
//!
//! It tells people; nothing that runs depends on it. One that is lost or cannot be read is written anew when the
//! version is stored again.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use marquee_manifest::ComponentId;
use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    files::{read, replace},
};

/// Of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The size of the component, in bytes.
    pub size_bytes: u64,
    /// When it was stored for the first time, in milliseconds since 1970-01-01T00:00:00Z.
    pub stored_at_ms: u64,
    /// Who brought it: a user, an address, or the manifest.
    pub by: String,
    /// The components that it was brought for.
    pub components: BTreeSet<ComponentId>,
    /// Whether it passed every check once: compiled, linked, started, healthy.
    pub was_ready: bool,
}

impl Metadata {
    /// Of a version that comes now.
    pub(crate) fn new(size_bytes: u64, by: &str, component: &ComponentId) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.unwrap_or_default().as_millis();
        Self {
            size_bytes,
            stored_at_ms: u64::try_from(now_ms).unwrap_or(u64::MAX),
            by: by.to_owned(),
            components: BTreeSet::from([component.clone()]),
            was_ready: false,
        }
    }

    /// What is known in the folder of a version, if anything is.
    pub(crate) fn read(place: &Path) -> Option<Self> {
        let text = read(&place.join(FILE)).ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// Keep it in the folder of a version.
    pub(crate) fn write(&self, place: &Path) -> Result<(), StoreError> {
        let path = place.join(FILE);
        let mut text = serde_json::to_vec_pretty(self).map_err(|source| StoreError::Book {
            path: path.clone(),
            source,
        })?;
        text.push(b'\n');
        replace(&path, &text)
    }
}

const FILE: &str = "metadata.json";
