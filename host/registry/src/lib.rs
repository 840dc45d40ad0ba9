//! Which version of each component is active.
//!
//! A version is named by the SHA-256 of its bytes. The active set is one immutable value: whoever takes a snapshot
//! keeps what it had then, whatever is activated meanwhile. It knows no wasm and no network; what a version *is*, its
//! user decides (the payload).

mod digest;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use marquee_manifest::ComponentId;

pub use digest::Digest;

/// The active versions of all components.
pub struct Registry<T>(ArcSwap<HashMap<ComponentId, Arc<Version<T>>>>);

/// A version of a component.
#[derive(Debug)]
pub struct Version<T> {
    /// Its name.
    pub digest: Digest,
    /// What its user keeps with it.
    pub payload: T,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T> Registry<T> {
    /// Make a version the active one of its component. Returns the one that was; calls that hold it end on it.
    pub fn activate(
        &self,
        component: ComponentId,
        digest: Digest,
        payload: T,
    ) -> Option<Arc<Version<T>>> {
        let version = Arc::new(Version { digest, payload });
        let before = self.0.rcu(|active| {
            let mut active = HashMap::clone(active);
            active.insert(component.clone(), Arc::clone(&version));
            active
        });
        before.get(&component).cloned()
    }

    /// The active version of a component, as of now.
    pub fn active(&self, component: &ComponentId) -> Option<Arc<Version<T>>> {
        self.0.load().get(component).cloned()
    }

    /// All active versions, as of one moment.
    pub fn snapshot(&self) -> Arc<HashMap<ComponentId, Arc<Version<T>>>> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> ComponentId {
        "rating".parse().expect("a plain name")
    }

    #[test]
    fn a_snapshot_keeps_the_version_that_was_active_when_it_was_taken() {
        let registry = Registry::default();
        registry.activate(component(), Digest::of(b"one"), 1);
        let before = registry.snapshot();
        registry.activate(component(), Digest::of(b"two"), 2);
        assert_eq!(
            before.get(&component()).map(|version| version.payload),
            Some(1)
        );
        assert_eq!(
            registry.active(&component()).map(|version| version.payload),
            Some(2)
        );
    }

    #[test]
    fn activating_returns_the_version_that_was_active() {
        let registry = Registry::default();
        assert!(
            registry
                .activate(component(), Digest::of(b"one"), 1)
                .is_none()
        );
        let before = registry
            .activate(component(), Digest::of(b"two"), 2)
            .expect("one was active");
        assert_eq!((before.digest, before.payload), (Digest::of(b"one"), 1));
    }

    #[test]
    fn of_many_activations_at_once_each_is_returned_by_exactly_one_later() {
        let registry = Registry::default();
        registry.activate(component(), Digest::of(b"first"), 0);
        let seen = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let (registry, seen) = (&registry, &seen);
            for n in 1..=8_u8 {
                scope.spawn(move || {
                    let before = registry.activate(component(), Digest::of(&[n]), n);
                    seen.lock()
                        .expect("no panic")
                        .push(before.expect("one is always active").payload);
                });
            }
        });
        let mut seen = seen.into_inner().expect("no panic");
        seen.push(registry.active(&component()).expect("the last one").payload);
        seen.sort_unstable();
        assert_eq!(seen, (0..=8).collect::<Vec<_>>());
    }
}
