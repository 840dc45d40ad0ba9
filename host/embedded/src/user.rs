//! Who the server runs as. PostgreSQL refuses to run as root.

use std::{
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
};

use tokio::process::Command;

use crate::Error;

/// The user that the server runs as, where it is not the host's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    other: Option<(u32, u32)>,
}

impl User {
    pub(crate) fn choose() -> Result<Self, Error> {
        // The owner of /proc/self is the effective user of this process.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
        if !is_root {
            return Ok(Self { other: None });
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let other = ["postgres", "nobody"]
            .iter()
            .find_map(|name| ids(&users, name))
            .ok_or(Error::NoUser)?;
        Ok(Self { other: Some(other) })
    }

    /// A command that runs as the user, away from the terminal's signals.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = std::process::Command::new(program);
        if let Some((uid, gid)) = self.other {
            command.uid(uid).gid(gid);
        }
        command.process_group(0);
        let mut command = Command::from(command);
        // It must stand in a folder that the user may see.
        command
            .current_dir("/")
            .env("LC_ALL", "C")
            .env_remove("PGDATA")
            .stdin(std::process::Stdio::null());
        command
    }

    /// Make a folder that is the user's alone.
    pub(crate) fn make_folder(self, path: &Path) -> Result<(), Error> {
        let failed = |reason: String| Error::Folder {
            path: path.to_owned(),
            reason,
        };
        std::fs::create_dir_all(path).map_err(|error| failed(error.to_string()))?;
        if let Some((uid, gid)) = self.other {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .map_err(|error| failed(error.to_string()))?;
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(path, mode).map_err(|error| failed(error.to_string()))?;
        self.can_reach(path)
    }

    /// Another user must be able to walk to the folder.
    fn can_reach(self, path: &Path) -> Result<(), Error> {
        let Some((uid, gid)) = self.other else {
            return Ok(());
        };
        for parent in path.ancestors().skip(1) {
            let Ok(metadata) = std::fs::metadata(parent) else {
                continue;
            };
            let needed = match () {
                () if metadata.uid() == uid => 0o100,
                () if metadata.gid() == gid => 0o010,
                () => 0o001,
            };
            if metadata.mode() & needed == 0 {
                return Err(Error::Folder {
                    path: path.to_owned(),
                    reason: format!(
                        "the server runs as another user, who may not enter {}; keep the data elsewhere with --data, or allow it with chmod o+x",
                        parent.display()
                    ),
                });
            }
        }
        Ok(())
    }
}

fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
