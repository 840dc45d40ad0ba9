//! The states of all components, remembered over restarts: `live.json` in the folder of versions.
//!
//! Promise: what was put is there after a crash, whole; what was set is there once it was saved, for which a file of its
//! size is kept beside it (`live.spare`): a full disk does not hinder it, other errors may. One process at a time
//! writes; another one that opens the same folder reads what is there and is refused when it writes. A host reads what
//! the release before and the one after it wrote: what it does not know of the latter it leaves out. Not here: making a
//! state take effect.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use marquee_manifest::ComponentId;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Need, State, StoreError,
    files::{io_error, read, replace, replace_by, reserve},
};

/// The states of all components.
pub struct Book {
    path: PathBuf,
    states: BTreeMap<ComponentId, State>,
    /// Whether the file says the same.
    is_saved: bool,
    /// Locked for as long as this process writes. None: another one does.
    lock: Option<fs::File>,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Document<S> {
    /// One more whenever a field is added that the format before did not have.
    format: u64,
    components: S,
}

impl Book {
    /// Open the one in this folder; it is empty where there is none.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("live.json");
        let lock = folder.join("live.lock");
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(io_error("written", &lock))?;
        let lock = match file.try_lock() {
            Ok(()) => Some(file),
            Err(fs::TryLockError::WouldBlock) => None,
            Err(fs::TryLockError::Error(source)) => return Err(io_error("locked", &lock)(source)),
        };
        let states = match read(&path)? {
            Some(bytes) => understood(&path, &bytes)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            path,
            states,
            is_saved: true,
            lock,
        })
    }

    /// Whether this process may write.
    pub fn is_ours(&self) -> bool {
        self.lock.is_some()
    }

    /// The state of a component, if it was ever live here.
    pub fn state(&self, component: &ComponentId) -> Option<&State> {
        self.states.get(component)
    }

    /// Remember the states of these components, all of them or, on an error, none.
    pub fn put(
        &mut self,
        states: impl IntoIterator<Item = (ComponentId, State)>,
    ) -> Result<(), StoreError> {
        let before = (self.states.clone(), self.is_saved);
        let result = self.set(states).and_then(|()| self.save());
        if result.is_err() {
            (self.states, self.is_saved) = before;
        }
        result
    }

    /// The states of these components from now on, whether they can be remembered or not.
    pub fn set(
        &mut self,
        states: impl IntoIterator<Item = (ComponentId, State)>,
    ) -> Result<(), StoreError> {
        if self.lock.is_none() {
            return Err(StoreError::Elsewhere(self.path.clone()));
        }
        self.adopt(states);
        Ok(())
    }

    /// What somebody else decided the states of these components to be. It is remembered with the next save, if this process
    /// may write.
    pub fn adopt(&mut self, states: impl IntoIterator<Item = (ComponentId, State)>) {
        for (component, state) in states {
            if self.states.get(&component) != Some(&state) {
                self.states.insert(component, state);
                self.is_saved = self.lock.is_none();
            }
        }
    }

    /// Whether something was set that is not remembered.
    pub fn is_unsaved(&self) -> bool {
        !self.is_saved
    }

    /// Remember what was set, if it is not yet.
    pub fn save(&mut self) -> Result<(), StoreError> {
        if self.is_saved {
            return Ok(());
        }
        let document = Document {
            format: FORMAT,
            components: &self.states,
        };
        let mut text = serde_json::to_vec_pretty(&document).map_err(|source| StoreError::Book {
            path: self.path.clone(),
            source,
        })?;
        text.push(b'\n');
        // A rollback makes it no longer, so it fits into the spare file also where the disk is full.
        let spare = self.path.with_extension("spare");
        replace(&self.path, &text)
            .or_else(|error| replace_by(&spare, &self.path, &text).map_err(|_| error))?;
        self.is_saved = true;
        // Without one the next state waits for room, and this one stands.
        let _ = reserve(&spare, text.len());
        Ok(())
    }

    /// Every version that some component needs, with the weightiest reason.
    pub fn needed(&self) -> BTreeMap<Digest, Need> {
        let mut all = BTreeMap::new();
        for (digest, need) in self.states.values().flat_map(State::needed) {
            let known = all.entry(digest).or_insert(need);
            *known = need.min(*known);
        }
        all
    }
}

/// The states in this text, of any format up to the next one.
fn understood(path: &Path, bytes: &[u8]) -> Result<BTreeMap<ComponentId, State>, StoreError> {
    let read = || {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > FORMAT + 1 => Ok(Err(format)),
            Some(_) => serde_json::from_value(value)
                .map(|document: Document<BTreeMap<ComponentId, State>>| Ok(document.components)),
            // Before formats had numbers.
            None => serde_json::from_value(value).map(Ok),
        }
    };
    let read = read().map_err(|source| StoreError::Book {
        path: path.to_owned(),
        source,
    })?;
    read.map_err(|format| StoreError::TooNew {
        path: path.to_owned(),
        format,
    })
}

