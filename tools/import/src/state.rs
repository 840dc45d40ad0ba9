//! What a run had acknowledged, so that the next one goes on from there.
//!
//! A text file that only grows: a first line that names the server, then one line for each acknowledged line of
//! input (its number and a digest of its content, so that an edited line is sent again). Promise: a line stands
//! here only after the server acknowledged it. A last line that was cut by a crash is dropped. Losing the file
//! costs time, not correctness: sending again is harmless.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// The acknowledged lines of one input.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    file: File,
    acknowledged: HashSet<String>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed.
    #[error("the state file {path} cannot be used: {source}; give another with --state")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is about something else.
    #[error(
        "{path} is not the state of an import to {server}; give another with --state, or delete it to send everything again"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The server of this run.
        server: String,
    },
}

impl State {
    /// Opens or makes the file at `path` for imports to `server`.
    ///
    /// # Errors
    /// When it cannot be read and written, or belongs to another server or program.
    pub fn open(path: &Path, server: &str) -> Result<Self, Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let header = format!("{HEADER} {server}");
        let foreign = || Error::Foreign {
            path: path.to_owned(),
            server: server.to_owned(),
        };
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if whole == 0 && !format!("{header}\n").as_bytes().starts_with(&text) {
            return Err(foreign());
        }
        text.truncate(whole);
        let text = String::from_utf8(text).map_err(|_| foreign())?;
        let mut lines = text.lines();
        let first = lines.next();
        if first.is_some_and(|first| first != header) {
            return Err(foreign());
        }
        // Only now is it known to be ours, so that a torn end may be cut off.
        file.set_len(whole as u64).map_err(failed)?;
        if first.is_none() {
            writeln!(file, "{header}").map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            acknowledged: lines.map(str::to_owned).collect(),
        })
    }

    /// The state beside an input: its name with `.state` added.
    #[must_use]
    pub fn beside(input: &Path) -> PathBuf {
        let mut name = input.as_os_str().to_owned();
        name.push(".state");
        name.into()
    }

    /// Whether an earlier run had this line acknowledged.
    #[must_use]
    pub fn has(&self, number: u64, content: &str) -> bool {
        self.acknowledged.contains(&key(number, content))
    }

    /// The keys of what earlier runs had acknowledged.
    pub(crate) fn acknowledged(&self) -> HashSet<String> {
        self.acknowledged.clone()
    }

    /// Notes that the server acknowledged a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn acknowledge(&mut self, number: u64, content: &str) -> Result<(), Error> {
        // One write a line, so that a crash cuts at most the last one.
        let line = format!("{}\n", key(number, content));
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| Error::File {
                path: self.path.clone(),
                source,
            })
    }
}

/// What stands in the file for a line.
pub(crate) fn key(number: u64, content: &str) -> String {
    format!("{number} {:016x}", digest(content.as_bytes()))
}

/// FNV-1a: the same on every machine and release; only accidents are to be told apart.
#[must_use]
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const HEADER: &str = "marquee-import 1";

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "http://127.0.0.1:3000";

    #[test]
    fn what_was_acknowledged_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("films.csv.state");
        State::open(&path, SERVER)
            .unwrap()
            .acknowledge(2, "a")
            .unwrap();
        let state = State::open(&path, SERVER).unwrap();
        assert!(state.has(2, "a"));
        assert!(!state.has(2, "b"), "an edited line is sent again");
        assert!(
            !state.has(3, "a"),
            "the same content elsewhere is another line"
        );
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut state = State::open(&path, SERVER).unwrap();
        state.acknowledge(2, "a").unwrap();
        state.acknowledge(3, "b").unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut state = State::open(&path, SERVER).unwrap();
            assert!(!state.has(3, "b"), "cut at {cut}");
            state.acknowledge(4, "c").unwrap();
            let state = State::open(&path, SERVER).unwrap();
            assert!(state.has(4, "c"), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for text in ["precious", "precious\nlines\n", "precious\nand torn"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(
                State::open(&path, SERVER),
                Err(Error::Foreign { .. })
            ));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        drop(State::open(&folder.path().join("other"), SERVER).unwrap());
        let other = State::open(&folder.path().join("other"), "http://elsewhere");
        assert!(matches!(other, Err(Error::Foreign { .. })));
    }
}
