//! Versions that may become live, and those that are to be live at the same moment.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use marquee_manifest::ComponentId;
use marquee_registry::Digest;

use crate::{Call, Figures, memory::Evict as _, pool::Pool};

/// A version that is loaded and may become live.
#[derive(Clone)]
pub struct Prepared(pub(crate) Arc<Pool>);

impl Prepared {
    /// Its name.
    pub fn version(&self) -> Digest {
        self.0.component.version
    }

    /// Whether it is this one, and not the same version loaded once more.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether no call of it is under way, and none waits for its turn.
    pub fn is_idle(&self) -> bool {
        self.0.stats.figures().in_flight == 0
    }

    /// End every call of it that is under way, and every one that still begins: a version that is no longer live and
    /// whose calls had their time. Each is rolled back and answered with [`crate::CallError::Cancelled`].
    pub fn end_calls(&self) {
        self.0.end_calls();
    }

    /// What became of its calls since it was loaded.
    pub fn figures(&self) -> Figures {
        self.0.stats.figures()
    }

    /// The linear memory of its instances, in calls and idle, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.0
            .standing()
            .map_or(0, |standing| standing.memory_bytes)
    }
}

/// Versions that are to be live at the same moment as another one, instead of what is live of their components. Cheap to
/// clone.
#[derive(Clone, Default)]
pub struct Beside(Arc<BTreeMap<ComponentId, Vec<Prepared>>>);

impl Beside {
    /// These: of each component the stable one first. Of a component without any, nothing is known yet.
    pub fn of(all: BTreeMap<ComponentId, Vec<Prepared>>) -> Self {
        Self(Arc::new(all))
    }

    /// Those of a component; None: what is live stays so.
    pub(crate) fn versions(&self, component: &ComponentId) -> Option<&[Prepared]> {
        self.0.get(component).map(Vec::as_slice)
    }

    /// The one that gets all calls of a component, if it is among them.
    pub(crate) fn stable(&self, component: &ComponentId) -> Option<&Prepared> {
        self.versions(component)?.first()
    }

    /// As a call carries it.
    pub(crate) fn carried(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.clone())
    }

    /// What a call carries.
    pub(crate) fn of_call(call: &Call) -> Option<&Self> {
        call.beside.as_ref()?.downcast_ref()
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Prepared> {
        self.0.values().flatten()
    }
}
