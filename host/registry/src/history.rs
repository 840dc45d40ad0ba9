//! Who changed what is live, when, and what came of it: `history.jsonl`, one line a change, oldest first.
//!
//! It only grows; a change is a line of some 300 bytes. A line that cannot be written waits in memory for the next that
//! can, up to [`PENDING`] of them. Each is whole: what a write left of one that failed is taken back, and one that a crash
//! tore stands alone and is left out. The newest [`READ_BYTES`] are read.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use marquee_manifest::ComponentId;
use serde::{Deserialize, Serialize};

use crate::{Digest, StoreError, files::io_error};

/// The history of the versions in a folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
    /// What could not be written yet, oldest first.
    pending: Arc<Mutex<VecDeque<Event>>>,
}

/// A change, or the attempt of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// Who asked for it: a user of the machine, an address, or `host`.
    pub who: String,
    /// Of which component.
    pub component: ComponentId,
    /// What was asked for: `deploy`, `promote`, `rollback`, `forced rollback`, `pin`, `unpin`, `unlabel`, `unshadow`.
    pub action: String,
    /// The version that it was about, if one was named.
    pub version: Option<Digest>,
    /// Where its bytes came from, if that was a registry: the reference, with the digest of what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The other components of the same step, with their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<ComponentId, Digest>,
    /// What came of it, in words.
    pub result: String,
    /// Whether it took effect.
    pub ok: bool,
}

impl Event {
    /// Whether it is about this component, alone or among others.
    pub fn concerns(&self, component: &ComponentId) -> bool {
        self.component == *component || self.with.contains_key(component)
    }
}

impl History {
    /// The one in this folder.
    pub fn of(folder: &Path) -> Self {
        Self {
            path: folder.join("history.jsonl"),
            pending: Arc::default(),
        }
    }

    /// Add an event; durable when it returns. On an error it is kept until the next one is added or [`History::flush`]
    /// can write it.
    pub fn add(&self, event: Event) -> Result<(), StoreError> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.push_back(event);
        let too_many = pending.len().saturating_sub(PENDING);
        pending.drain(..too_many);
        self.write(&mut pending)
    }

    /// Write what could not be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut pending)
    }

    fn write(&self, pending: &mut VecDeque<Event>) -> Result<(), StoreError> {
        let path = &self.path;
        let mut lines = Vec::new();
        for event in pending.iter() {
            let line = serde_json::to_vec(event).map_err(|source| StoreError::Book {
                path: path.clone(),
                source,
            })?;
            lines.extend_from_slice(&line);
            lines.push(b'\n');
        }
        if !lines.is_empty() {
            append(path, lines).map_err(io_error("written", path))?;
            pending.clear();
        }
        Ok(())
    }

    /// The newest `count` of a component or of all, newest first.
    pub fn newest(
        &self,
        count: usize,
        component: Option<&ComponentId>,
    ) -> Result<Vec<Event>, StoreError> {
        let path = &self.path;
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match tail(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io_error("read", path)(error)),
        };
        let lines = text.split(|byte| *byte == b'\n').rev();
        // A line that was cut, at either end, is none.
        let written = lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok());
        let events = pending.iter().rev().cloned().chain(written);
        let wanted =
            events.filter(|event| component.is_none_or(|component| event.concerns(component)));
        Ok(wanted.take(count).collect())
    }
}

/// All of these lines, or none. Durable when it returns.
fn append(path: &Path, mut lines: Vec<u8>) -> io::Result<()> {
    let mut options = fs::File::options();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    // Two hosts on one folder both write what they refuse.
    file.lock()?;
    let length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            // A crash tore it.
            lines.insert(0, b'\n');
        }
    }
    let written = file.write_all(&lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // What it says is that it could not be written; what is left of it the next one takes for torn.
        let _ = file.set_len(length);
    }
    written
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_BYTES)))?;
    let mut text = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// More than anybody does while a disk is full.
const PENDING: usize = 1_000;
/// Some thousands of changes.
const READ_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    fn event(component: &str, at_ms: u64) -> Event {
        Event {
            at_ms,
            who: "ann".to_owned(),
            component: component.parse().expect("a plain name"),
            action: "deploy".to_owned(),
            version: Some(Digest::of(b"one")),
            from: None,
            with: BTreeMap::new(),
            result: "live".to_owned(),
            ok: true,
        }
    }

    /// When those were that are read, newest first.
    fn times(history: &History, count: usize, component: Option<&str>) -> Vec<u64> {
        let component = component.map(|name| name.parse().expect("a plain name"));
        let events = history.newest(count, component.as_ref()).expect("read");
        events.iter().map(|event| event.at_ms).collect()
    }

    #[test]
    fn the_newest_come_first_of_one_component_or_of_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::of(folder.path());
        assert_eq!(history.newest(10, None).expect("read"), []);
        for (at_ms, component) in ["rating", "gateway", "rating"].into_iter().enumerate() {
            let at_ms = u64::try_from(at_ms).expect("small");
            history.add(event(component, at_ms)).expect("added");
        }
        assert_eq!(times(&history, 10, None), [2, 1, 0]);
        assert_eq!(times(&history, 2, None), [2, 1]);
        assert_eq!(times(&history, 10, Some("rating")), [2, 0]);
    }

    #[test]
    fn a_torn_line_is_none_and_swallows_neither_the_one_before_nor_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::of(folder.path());
        history.add(event("rating", 1)).expect("added");
        let mut file = fs::File::options()
            .append(true)
            .open(folder.path().join("history.jsonl"))
            .expect("opened");
        file.write_all(b"{\"at_ms\":9").expect("written");
        assert_eq!(times(&history, 10, None), [1]);
        history.add(event("rating", 2)).expect("added");
        history.add(event("rating", 3)).expect("added");
        assert_eq!(times(&history, 10, None), [3, 2, 1]);
    }

    #[test]
    fn what_cannot_be_written_is_told_all_the_same_and_written_when_it_can_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::of(folder.path());
        let gone = folder.path().join("gone");
        let lost = History::of(&gone);
        assert!(
            lost.add(event("rating", 1)).is_err(),
            "its folder is not there"
        );
        assert!(lost.add(event("rating", 2)).is_err());
        assert_eq!(times(&lost, 1, None), [2]);
        fs::create_dir(&gone).expect("a folder");
        lost.flush().expect("written");
        lost.add(event("rating", 3)).expect("added");
        assert_eq!(times(&History::of(&gone), 10, None), [3, 2, 1]);
        history.flush().expect("there is nothing to write");
        assert_eq!(times(&history, 10, None), [0; 0]);
    }

    proptest! {
        #[test]
        fn whatever_comes_of_a_history_what_is_added_next_is_read(file in mangled([
            serde_json::to_vec(&event("rating", 1)).unwrap(),
            [serde_json::to_vec(&event("rating", 1)).unwrap(), serde_json::to_vec(&event("gateway", 2)).unwrap(), vec![]].join(&b'\n'),
        ])) {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("history.jsonl"), &file).expect("written");
            let history = History::of(folder.path());
            let before = history.newest(10, None).expect("read");
            prop_assert!(before.len() <= file.split(|byte| *byte == b'\n').count());
            let added = event("users", 9);
            history.add(added.clone()).expect("added");
            let after = history.newest(11, None).expect("read");
            prop_assert_eq!(after.split_first(), Some((&added, &before[..])));
        }
    }
}
