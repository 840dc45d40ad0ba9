//! The states of all components, remembered over restarts: `live.json` in the folder of versions.
//!
//! Promise: what was put is there after a crash, whole. One process at a time writes; another one that opens the same
//! folder reads what is there and is refused when it writes. Not here: making a state take effect.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use marquee_manifest::ComponentId;

use crate::{
    Digest, State, StoreError,
    files::{io_error, read, replace},
};

/// The states of all components.
pub struct Book {
    path: PathBuf,
    states: BTreeMap<ComponentId, State>,
    /// Locked for as long as this process writes. None: another one does.
    lock: Option<fs::File>,
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
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|source| StoreError::Book {
                path: path.clone(),
                source,
            })?,
            None => BTreeMap::new(),
        };
        Ok(Self { path, states, lock })
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
        if self.lock.is_none() {
            return Err(StoreError::Elsewhere(self.path.clone()));
        }
        let mut next = self.states.clone();
        next.extend(states);
        let mut text = serde_json::to_vec_pretty(&next).map_err(|source| StoreError::Book {
            path: self.path.clone(),
            source,
        })?;
        text.push(b'\n');
        replace(&self.path, &text)?;
        self.states = next;
        Ok(())
    }

    /// Every version that some component needs.
    pub fn needed(&self) -> impl Iterator<Item = Digest> {
        self.states.values().flat_map(State::needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ComponentId {
        name.parse().expect("a plain name")
    }

    #[test]
    fn what_was_put_is_there_for_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = State::new(Digest::of(b"one")).pin(true);
        let mut book = Book::open(folder.path()).expect("opened");
        assert_eq!(book.state(&id("rating")), None);
        book.put([(id("rating"), state.clone())]).expect("put");
        drop(book);
        let book = Book::open(folder.path()).expect("opened");
        assert_eq!(book.state(&id("rating")), Some(&state));
        assert_eq!(book.needed().collect::<Vec<_>>(), [Digest::of(b"one")]);
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
}
