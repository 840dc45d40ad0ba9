//! What is live of each component, and which version a call gets.
//!
//! The live versions of all components are one immutable value: whoever takes it keeps what it had then, whatever is
//! set meanwhile. What a version *is*, its user decides (the payload). Reading is one atomic load; setting copies the map.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use marquee_manifest::ComponentId;

use crate::{Digest, Weight};

/// The live versions of all components.
pub struct Registry<T>(ArcSwap<HashMap<ComponentId, Arc<Live<T>>>>);

/// What is live of one component.
#[derive(Debug)]
pub struct Live<T> {
    /// Gets every call that the canary does not.
    pub stable: Version<T>,
    /// Gets a share of them.
    pub canary: Option<Canary<T>>,
    /// Names that a call may ask for, of these versions.
    pub labels: HashMap<String, Digest>,
}

/// A version that is tried.
#[derive(Debug)]
pub struct Canary<T> {
    /// The version.
    pub version: Version<T>,
    /// Its share of the calls, in thousandths.
    pub per_mille: u16,
}

/// A version of a component.
#[derive(Debug, Clone)]
pub struct Version<T> {
    /// Its name.
    pub digest: Digest,
    /// What its user keeps with it.
    pub payload: T,
}

/// What decides which version a call gets; the same for all calls that one request leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Where the call stands among all, 0 to 999: the canary gets those below its weight. Made from a key where there
    /// is one, so that whoever has the key always meets the same version.
    per_mille: u16,
    /// The label that it asks for. Where no live version has it, it is as if none was asked for.
    label: Option<Arc<str>>,
}

impl Choice {
    /// By a stable key: a user's, a client's.
    pub fn by_key(key: &[u8]) -> Self {
        // FNV-1a, 64 bits: the same in every process and release, which the standard hasher does not promise.
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The low bits of FNV are weak.
        Self::at((hash ^ (hash >> 32)) % 1_000)
    }

    /// Partition `index` of `count`: a key's partition never changes. Every canary gets at least the first partition.
    pub fn by_partition(index: u32, count: u32) -> Self {
        let count = u64::from(count.max(1));
        Self::at(u64::from(index) % count * 1_000 / count)
    }

    /// How many of `count` partitions a canary of this weight gets.
    pub fn partitions(weight: Weight, count: u32) -> u32 {
        let of = |index: &u32| Self::by_partition(*index, count).per_mille < weight.per_mille();
        u32::try_from((0..count).filter(of).count()).unwrap_or(count)
    }

    /// At random: a number of the caller's, evenly distributed.
    pub fn by_chance(random: u64) -> Self {
        Self::at(random % 1_000)
    }

    /// Ask for a label.
    #[must_use]
    pub fn with_label(mut self, label: Option<Arc<str>>) -> Self {
        self.label = label;
        self
    }

    fn at(per_mille: u64) -> Self {
        Self {
            per_mille: u16::try_from(per_mille).unwrap_or(999),
            label: None,
        }
    }
}

impl<T> Live<T> {
    /// One version and nothing else.
    pub fn only(digest: Digest, payload: T) -> Self {
        Self {
            stable: Version { digest, payload },
            canary: None,
            labels: HashMap::new(),
        }
    }

    /// The version of a call.
    pub fn choose(&self, choice: &Choice) -> &Version<T> {
        let Some(canary) = &self.canary else {
            return &self.stable;
        };
        let wanted = choice
            .label
            .as_deref()
            .and_then(|label| self.labels.get(label));
        let is_canary = match wanted {
            Some(digest) if *digest == canary.version.digest => true,
            Some(digest) if *digest == self.stable.digest => false,
            _ => choice.per_mille < canary.per_mille,
        };
        if is_canary {
            &canary.version
        } else {
            &self.stable
        }
    }

    /// All live versions, the stable one first.
    pub fn versions(&self) -> impl Iterator<Item = &Version<T>> {
        std::iter::once(&self.stable).chain(self.canary.as_ref().map(|canary| &canary.version))
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T> Registry<T> {
    /// Set what is live of a component. Returns what was; calls that hold it end on it.
    pub fn set(&self, component: ComponentId, live: Live<T>) -> Option<Arc<Live<T>>> {
        let live = Arc::new(live);
        let before = self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(component.clone(), Arc::clone(&live));
            all
        });
        before.get(&component).cloned()
    }

    /// What is live of a component, as of now.
    pub fn live(&self, component: &ComponentId) -> Option<Arc<Live<T>>> {
        self.0.load().get(component).cloned()
    }

    /// What is live of all components, as of one moment.
    pub fn snapshot(&self) -> Arc<HashMap<ComponentId, Arc<Live<T>>>> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> ComponentId {
        "rating".parse().expect("a plain name")
    }

