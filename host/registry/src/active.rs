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
    /// Gets copies of a share of them.
    pub shadow: Option<Shadow<T>>,
    /// Names that a call may ask for, of these versions.
    pub labels: HashMap<String, Digest>,
}

/// A version that is tried.
#[derive(Debug)]
pub struct Canary<T> {
    /// The version.
    pub version: Version<T>,
    /// Its share of the calls.
    weight: Weight,
    /// Of this component and version: who gets this canary says nothing about who gets another one.
    salt: u64,
}

/// A version that gets copies of calls.
#[derive(Debug)]
pub struct Shadow<T> {
    /// The version.
    pub version: Version<T>,
    /// Of how many of the calls.
    pub weight: Weight,
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
    by: By,
    /// The label that it asks for. Where no live version has it, it is as if none was asked for.
    label: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A key's hash, so that whoever has the key always meets the same version; or chance.
    Number(u64),
    /// A partition of so many: a key's partition never changes.
    Partition(u32, u32),
}

impl Choice {
    /// By a stable key: a user's, a client's.
    pub fn by_key(key: &[u8]) -> Self {
        Self::by(By::Number(hash(key.iter().copied())))
    }

    /// Partition `index` of `count`: whole partitions are the canary's, one at the least.
    pub fn by_partition(index: u32, count: u32) -> Self {
        Self::by(By::Partition(index, count.max(1)))
    }

    /// How many of `count` partitions a canary of this weight gets.
    pub fn partitions(weight: Weight, count: u32) -> u32 {
        // Those of one canary are others than those of the next, and as many.
        let of = |index: &u32| Self::by_partition(*index, count).place(0) < weight.per_mille();
        u32::try_from((0..count).filter(of).count()).unwrap_or(count)
    }

    /// At random: a number of the caller's, evenly distributed.
    pub fn by_chance(random: u64) -> Self {
        Self::by(By::Number(random))
    }

    /// Ask for a label.
    #[must_use]
    pub fn with_label(mut self, label: Option<Arc<str>>) -> Self {
        self.label = label;
        self
    }

    fn by(by: By) -> Self {
        Self { by, label: None }
    }

    /// Where the call stands among all, 0 to 999, for a canary of this salt: it gets those below its weight.
    fn place(&self, salt: u64) -> u16 {
        let place = match self.by {
            By::Number(number) => mixed(number ^ salt) % 1_000,
            By::Partition(index, count) => {
                let count = u64::from(count);
                (u64::from(index) + salt % count) % count * 1_000 / count
            }
        };
        u16::try_from(place).unwrap_or(999)
    }
}

/// Each bit of the number decides about each of the result: the finalizer of MurmurHash3.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

/// FNV-1a, 64 bits: the same in every process and release, which the standard hasher does not promise.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl<T> Canary<T> {
    /// A version of this component with this share of its calls.
    pub fn new(component: &ComponentId, version: Version<T>, weight: Weight) -> Self {
        let name = component.as_str().bytes();
        let salt = hash(name.chain(version.digest.as_bytes().iter().copied()));
        Self {
            version,
            weight,
            salt,
        }
    }

    /// Its share of the calls.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    fn gets(&self, choice: &Choice) -> bool {
        choice.place(self.salt) < self.weight.per_mille()
    }
}

impl<T> Live<T> {
    /// One version and nothing else.
    pub fn only(digest: Digest, payload: T) -> Self {
        Self {
            stable: Version { digest, payload },
            canary: None,
            shadow: None,
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
            _ => canary.gets(choice),
        };
        if is_canary {
            &canary.version
        } else {
            &self.stable
        }
    }

    /// The versions that get calls, the stable one first.
    pub fn called(&self) -> impl Iterator<Item = &Version<T>> {
        std::iter::once(&self.stable).chain(self.canary.as_ref().map(|canary| &canary.version))
    }

    /// Those, and the one that gets copies.
    pub fn versions(&self) -> impl Iterator<Item = &Version<T>> {
        let shadow = self.shadow.as_ref().map(|shadow| &shadow.version);
        self.called().chain(shadow)
    }
}

impl<T> Shadow<T> {
    /// Whether it gets a copy of this call: by chance, since whoever asks notices nothing of it.
    pub fn gets(&self, random: u64) -> bool {
        random % 1_000 < u64::from(self.weight.per_mille())
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T> Registry<T> {
    /// Set what is live of components, at one moment: nobody meets the new version of one and the old one of another. Returns
    /// what was live of all; calls that hold it end on it.
    pub fn set(
        &self,
        live: impl IntoIterator<Item = (ComponentId, Live<T>)>,
    ) -> Arc<HashMap<ComponentId, Arc<Live<T>>>> {
        let live = live.into_iter().map(|(id, live)| (id, Arc::new(live)));
        let live: Vec<(ComponentId, Arc<Live<T>>)> = live.collect();
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.extend(live.iter().cloned());
            all
        })
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

    fn weight(text: &str) -> Weight {
        text.parse().expect("a weight")
    }

    fn canary(share: &str) -> Live<&'static str> {
        canary_of("rating", b"new", share)
    }

