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

/// After how long the first one failed, and what it said. Programs behind that of the first failure are not run.
pub(super) async fn first_failure(
    programs: &[Program],
    environment: &[(String, String)],
) -> anyhow::Result<(Duration, Option<String>)> {
    let begun = Instant::now();
    for program in programs {
        let mut command = Command::new(&program.path);
        if let Some(folder) = &program.folder {
            command.current_dir(folder);
        }
        let mut child = command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be run", program.path.display()))?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let until = tokio::time::Instant::now() + LIMIT;
        let mut failed: Option<(Duration, String)> = None;
        let mut said = Vec::new();
        let is_over = loop {
            match timeout_at(until, lines.next_line()).await {
                Ok(Ok(Some(line))) => {
                    let name = line
                        .strip_prefix("test ")
                        .and_then(|it| it.strip_suffix(" ... FAILED"));
                    if let Some(name) = name.filter(|_| failed.is_none()) {
                        failed = Some((begun.elapsed(), name.to_owned()));
                    }
                    said.push(line);
                }
                Ok(Ok(None) | Err(_)) => break true,
                Err(_) => break false,
            }
        };
        if let Some((after, name)) = failed {
            return Ok((after, Some(format!("{name}: {}", reason(&said, &name)))));
        }
        if !is_over {
            let text = format!("the tests do not end within {LIMIT:?}");
            return Ok((begun.elapsed(), Some(text)));
        }
        let status = child.wait().await?;
        if !status.success() {
            return Ok((
                begun.elapsed(),
                Some(format!("the tests end with {status}")),
            ));
        }
    }
    Ok((begun.elapsed(), None))
}

/// What a test said when it panicked first.
fn reason(said: &[String], name: &str) -> String {
    let heading = format!("---- {name} stdout ----");
    let mut lines = said.iter().skip_while(|line| **line != heading);
    let panic = lines.find(|line| line.contains(" panicked at "));
    let reason = panic.and_then(|_| lines.next());
    reason.cloned().unwrap_or_default()
}

/// Of a program of tests; each test has bounds of its own.
pub(super) const LIMIT: Duration = Duration::from_secs(240);
