//! The programs with bugs, built beside the ordinary ones.
//!
//! Cargo keeps what it makes with the feature apart from what it makes without, in the same folder; only the host's
//! program has one place for both. It is copied from there, and the ordinary one put back.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::tests::Program;

/// What was built.
pub(super) struct Built {
    pub(super) host: PathBuf,
    pub(super) model: Vec<Program>,
    pub(super) tests: Vec<Program>,
}

pub(super) async fn build() -> anyhow::Result<Built> {
    let built = cargo(&["build", "--bin", "marquee", FEATURE[0], FEATURE[1]]).await?;
    let host = program(&built, "bin", "marquee")?.path;
    let copy = host.with_file_name("../seeded/marquee");
    let folder = copy.parent().context("it has a folder")?;
    tokio::fs::create_dir_all(folder).await?;
    // In the place of one that may be running.
    let fresh = copy.with_extension("new");
    tokio::fs::copy(&host, &fresh).await?;
    tokio::fs::rename(&fresh, &copy).await?;
    cargo(&["build", "--bin", "marquee"]).await?;
    let arguments = [
        "test",
        "--no-run",
        "--lib",
        "--test",
        "delivery",
        "--test",
        "conformance",
        FEATURE[0],
        FEATURE[1],
    ];
    let built = cargo(&arguments).await?;
    Ok(Built {
        host: copy.canonicalize()?,
        model: vec![program(&built, "lib", "marquee_delivery")?],
        tests: vec![
            program(&built, "test", "delivery")?,
            program(&built, "test", "conformance")?,
            program(&built, "lib", "marquee_capabilities")?,
        ],
    })
}

/// What cargo made. Of the whole workspace: a part of it would be built with other features, and all of it anew.
async fn cargo(arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = Command::new("cargo")
        .args(arguments)
        .args([
            "--locked",
            "--workspace",
            "--quiet",
            "--message-format=json",
        ])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("cargo cannot be run")?;
    ensure!(output.status.success(), "cargo {arguments:?} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn program(built: &[Value], kind: &str, name: &str) -> anyhow::Result<Program> {
    let found = built.iter().find_map(|made| {
        let target = made.get("target")?;
        let kinds = target.get("kind")?.as_array()?;
        let is_it = target.get("name")? == name && kinds.iter().any(|it| it == kind);
        let path = made.get("executable")?.as_str()?;
        let manifest = made.get("manifest_path")?.as_str()?;
        is_it.then(|| Program {
            path: path.into(),
            // Where cargo would run it.
            folder: Path::new(manifest).parent().map(Path::to_owned),
        })
    });
    found.with_context(|| format!("cargo made no {kind} {name}"))
}

const FEATURE: [&str; 2] = ["--features", "marquee-database/seeded-bugs"];
