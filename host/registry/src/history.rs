//! Who changed what is live, when, and what came of it: `history.jsonl`, one line a change, oldest first.
//!
//! It only grows; a change is a line of some 300 bytes. A last line that was cut by a crash is left out. The
//! newest [`READ_BYTES`] are read.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use marquee_manifest::ComponentId;
use serde::{Deserialize, Serialize};

use crate::{Digest, StoreError, files::io_error};

/// The history of the versions in a folder.
#[derive(Debug, Clone)]
pub struct History(PathBuf);

/// A change, or the attempt of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// Who asked for it: a user of the machine, an address, or `host`.
    pub who: String,
    /// Of which component.
    pub component: ComponentId,
    /// What was asked for: `deploy`, `promote`, `rollback`, `pin`, `unpin`, `label`.
    pub action: String,
    /// The version that it was about, if one was named.
    pub version: Option<Digest>,
    /// What came of it, in words.
    pub result: String,
    /// Whether it took effect.
    pub ok: bool,
}

impl History {
    /// The one in this folder.
    pub fn of(folder: &Path) -> Self {
        Self(folder.join("history.jsonl"))
    }

    /// Add a line; durable when it returns.
    pub fn add(&self, event: &Event) -> Result<(), StoreError> {
        let path = &self.0;
        let mut line = serde_json::to_vec(event).map_err(|source| StoreError::Book {
            path: path.clone(),
            source,
        })?;
        line.push(b'\n');
        let mut options = fs::File::options();
        let file = options.append(true).create(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| {
            // One write, so that two processes do not mix their lines.
            file.write_all(&line)?;
            file.sync_data()
        });
        written.map_err(io_error("written", path))
    }

    /// The newest `count` of a component or of all, newest first.
    pub fn newest(
        &self,
        count: usize,
        component: Option<&ComponentId>,
    ) -> Result<Vec<Event>, StoreError> {
        let path = &self.0;
        let text = match tail(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("read", path)(error)),
        };
        let lines = text.split(|byte| *byte == b'\n').rev();
        let events = lines
            // A line that was cut, at either end, is none.
            .filter_map(|line| serde_json::from_slice::<Event>(line).ok())
            .filter(|event| component.is_none_or(|component| event.component == *component));
        Ok(events.take(count).collect())
    }
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_BYTES)))?;
    let mut text = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Some thousands of changes.
const READ_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(component: &str, at_ms: u64) -> Event {
        Event {
            at_ms,
            who: "ann".to_owned(),
            component: component.parse().expect("a plain name"),
            action: "deploy".to_owned(),
            version: Some(Digest::of(b"one")),
            result: "live".to_owned(),
            ok: true,
        }
    }

    #[test]
    fn the_newest_come_first_of_one_component_or_of_all_and_a_torn_line_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::of(folder.path());
        assert_eq!(history.newest(10, None).expect("read"), []);
        for (at_ms, component) in ["rating", "gateway", "rating"].into_iter().enumerate() {
            let at_ms = u64::try_from(at_ms).expect("small");
            history.add(&event(component, at_ms)).expect("added");
        }
        let mut file = fs::File::options()
            .append(true)
            .open(folder.path().join("history.jsonl"))
            .expect("opened");
        file.write_all(b"{\"at_ms\":9").expect("written");
        let times = |count, component: Option<&str>| {
            let component = component.map(|name| name.parse().expect("a plain name"));
            let events = history.newest(count, component.as_ref()).expect("read");
            events.iter().map(|event| event.at_ms).collect::<Vec<_>>()
        };
        assert_eq!(times(10, None), [2, 1, 0]);
        assert_eq!(times(2, None), [2, 1]);
        assert_eq!(times(10, Some("rating")), [2, 0]);
    }
}
