//! Servers of others that tests run, as programs alone.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub(crate) use marquee_testkit::not_tried;

/// A server that runs. Dropped, it is ended.
pub(crate) struct Server {
    process: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Server {
    /// Start it, and read its log until a line says where it listens.
    pub(crate) fn start(command: &mut Command, address: impl Fn(&str) -> Option<String>) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("piped")).lines();
        let mut told = Vec::new();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let address = address(&line);
            told.push(line);
            address
        });
        // Or it would wait for somebody to read.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Self {
            process,
            address: address.unwrap_or_else(|| panic!("it listens: {told:?}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of what scripts/setup gets for tests.
pub(crate) fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_marquee")).ancestors().nth(2);
    target.expect("a folder").join("tools")
}

/// As scripts/setup gets it, or from the PATH, if it can be had here.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let own = folder().join(name);
    if own.exists() {
        return Some(own);
    }
    if !has(name) {
        not_tried(&fetched(name));
        return None;
    }
    Some(name.into())
}

/// Whether a program is on the PATH. What it answers does not matter: not all of them know the flag.
pub(crate) fn has(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

/// What is missing, and who may have it.
pub(crate) fn fetched(name: &str) -> String {
    format!("{name} (scripts/setup test fetches what can be had)")
}