/// What this release writes. It reads the ones before, and the next.
pub(crate) const FORMAT: u64 = 1;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> ComponentId {
        name.parse().expect("a plain name")
    }

    #[test]
    fn what_was_put_is_there_for_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = State::new(Digest::of(b"one")).pin(true).expect("at rest");
        let mut book = Book::open(folder.path()).expect("opened");
        assert_eq!(book.state(&id("rating")), None);
        book.put([(id("rating"), state.clone())]).expect("put");
        drop(book);
        let book = Book::open(folder.path()).expect("opened");
        assert_eq!(book.state(&id("rating")), Some(&state));
        let needed = BTreeMap::from([(Digest::of(b"one"), Need::Live)]);
        assert_eq!(book.needed(), needed);
    }

    #[test]
    fn of_two_only_the_first_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Book::open(folder.path()).expect("opened");
        let mut second = Book::open(folder.path()).expect("opened");
        assert!(first.is_ours() && !second.is_ours());
        let put = second.put([(id("rating"), State::new(Digest::of(b"one")))]);
        assert!(matches!(put, Err(StoreError::Elsewhere(_))));
        drop(first);
        assert!(Book::open(folder.path()).expect("opened").is_ours());
    }

    #[test]
    fn what_is_no_book_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("live.json");
        std::fs::write(&path, "{").expect("written");
        let refused = Book::open(folder.path());
        assert!(matches!(refused, Err(StoreError::Book { .. })));
        assert_eq!(std::fs::read(&path).expect("read"), b"{");
    }

    #[test]
    fn the_formats_of_a_release_before_and_after_are_read_and_a_later_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("live.json");
        let digest = format!("{:#}", Digest::of(b"one"));
        let state = format!("{{\"active\":{{\"stable\":\"{digest}\"}},\"source\":\"{digest}\"}}");
        let newer = state.replacen('{', "{\"waves\":{\"first\":1},", 1);
        let next = FORMAT + 1;
        for text in [
            format!("{{\"rating\":{state}}}"),
            format!("{{\"format\":1,\"components\":{{\"rating\":{state}}}}}"),
            format!("{{\"format\":{next},\"hosts\":[],\"components\":{{\"rating\":{newer}}}}}"),
        ] {
            std::fs::write(&path, &text).expect("written");
            let mut book = Book::open(folder.path()).expect(&text);
            let expected = State::new(Digest::of(b"one"));
            assert_eq!(book.state(&id("rating")), Some(&expected), "{text}");
            book.put([(id("rating"), expected.pin(true).expect("at rest"))])
                .expect("put");
            drop(book);
            let book = Book::open(folder.path()).expect("its own");
            assert!(book.state(&id("rating")).is_some_and(|state| state.pinned));
        }
        let text = format!("{{\"format\":{},\"components\":[]}}", next + 1);
        std::fs::write(&path, &text).expect("written");
        let refused = Book::open(folder.path()).err().expect("refused");
        assert!(
            refused
                .to_string()
                .contains("start the release that wrote it"),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    }

    #[test]
    fn what_cannot_be_written_is_not_put_and_what_is_set_is_saved_when_it_can_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("live.json");
        let (one, two) = (
            State::new(Digest::of(b"one")),
            State::new(Digest::of(b"two")),
        );
        let mut book = Book::open(folder.path()).expect("opened");
        book.put([(id("rating"), one.clone())]).expect("put");
        // A folder in its place refuses everybody, root too.
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("a folder");
        book.put([(id("rating"), one.clone())])
            .expect("nothing new needs no disk");
        let refused = book.put([(id("rating"), two.clone())]);
        assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
        assert_eq!(book.state(&id("rating")), Some(&one));
        book.set([(id("rating"), two.clone())]).expect("set");
        assert_eq!(book.state(&id("rating")), Some(&two));
        assert!(book.save().is_err());
        std::fs::remove_dir(&path).expect("removed");
        book.save().expect("saved");
        drop(book);
        let book = Book::open(folder.path()).expect("opened");
        assert_eq!(book.state(&id("rating")), Some(&two));
    }

    proptest! {
        #[test]
        fn whatever_comes_what_is_read_of_a_file_is_what_would_be_written(bytes in mangled(written())) {
            let path = Path::new("live.json");
            let Ok(states) = understood(path, &bytes) else { return Ok(()) };
            let again = serde_json::to_vec(&Document { format: FORMAT, components: &states }).unwrap();
            prop_assert_eq!(understood(path, &again).unwrap(), states);
        }
    }

    /// As releases have written it.
    fn written() -> [Vec<u8>; 3] {
        let state = State::new(Digest::of(b"one")).pin(false).unwrap();
        let ramp = "1%,10%".parse().unwrap();
        let state = state
            .ramp(Digest::of(b"two"), &ramp, 1_000, 5, Some("2.0"))
            .unwrap();
        let wave = state.clone().first_on(
            ["a".to_owned()].into(),
            "a",
            &State::new(Digest::of(b"one")),
        );
        let components = BTreeMap::from([(id("rating"), state), (id("gateway"), wave)]);
        [
            serde_json::to_vec(&components).unwrap(),
            serde_json::to_vec(&Document {
                format: FORMAT,
                components: &components,
            })
            .unwrap(),
            serde_json::to_vec(&Document {
                format: FORMAT + 1,
                components: &components,
            })
            .unwrap(),
        ]
    }
}