    fn canary_of(component: &str, new: &[u8], share: &str) -> Live<&'static str> {
        let mut live = Live::only(Digest::of(b"old"), "old");
        let version = Version {
            digest: Digest::of(new),
            payload: "new",
        };
        let component = component.parse().expect("a plain name");
        live.canary = Some(Canary::new(&component, version, weight(share)));
        live.labels = HashMap::from([
            ("next".to_owned(), Digest::of(b"new")),
            ("1.0".to_owned(), Digest::of(b"old")),
            ("gone".to_owned(), Digest::of(b"gone")),
        ]);
        live
    }

    fn users(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("user-{n}")).collect()
    }

    /// Which of these get the canary.
    fn having(live: &Live<&str>, users: &[String]) -> Vec<bool> {
        let choice = |user: &String| Choice::by_key(user.as_bytes());
        let is_new = |user| live.choose(&choice(user)).payload == "new";
        users.iter().map(is_new).collect()
    }

    fn partitions(live: &Live<&str>, count: u32) -> Vec<u32> {
        let is_new = |n: &u32| live.choose(&Choice::by_partition(*n, count)).payload == "new";
        (0..count).filter(is_new).collect()
    }

    #[test]
    fn a_snapshot_keeps_what_was_live_when_it_was_taken() {
        let registry = Registry::default();
        registry.set([(component(), Live::only(Digest::of(b"one"), 1))]);
        let before = registry.snapshot();
        registry.set([(component(), Live::only(Digest::of(b"two"), 2))]);
        let of = |live: Option<&Arc<Live<i32>>>| live.map(|live| live.stable.payload);
        assert_eq!(of(before.get(&component())), Some(1));
        assert_eq!(of(registry.live(&component()).as_ref()), Some(2));
    }

    #[test]
    fn of_many_set_at_once_each_is_returned_by_exactly_one_later() {
        let registry = Registry::default();
        registry.set([(component(), Live::only(Digest::of(b"first"), 0))]);
        let seen = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let (registry, seen) = (&registry, &seen);
            for n in 1..=8_u8 {
                scope.spawn(move || {
                    let before = registry.set([(component(), Live::only(Digest::of(&[n]), n))]);
                    let before = before.get(&component()).expect("one is always live");
                    let before = before.stable.payload;
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
        let had = having(&canary("10%"), &users(10_000));
        let new = had.iter().filter(|new| **new).count();
        assert!((900..=1_100).contains(&new), "{new} of 10,000 at 10 %");
        // The same in every process and release: were it another hash, users would change versions with an update.
        assert_eq!(had.iter().position(|new| *new), Some(12));
    }

    #[test]
    fn the_users_of_one_canary_are_not_those_of_the_next_nor_of_another_components() {
        let users = users(10_000);
        let first = having(&canary("10%"), &users);
        for other in [
            canary_of("rating", b"newer", "10%"),
            canary_of("metadata", b"new", "10%"),
        ] {
            let both = having(&other, &users);
            let both = first.iter().zip(both).filter(|(one, two)| **one && *two);
            let both = both.count();
            assert!((60..=140).contains(&both), "{both} of 10,000 have both");
        }
        // Neither are requests without a key, which keep their number through all components.
        let other = canary_of("metadata", b"new", "50%");
        let both = (0..10_000).filter(|n| {
            let choice = Choice::by_chance(u64::wrapping_mul(*n, 0x9e37_79b9_7f4a_7c15));
            [&canary("50%"), &other].map(|live| live.choose(&choice).payload) == ["new"; 2]
        });
        let both = both.count();
        assert!((2_300..=2_700).contains(&both), "{both} of 10,000");
    }

    #[test]
    fn a_larger_weight_keeps_those_who_had_the_canary() {
        let users = users(2_000);
        let of = |share| having(&canary(share), &users);
        let (few, more) = (of("5%"), of("30%"));
        assert!(few.iter().zip(&more).all(|(few, more)| *more || !few));
        assert!(few != more);
        assert!(of("0%").iter().all(|new| !new) && of("100%").iter().all(|new| *new));
    }

    #[test]
    fn of_eight_partitions_a_canary_of_ten_percent_gets_one_and_not_always_the_first() {
        let of = |share| partitions(&canary(share), 8);
        assert_eq!(of("0%"), [0; 0]);
        assert_eq!(
            (of("0.1%").len(), of("10%").len(), of("50%").len()),
            (1, 1, 4)
        );
        assert!(
            of("50%").contains(&of("10%")[0]),
            "more of them, not others"
        );
        assert_eq!(of("100%"), [0, 1, 2, 3, 4, 5, 6, 7]);
        let firsts: std::collections::BTreeSet<u32> = (0..32)
            .map(|n| partitions(&canary_of("rating", &[n], "10%"), 8)[0])
            .collect();
        assert!(firsts.len() > 4, "{firsts:?}");
    }

    #[test]
    fn the_share_of_the_partitions_that_a_canary_gets_is_known_beforehand() {
        let of = |share: &str, count| {
            let known = Choice::partitions(weight(share), count);
            let had = partitions(&canary(share), count).len();
            assert_eq!(u32::try_from(had), Ok(known), "{share} of {count}");
            known
        };
        assert_eq!((of("1%", 1), of("1%", 8), of("0%", 8)), (1, 1, 0));
        assert_eq!((of("50%", 1), of("50%", 3), of("50%", 8)), (1, 2, 4));
    }

    #[test]
    fn a_label_gets_its_version_whatever_the_weight_and_an_unknown_one_changes_nothing() {
        let of = |share, label: &str| {
            let choice = Choice::by_chance(500).with_label(Some(label.into()));
            canary(share).choose(&choice).payload
        };
        assert_eq!(of("0%", "next"), "new");
        assert_eq!(of("100%", "1.0"), "old");
        assert_eq!(of("0%", "gone"), "old");
        assert_eq!(of("100%", "unheard-of"), "new");
    }
}
