//! What only the kernel sees of a process: its calls of the system, and how often it gets to some places of its code.
//!
//! By `perf` (Debian: linux-perf), for root: tracepoints for the system's calls, probes in the program for allocations and
//! for polls of tasks, and one in the C library for reads of the clock. A probe costs a microsecond or more each time that it
//! is met, so nothing is timed meanwhile. Probes are taken away again when this is dropped.
//!
//! What guests allocate within their own memories is not seen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::process::{Child, Command};

/// Probes in a program.
pub(super) struct Probes {
    events: Vec<(usize, String)>,
}

/// As many as [`NAMES`], each counted so often.
pub(super) type Seen = [u64; NAMES.len()];

/// What is counted.
pub(super) const NAMES: [&str; 6] = [
    "system calls",
    "of them futex",
    "of them epoll",
    "polls of tasks",
    "allocations",
    "clock reads",
];

/// Counting that goes on.
pub(super) struct Counting {
    perf: Child,
    into: PathBuf,
}

impl Probes {
    /// Put them into a program, and into the C library that it uses.
    pub(super) async fn new(program: &Path) -> anyhow::Result<Self> {
        let symbols = Command::new("nm").arg(program).output().await;
        let symbols = symbols
            .context("nm cannot be started; install it (Debian: apt-get install binutils)")?;
        let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
        let symbols = symbols
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        let mut events: Vec<_> = [
            (0, "raw_syscalls:sys_enter"),
            (1, "syscalls:sys_enter_futex"),
            (2, "syscalls:sys_enter_epoll_wait"),
        ]
        .map(|(place, event)| (place, event.to_owned()))
        .into();
        // Dropped on the way, what is there already goes.
        let mut probes = Self { events: Vec::new() };
        let in_program = symbols.filter_map(|symbol| {
            let is_poll = symbol.contains("multi_thread6worker7Context8run_task");
            let place = match symbol {
                "mi_malloc_aligned" | "mi_zalloc_aligned" | "mi_realloc_aligned" => 4,
                _ if is_poll => 3,
                _ => return None,
            };
            Some((place, program.to_owned(), symbol.to_owned()))
        });
        let in_program: Vec<_> = in_program.collect();
        let places = |wanted| in_program.iter().any(|(place, ..)| *place == wanted);
        ensure!(
            places(3) && places(4),
            "{} has other names for what is counted; is it stripped?",
            program.display()
        );
        let clock = (5, libc()?, "clock_gettime".to_owned());
        for (n, (place, file, symbol)) in in_program.into_iter().chain([clock]).enumerate() {
            let event = format!("{GROUP}:p{n}");
            perf(&[
                "probe",
                "-q",
                "-x",
                &file.display().to_string(),
                "--no-demangle",
                "-a",
                &format!("{event}={symbol}"),
            ])
            .await?;
            events.push((place, event));
        }
        probes.events = events;
        Ok(probes)
    }

    /// Count what a process does from now on.
    pub(super) async fn count(&self, pid: u32, into: &Path) -> anyhow::Result<Counting> {
        let events: Vec<_> = self
            .events
            .iter()
            .map(|(_, event)| event.as_str())
            .collect();
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", &events.join(","), "-p"])
            .arg(pid.to_string())
            .arg("-o")
            .arg(into)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        // It does not say when it has begun.
        tokio::time::sleep(BEGUN_IN).await;
        let into = into.to_owned();
        Ok(Counting { perf, into })
    }

    /// What was counted so far, which ends with that.
    pub(super) async fn end(&self, mut counting: Counting) -> anyhow::Result<Seen> {
        let pid = counting.perf.id().context("perf has ended")?.to_string();
        let told = Command::new("kill")
            .args(["-s", "INT", &pid])
            .status()
            .await?;
        ensure!(told.success(), "perf takes no signal");
        counting.perf.wait().await?;
        let said = fs::read_to_string(&counting.into)?;
        read(&self.events, &said)
            .with_context(|| format!("perf says something else than it used to:\n{said}"))
    }
}

/// A line an event: its count, its unit, its name.
fn read(events: &[(usize, String)], said: &str) -> Option<Seen> {
    let mut seen = Seen::default();
    for (place, event) in events {
        let mut lines = said.lines().map(|line| line.split(','));
        let count = lines.find_map(|mut fields| {
            let count = fields.next()?.parse::<u64>().ok()?;
            (fields.nth(1)? == event).then_some(count)
        })?;
        *seen.get_mut(*place)? += count;
    }
    Some(seen)
}

impl Drop for Probes {
    fn drop(&mut self) {
        let all = format!("{GROUP}:*");
        // What is left of them costs nothing while nobody counts.
        let _ = std::process::Command::new("perf")
            .args(["probe", "-q", "-d", &all])
            .stderr(Stdio::null())
            .status();
    }
}

async fn perf(arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("perf").args(arguments).output().await;
    let done =
        done.context("perf cannot be started; install it (Debian: apt-get install linux-perf)")?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(
        done.status.success(),
        "perf {}: {said}",
        arguments.join(" ")
    );
    Ok(())
}

/// The C library of this program, which is that of the host too.
fn libc() -> anyhow::Result<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut files = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let libc = files.find(|file| file.contains("/libc.so") || file.contains("/libc-"));
    Ok(libc
        .context("this program has no C library of its own file")?
        .into())
}

const GROUP: &str = "marquee_steps";
const BEGUN_IN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_says_is_summed_by_what_it_is() {
        let events = [
            (0, "raw_syscalls:sys_enter"),
            (4, "marquee_steps:p0"),
            (4, "marquee_steps:p1"),
        ];
        let events = events.map(|(place, event)| (place, event.to_owned()));
        let said = "# started on Sat Nov 28 01:17:36 2026\n\n12,,raw_syscalls:sys_enter,100,100.00,,\n\
            30,,marquee_steps:p0,100,100.00,,\n4,,marquee_steps:p1,100,100.00,,\n";
        assert_eq!(read(&events, said), Some([12, 0, 0, 0, 34, 0]));
        assert_eq!(
            read(
                &events,
                "<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"
            ),
            None
        );
    }
}
