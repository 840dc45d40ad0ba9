//! Finding PostgreSQL's programs.

use std::path::{Path, PathBuf};

use crate::Error;

/// The folder with `initdb`, `postgres` and `pg_ctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(PathBuf);

impl Programs {
    /// Look where distributions put them, newest version first, then in `PATH`'s usual folders.
    pub fn find() -> Result<Self, Error> {
        let mut versions: Vec<(u32, PathBuf)> = Vec::new();
        for parent in [
            "/usr/lib/postgresql",
            "/usr/pgsql",
            "/opt/homebrew/opt",
            "/usr/local/opt",
        ] {
            let Ok(entries) = std::fs::read_dir(parent) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let number = name.trim_start_matches("postgresql@").parse();
                if let Ok(number) = number {
                    versions.push((number, entry.path().join("bin")));
                }
            }
        }
        versions.sort();
        let newest = versions.into_iter().rev().map(|(_, path)| path);
        let usual = ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"]
            .into_iter()
            .map(PathBuf::from);
        newest
            .chain(usual)
            .find(|folder| is_complete(folder))
            .map(Self)
            .ok_or(Error::NoPrograms)
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl"]
        .iter()
        .all(|program| folder.join(program).is_file())
}
