//! Programs of tests, until one fails.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout_at,
};

/// A program of tests.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) folder: Option<PathBuf>,
}

/// After how long the first test failed, and what it says. What is behind it is not run.
pub(super) async fn first_failure(
    programs: &[Program],
    environment: &[(String, String)],
) -> anyhow::Result<(Duration, Option<String>)> {
    let begun = Instant::now();
    for program in programs {
        let mut skipped = Vec::new();
        while let Some(name) = program.run(&skipped, environment).await?.failed {
            let after = begun.elapsed();
            // Once more, alone: what it says comes with the program's end, and on a busy machine one may fail by chance.
            let alone = ["--exact".to_owned(), name.clone()];
            let alone = program.run(&alone, environment).await?;
            if alone.failed.is_some() {
                return Ok((after, Some(format!("{name}: {}", reason(&alone.said)))));
            }
            skipped.extend(["--skip".to_owned(), name]);
        }
    }
    Ok((begun.elapsed(), None))
}

/// What came of a program.
struct Ran {
    /// The first test that failed.
    failed: Option<String>,
    said: Vec<String>,
}

impl Program {
    /// Run one test to the program's end, or all until one has failed.
    async fn run(
        &self,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> anyhow::Result<Ran> {
        let mut command = Command::new(&self.path);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut child = command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be run", self.path.display()))?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let until = tokio::time::Instant::now() + LIMIT;
        let mut said = Vec::new();
        let failed = loop {
            let Ok(line) = timeout_at(until, lines.next_line()).await else {
                break Some(format!("no end within {LIMIT:?}"));
            };
            let Some(line) = line? else {
                let status = child.wait().await?;
                break (!status.success()).then(|| status.to_string());
            };
            let name = line
                .strip_prefix("test ")
                .and_then(|it| it.strip_suffix(" ... FAILED"))
                .map(str::to_owned);
            let is_one = arguments.first().is_some_and(|it| it == "--exact");
            if !is_one && name.is_some() {
                break name;
            }
            said.push(line);
        };
        Ok(Ran { failed, said })
    }
}

/// What a test said when it panicked first.
fn reason(said: &[String]) -> String {
    let mut lines = said.iter();
    let panic = lines.find(|line| line.contains(" panicked at "));
    let reason = panic.and_then(|_| lines.next());
    reason.cloned().unwrap_or_default()
}

/// Of a program of tests; each test has bounds of its own.
pub(super) const LIMIT: Duration = Duration::from_secs(240);
