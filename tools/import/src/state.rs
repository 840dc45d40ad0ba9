//! What a run had acknowledged, so that the next one goes on from there.
//!
//! A text file that only grows: a first line that names the server, then one line for each acknowledged line of
//! input (its number and a digest of its content, so that an edited line is sent again). Promise: a line stands
//! here only after the server acknowledged it. A last line that was cut by a crash is dropped. Losing the file
//! costs time, not correctness: sending again is harmless. Bound: some 50 bytes of memory for each line that earlier
//! runs had acknowledged.

use std::{
    collections::HashSet,
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// Names a line of input: its number, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// From 1.
    pub number: u64,
    digest: u128,
}

impl Key {
    /// The line of this number, with this content in a form that does not change.
    #[must_use]
    pub fn of(number: u64, content: &[u8]) -> Self {
        let hash = Sha256::digest(content);
        // Half of it tells apart what is not made to be alike.
        let half = hash.first_chunk().copied().unwrap_or_default();
        Self {
            number,
            digest: u128::from_be_bytes(half),
        }
    }

    /// None: it is no line of the file.
    fn read(line: &str) -> Option<Self> {
        let (number, digest) = line.split_once(' ')?;
        Some(Self {
            number: number.parse().ok()?,
            digest: u128::from_str_radix(digest, 16).ok()?,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:032x}", self.number, self.digest)
    }
}

/// The acknowledged lines of one input.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    file: File,
    acknowledged: HashSet<Key>,
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
    /// An earlier release wrote it.
    #[error(
        "{path} was written by an earlier version of marquee-import, which named lines otherwise; delete it, or give another with --state: everything is sent again, which is harmless"
    )]
    Version {
        /// The file.
        path: PathBuf,
    },
}

impl State {
    /// Opens or makes the file at `path` for imports to `server`.
    ///
    /// # Errors
    /// When it cannot be read and written, or belongs to another server, program or version.
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
        if first.is_some_and(|first| first.starts_with(EARLIER)) {
            return Err(Error::Version {
                path: path.to_owned(),
            });
        }
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
            acknowledged: lines.filter_map(Key::read).collect(),
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
    pub fn has(&self, line: Key) -> bool {
        self.acknowledged.contains(&line)
    }

    /// Notes that the server acknowledged lines.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn acknowledge(&mut self, lines: &[Key]) -> Result<(), Error> {
        // One write, so that a crash cuts at most one line, and what is after it is not there.
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| Error::File {
                path: self.path.clone(),
                source,
            })
    }
}

const HEADER: &str = "marquee-import 2";
const EARLIER: &str = "marquee-import 1 ";

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "http://127.0.0.1:3000";

    fn key(number: u64, content: &str) -> Key {
        Key::of(number, content.as_bytes())
    }

    #[test]
    fn what_was_acknowledged_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("films.csv.state");
        State::open(&path, SERVER)
            .unwrap()
            .acknowledge(&[key(2, "a")])
            .unwrap();
        let state = State::open(&path, SERVER).unwrap();
        assert!(state.has(key(2, "a")));
        assert!(!state.has(key(2, "b")), "an edited line is sent again");
        assert!(
            !state.has(key(3, "a")),
            "the same content elsewhere is another line"
        );
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut state = State::open(&path, SERVER).unwrap();
        state.acknowledge(&[key(2, "a")]).unwrap();
        state.acknowledge(&[key(3, "b")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut state = State::open(&path, SERVER).unwrap();
            assert!(!state.has(key(3, "b")), "cut at {cut}");
            state.acknowledge(&[key(4, "c")]).unwrap();
            let state = State::open(&path, SERVER).unwrap();
            assert!(state.has(key(4, "c")), "cut at {cut}");
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

    #[test]
    fn a_file_of_an_earlier_version_is_told_as_such_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let text = format!("marquee-import 1 {SERVER}\n2 00000000000000ab\n");
        std::fs::write(&path, &text).unwrap();
        assert!(matches!(
            State::open(&path, SERVER),
            Err(Error::Version { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn the_names_of_lines_do_not_change_with_a_release() {
        let name = "7 ba7816bf8f01cfea414140de5dae2223";
        assert_eq!(key(7, "abc").to_string(), name);
        assert_eq!(Key::read(name), Some(key(7, "abc")));
    }
}
