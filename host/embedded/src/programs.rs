//! Finding PostgreSQL's programs.

use std::path::{Path, PathBuf};

use crate::Error;

/// The folder with `initdb`, `postgres` and `pg_ctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(PathBuf);

impl Programs {
    /// Look where distributions put them, newest version first, then in `PATH`.
    pub fn find() -> Result<Self, Error> {
        Self::find_for(None)
    }

    /// The same, those of this version before all others.
    pub(crate) fn find_for(wanted: Option<u32>) -> Result<Self, Error> {
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
        versions.sort_by_key(|(number, _)| (Some(*number) == wanted, *number));
        let newest = versions.into_iter().rev().map(|(_, path)| path);
        #[expect(
            clippy::disallowed_methods,
            reason = "where programs are is the machine's, not this program's configuration"
        )]
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_in(newest.chain(std::env::split_paths(&path)))
    }

    /// The first of the folders that has them all.
    fn find_in(mut folders: impl Iterator<Item = PathBuf>) -> Result<Self, Error> {
        folders
            .find(|folder| is_complete(folder))
            .map(Self)
            .ok_or(Error::NoPrograms)
    }

    /// Of the programs: 17.
    pub(crate) async fn version(&self) -> Result<u32, Error> {
        let failed = |output: String| Error::Program {
            program: "postgres",
            output,
        };
        let mut command = tokio::process::Command::new(self.path("postgres"));
        let output = command.arg("--version").output().await;
        let output = output.map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        major(&text).ok_or_else(|| failed(format!("its version is {text:?}")))
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }
}

/// The first number of `17`, `17.6`, `postgres (PostgreSQL) 18beta1`.
pub(crate) fn major(text: &str) -> Option<u32> {
    let number = text.split(|c: char| !c.is_ascii_digit());
    number
        .into_iter()
        .find(|part| !part.is_empty())?
        .parse()
        .ok()
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_first_number() {
        let check = |text: &str, number| assert_eq!(major(text), number, "{text}");
        check("17\n", Some(17));
        check(
            "postgres (PostgreSQL) 17.6 (Debian 17.6-1.pgdg13+1)\n",
            Some(17),
        );
        check("postgres (PostgreSQL) 18beta1", Some(18));
        check("", None);
    }

    #[test]
    fn a_machine_without_the_programs_is_told_what_to_install() {
        let folder = tempfile::tempdir().expect("a folder");
        // One of the three is not enough.
        std::fs::write(folder.path().join("initdb"), "").expect("a file");
        let found = Programs::find_in([folder.path().to_owned()].into_iter());
        let message = found.expect_err("two are missing").to_string();
        assert!(message.contains("apt-get install postgresql"), "{message}");
        for program in ["postgres", "pg_ctl"] {
            std::fs::write(folder.path().join(program), "").expect("a file");
        }
        Programs::find_in([folder.path().to_owned()].into_iter()).expect("all three");
    }
}
