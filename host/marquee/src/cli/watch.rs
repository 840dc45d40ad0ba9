//! `marquee watch`: what is saved is built and goes live.
//!
//! It builds with the manifest's own commands and deploys as `marquee deploy` does; a build or a version that fails
//! leaves what was live as it was, and it goes on watching.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use globset::{Glob, GlobSet, GlobSetBuilder};
use marquee_admin::client::{Client, at};
use marquee_manifest::{App, ComponentId};
use marquee_registry::Digest;
use marquee_releases::{ComponentReport, components};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::{print, remote::RemoteFlags};
use crate::{app, shutdown::Signals};

/// Build and deploy components as their files are saved, until a signal.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, beside a running `marquee up`:\n  marquee watch\n\nIt watches the patterns of [component.NAME.build] in the manifest."
)]
pub(crate) struct Watch {
    #[command(flatten)]
    host: RemoteFlags,
}

/// A component that can be built.
struct Built {
    id: ComponentId,
    command: String,
    folder: PathBuf,
    files: GlobSet,
    /// What was built last.
    version: Option<Digest>,
}

impl Watch {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let (remote, settings) = self.host.decide()?;
        let app = app::read(&settings.manifest.value)?;
        let root = std::path::absolute(settings.root())?;
        let mut folders = BTreeSet::new();
        let mut built = Vec::new();
        for component in app.components.values() {
            let Some(build) = component
                .build
                .as_ref()
                .filter(|build| !build.watch.is_empty())
            else {
                continue;
            };
            let folder = root.join(&build.workdir);
            // As the system tells of files: without dots and links.
            let folder = std::fs::canonicalize(&folder)
                .with_context(|| format!("{} is not there", folder.display()))?;
            let mut files = GlobSetBuilder::new();
            for pattern in &build.watch {
                let whole = folder.join(pattern);
                let whole = whole.to_str().context("a path is no text")?;
                files.add(Glob::new(whole).with_context(|| {
                    format!("component {}: {pattern:?} is no pattern", component.id)
                })?);
                folders.insert(before_pattern(whole));
            }
            built.push(Built {
                id: component.id.clone(),
                command: build.command.clone(),
                folder,
                files: files.build()?,
                version: components::read(&root, component)
                    .ok()
                    .map(|bytes| Digest::of(&bytes)),
            });
        }
        ensure!(
            !built.is_empty(),
            "no component has a build with `watch` patterns in {}",
            settings.manifest.value.display()
        );

        // Bounded: what does not fit was saved while much else was, and one of those starts the build.
        let (send, mut saved) = mpsc::channel::<PathBuf>(1_024);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                if event.kind.is_access() {
                    return;
                }
                for path in event.paths {
                    let _ = send.try_send(path);
                }
            })?;
        for folder in &folders {
            watcher
                .watch(folder, RecursiveMode::Recursive)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        let names: Vec<&str> = built.iter().map(|built| built.id.as_str()).collect();
        print(format!("watching {}", names.join(", ")))?;
        let mut signals = Signals::listen()?;
        loop {
            let paths = tokio::select! {
                paths = settled(&mut saved) => paths,
                () = signals.next() => return Ok(ExitCode::SUCCESS),
            };
            for one in &mut built {
                if paths.iter().any(|path| one.files.is_match(path)) {
                    match one.release(&app, &root, &remote).await {
                        Ok(line) => print(format!("{}: {line}", one.id))?,
                        Err(error) => print(format!("{}: {error:#}", one.id))?,
                    }
                }
            }
        }
    }
}

impl Built {
    /// Build it and make it live, and tell what came of it.
    async fn release(&mut self, app: &App, root: &Path, remote: &Client) -> anyhow::Result<String> {
        let begun = Instant::now();
        print(format!("{}: {}", self.id, self.command))?;
        let status = tokio::process::Command::new("sh")
            .args(["-c", &self.command])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await
            .context("the build cannot be started")?;
        if !status.success() {
            bail!("the build failed ({status}); what was live stays live");
        }
        let building = begun.elapsed();
        let component = app
            .components
            .get(&self.id)
            .context("the component is gone")?;
        let bytes = components::read(root, component)?;
        let version = Digest::of(&bytes);
        if self.version == Some(version) {
            return Ok("nothing has changed".to_owned());
        }
        let _: ComponentReport = remote.upload(&at(&self.id, "/versions"), bytes).await?;
        self.version = Some(version);
        Ok(format!(
            "{version} is live {:.2} s after the save (build {:.2} s)",
            (SETTLE + begun.elapsed()).as_secs_f64(),
            building.as_secs_f64()
        ))
    }
}

/// What was saved, once nothing more is for a moment: an editor writes several times.
async fn settled(saved: &mut mpsc::Receiver<PathBuf>) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    paths.extend(saved.recv().await);
    while let Ok(Some(path)) = tokio::time::timeout(SETTLE, saved.recv()).await {
        paths.insert(path);
    }
    paths
}

/// The deepest folder that a pattern names.
fn before_pattern(pattern: &str) -> PathBuf {
    let plain = pattern
        .split('/')
        .take_while(|part| !part.contains(['*', '?', '[', '{']));
    let path: PathBuf = PathBuf::from(plain.collect::<Vec<_>>().join("/"));
    // A pattern without a wildcard is a file.
    if path.is_file() {
        path.parent().unwrap_or(&path).to_path_buf()
    } else {
        path
    }
}

const SETTLE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_watched_from_its_last_plain_folder() {
        for (pattern, folder) in [
            ("/a/src/**/*.rs", "/a/src"),
            ("/a/*.toml", "/a"),
            ("/a/{b,c}/d", "/a"),
        ] {
            assert_eq!(before_pattern(pattern), Path::new(folder));
        }
    }
}
