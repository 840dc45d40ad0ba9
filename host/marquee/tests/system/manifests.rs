//! The movie system under another manifest.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// The movie system's manifest, with what is made of it, in a folder from which it finds what it names.
pub(crate) fn movies(change: impl FnOnce(String) -> String) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    for part in ["target", "migrations"] {
        let to = root.canonicalize().expect("a folder").join(part);
        symlink(to, folder.path().join(part)).expect("a link");
    }
    let text = fs::read_to_string(root.join("spin.toml")).expect("the manifest");
    let manifest = folder.path().join("spin.toml");
    fs::write(&manifest, change(text)).expect("a manifest");
    (folder, manifest)
}
