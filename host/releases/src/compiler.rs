//! Compiling in a child process (`marquee compile`), so that bytes from outside cannot take more than they may.
//!
//! Bounds: memory, CPU and wall clock; beside calls a low priority and a thread less than there are CPUs, so that
//! they go on meanwhile: where the compiler runs on every CPU, whoever wakes up waits for one, whatever its priority.
//! The child's environment says only that, so it knows no secret. Not here: keeping what was compiled.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{Output, Stdio},
    time::Duration,
};

use marquee_runtime::{Artifact, background_threads};
use rustix::process::{Resource, Rlimit};
use tokio::io::AsyncWriteExt as _;

/// What the host does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// Nothing: it starts, and whoever started it waits. At a low priority a host would start late while others fill
    /// the machine, the one that it is to replace among them.
    Waits,
    /// It serves.
    Serves,
}

/// Why nothing was compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// There is no process.
    #[error("the compiler cannot be started")]
    Start(#[source] io::Error),
    /// What it says cannot be read.
    #[error("the compiler cannot be waited for")]
    Wait(#[source] io::Error),
    /// It took longer than it may.
    #[error("compiling took more than {} s", .0.as_secs())]
    Late(Duration),
    /// It took more than it may.
    #[error(
        "the compiler was ended by signal {signal}: it may take {} s of CPU and {} MiB of memory",
        CPU.as_secs(), MEMORY >> 20
    )]
    Ended {
        /// By which one.
        signal: i32,
    },
    /// It says what is wrong with the component.
    #[error("it cannot be compiled: {0}")]
    Refused(String),
}

/// Compile a component.
pub(crate) async fn compile(bytes: &[u8], meanwhile: Meanwhile) -> Result<Artifact, CompileError> {
    // The link of the process, not the path: a host goes on compiling with itself after an update replaced the file.
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.arg("compile").env_clear();
    if meanwhile == Meanwhile::Serves {
        command
            .arg("--background")
            .env("RAYON_NUM_THREADS", background_threads().to_string());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(CompileError::Start)?;
    let input = child.stdin.take();
    let mut input = input.ok_or_else(|| CompileError::Start(io::ErrorKind::BrokenPipe.into()))?;
    let work = async {
        let give = async move {
            // A compiler that ended early says why itself.
            let _ = input.write_all(bytes).await;
            drop(input);
        };
        let ((), output) = tokio::join!(give, child.wait_with_output());
        output
    };
    let output = tokio::time::timeout(WALL, work)
        .await
        .map_err(|_| CompileError::Late(WALL))?
        .map_err(CompileError::Wait)?;
    taken(output)
}

fn taken(output: Output) -> Result<Artifact, CompileError> {
    if output.status.success() {
        // Over a pipe from a process that this one started: nobody else could write to it.
        return Ok(Artifact::vouched_for(output.stdout));
    }
    if let Some(signal) = output.status.signal() {
        return Err(CompileError::Ended { signal });
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("error: ");
    Err(CompileError::Refused(said.to_owned()))
}

/// In the child: take no more than one may from here on, and give way to all others if it is to run in the background.
pub fn confine(background: bool) -> io::Result<()> {
    let limit = |resource, most| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(resource, limit)
    };
    limit(Resource::As, MEMORY)?;
    limit(Resource::Cpu, CPU.as_secs())?;
    limit(Resource::Core, 0)?;
    if background {
        rustix::process::nice(NICE)?;
    }
    Ok(())
}

/// A component of 32 MiB takes less than a minute of a slow core.
const CPU: Duration = Duration::from_secs(120);
/// Longer than its CPU time: at its priority it waits for others.
const WALL: Duration = Duration::from_secs(300);
/// Address space, of which the allocator alone asks for a good part ahead of use.
const MEMORY: u64 = 4 << 30;
/// A tenth of the weight of what serves. At 19 it is a seventieth: on a full machine a release took minutes.
const NICE: i32 = 10;
