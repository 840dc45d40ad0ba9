//! Processes that are measured: the native program's, and what each has taken of a CPU.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

/// A program that serves. Ends when it is dropped.
pub(super) struct Serving {
    child: Child,
    pub(super) address: String,
}

impl Serving {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has nothing to end in order; one that is gone already is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Start this program as the native one.
pub(super) fn start(program: &Path, arguments: &[&str]) -> anyhow::Result<Serving> {
    let mut child = Command::new(program)
        .arg("native-program")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = child.stdout.take().context("it says nothing")?;
    let mut serving = Serving {
        child,
        address: String::new(),
    };
    BufReader::new(said).read_line(&mut serving.address)?;
    let address = serving.address.trim().to_owned();
    anyhow::ensure!(!address.is_empty(), "the native program did not start");
    serving.address = address;
    Ok(serving)
}

/// The process of the embedded server that has this folder.
pub(super) fn postmaster(folder: &Path) -> anyhow::Result<u32> {
    let file = folder.join("data/postmaster.pid");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(text.lines().next().unwrap_or_default().trim().parse()?)
}

/// What processes have taken of a CPU since they began.
#[derive(Clone, Copy)]
pub(super) struct Cpu {
    pub(super) own: Duration,
    /// The database server, with all its processes.
    pub(super) postgres: Duration,
}

impl Cpu {
    pub(super) fn of(pid: u32, postgres: Option<u32>) -> anyhow::Result<Self> {
        let mut all = Duration::ZERO;
        if let Some(postmaster) = postgres {
            for entry in fs::read_dir("/proc")? {
                let Some(pid) = entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                // One that ended meanwhile is none of those that answer.
                if let Ok((parent, taken)) = stat(pid)
                    && (pid == postmaster || parent == postmaster)
                {
                    all += taken;
                }
            }
        }
        Ok(Self {
            own: stat(pid)?.1,
            postgres: all,
        })
    }

    pub(super) fn since(self, before: &Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            postgres: self.postgres.saturating_sub(before.postgres),
        }
    }
}

/// A process's parent, and what it has taken of a CPU (`man 5 proc`, fields 4, 14 and 15).
fn stat(pid: u32) -> anyhow::Result<(u32, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before may hold anything, its closing bracket is the last.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let field = |n: usize| {
        rest.split_whitespace()
            .nth(n - 3)
            .context("a field is missing")
    };
    let ticks = field(14)?.parse::<u64>()? + field(15)?.parse::<u64>()?;
    Ok((
        field(4)?.parse()?,
        Duration::from_millis(ticks * 1_000 / TICKS),
    ))
}

/// Of Linux's clock for processes, a second: the same on every machine that this runs on.
const TICKS: u64 = 100;