    fn canary(per_mille: u16) -> Live<&'static str> {
        let mut live = Live::only(Digest::of(b"old"), "old");
        live.canary = Some(Canary {
            version: Version {
                digest: Digest::of(b"new"),
                payload: "new",
            },
            per_mille,
        });
        live.labels = HashMap::from([
            ("next".to_owned(), Digest::of(b"new")),
            ("1.0".to_owned(), Digest::of(b"old")),
            ("gone".to_owned(), Digest::of(b"gone")),
        ]);
        live
    }

    #[test]
    fn a_snapshot_keeps_what_was_live_when_it_was_taken() {
        let registry = Registry::default();
        registry.set(component(), Live::only(Digest::of(b"one"), 1));
        let before = registry.snapshot();
        registry.set(component(), Live::only(Digest::of(b"two"), 2));
        let of = |live: Option<&Arc<Live<i32>>>| live.map(|live| live.stable.payload);
        assert_eq!(of(before.get(&component())), Some(1));
        assert_eq!(of(registry.live(&component()).as_ref()), Some(2));
    }

    #[test]
    fn of_many_set_at_once_each_is_returned_by_exactly_one_later() {
        let registry = Registry::default();
        registry.set(component(), Live::only(Digest::of(b"first"), 0));
        let seen = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let (registry, seen) = (&registry, &seen);
            for n in 1..=8_u8 {
                scope.spawn(move || {
                    let before = registry.set(component(), Live::only(Digest::of(&[n]), n));
                    let before = before.expect("one is always live").stable.payload;
                    seen.lock().expect("no panic").push(before);
                });
            }
        });
        let mut seen = seen.into_inner().expect("no panic");
        seen.push(
            registry
                .live(&component())
                .expect("the last")
                .stable
                .payload,
        );
        seen.sort_unstable();
        assert_eq!(seen, (0..=8).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_meets_the_same_version_each_time_and_a_canary_gets_about_its_share() {
        let live = canary(100);
        let keys: Vec<String> = (0..10_000).map(|n| format!("user-{n}")).collect();
        let choose = |key: &String| live.choose(&Choice::by_key(key.as_bytes())).payload;
        let new = keys.iter().filter(|key| choose(key) == "new").count();
        assert!((800..=1_200).contains(&new), "{new} of 10,000 at 10 %");
        // The same in every process and release: were it another hash, users would change versions with an update.
        let first = keys.iter().position(|key| choose(key) == "new");
        assert_eq!(first, Some(11));
    }

    #[test]
    fn a_larger_weight_keeps_those_who_had_the_canary() {
        let keys: Vec<String> = (0..2_000).map(|n| format!("user-{n}")).collect();
        let of = |per_mille| {
            let live = canary(per_mille);
            keys.iter()
                .filter(|key| live.choose(&Choice::by_key(key.as_bytes())).payload == "new")
                .collect::<Vec<_>>()
        };
        let (few, more) = (of(50), of(300));
        assert!(few.iter().all(|key| more.contains(key)) && few.len() < more.len());
        assert!(of(0).is_empty());
        assert_eq!(of(1_000).len(), keys.len());
    }

    #[test]
    fn of_eight_partitions_a_canary_of_ten_percent_gets_one() {
        let of = |per_mille| {
            let live = canary(per_mille);
            (0..8)
                .filter(|n| live.choose(&Choice::by_partition(*n, 8)).payload == "new")
                .collect::<Vec<_>>()
        };
        assert_eq!(of(0), [0; 0]);
        assert_eq!(of(1), [0]);
        assert_eq!(of(100), [0]);
        assert_eq!(of(500), [0, 1, 2, 3]);
        assert_eq!(of(1_000), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_share_of_the_partitions_that_a_canary_gets_is_known_beforehand() {
        let of = |weight: &str, count| Choice::partitions(weight.parse().expect("one"), count);
        assert_eq!((of("1%", 1), of("1%", 8), of("0%", 8)), (1, 1, 0));
        assert_eq!((of("50%", 1), of("50%", 3), of("50%", 8)), (1, 2, 4));
    }

    #[test]
    fn a_label_gets_its_version_whatever_the_weight_and_an_unknown_one_changes_nothing() {
        let of = |per_mille, label: &str| {
            let choice = Choice::by_chance(500).with_label(Some(label.into()));
            canary(per_mille).choose(&choice).payload
        };
        assert_eq!(of(0, "next"), "new");
        assert_eq!(of(1_000, "1.0"), "old");
        assert_eq!(of(0, "gone"), "old");
        assert_eq!(of(1_000, "unheard-of"), "new");
    }
}
