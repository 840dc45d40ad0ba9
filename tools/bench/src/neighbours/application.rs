//! The application that is measured: the movie system, and beside it components that misbehave.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Context as _;
use tempfile::TempDir;

use super::{composed, misdeeds::Versions};

/// The movie system and the components that misbehave, in a folder of its own.
pub(super) fn folder(manifest: &Path) -> anyhow::Result<TempDir> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("{} cannot be read", manifest.display()))?;
    let root = std::path::absolute(manifest)?;
    let root = root.parent().context("the manifest is in no folder")?;
    let folder = tempfile::tempdir()?;
    // The embedded PostgreSQL may run as another user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open)?;
    for name in ["target", "migrations"] {
        symlink(root.join(name), folder.path().join(name))?;
    }
    let bytes = composed::with(guest(&folder, "faulty")?, composed::MEMORIES)?;
    fs::write(folder.path().join("memories.wasm"), bytes)?;
    fs::write(folder.path().join("spin.toml"), text + MORE)?;
    Ok(folder)
}

/// Versions of it that cannot start.
pub(super) fn versions(folder: &TempDir) -> anyhow::Result<Versions> {
    let endless = composed::with(guest(folder, "faulty")?, composed::ENDLESS)?;
    Ok(Versions {
        traps: guest(folder, "stillborn")?,
        computes: endless,
    })
}

fn guest(folder: &TempDir, name: &str) -> anyhow::Result<Vec<u8>> {
    let file = format!("target/wasm32-wasip2/guest/{name}.wasm");
    fs::read(folder.path().join(&file))
        .with_context(|| format!("{file} cannot be read; run scripts/components --tests"))
}

/// Behind the manifest of the movie system.
const MORE: &str = r#"
[[trigger.http]]
route = "/faulty/..."
component = "faulty"

[component.faulty]
source = "target/wasm32-wasip2/guest/faulty.wasm"

[[trigger.http]]
route = "/memories/..."
component = "memories"

[component.memories]
source = "memories.wasm"

[[trigger.http]]
route = "/crowd"
component = "crowd"

[component.crowd]
source = "target/wasm32-wasip2/guest/crowd.wasm"

[component.crowd.tool.marquee]
database = { name = "crowd" }
# A statement under way has two.
limits = { handles = 2000 }
"#;
