//! A manifest like the movie system's, in which what details ask for is cached.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Write it to a folder, beside links to all that the one before may name.
pub(super) fn manifest(of: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let of = of.canonicalize()?;
    let name = of.file_name().context("no file")?;
    for entry in fs::read_dir(of.parent().context("no folder")?)? {
        let entry = entry?;
        if entry.file_name() != name {
            symlink(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    let cached = folder.join(name);
    fs::write(&cached, fs::read_to_string(&of)? + CACHE)?;
    Ok(cached)
}

/// Ratings come over the bus, late in any case: nobody touches them.
const CACHE: &str = r#"
[component.metadata.tool.marquee.cache]
"movie:metadata/queries.movie-by-id" = { tags = ["movie:{id}"], max_age = "1s" }

[component.rating.tool.marquee.cache]
"movie:rating/queries.aggregates-of" = { max_age = "1s" }
"#;
