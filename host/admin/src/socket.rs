//! Sockets in the file system: that of the admin API, a file in the data folder that only its owner can use; and others.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use marquee_triggers::server::Listener;
use tokio::net::UnixListener;

/// The socket of the host that uses a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

/// Listen on a socket of any path, for whoever may enter its folder. What is there of a host that is gone makes room.
pub fn open(path: &Path) -> anyhow::Result<Listener> {
    let failed = || format!("cannot listen on {}", path.display());
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("{}: somebody else listens there", failed());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).with_context(failed)?;
    Ok(Listener::unix(listener))
}

/// Listen on it. To be called by the one host that owns the data folder: what is there is a dead one's.
pub fn bind(data: &Path) -> anyhow::Result<Listener> {
    let path = path(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| {
        format!(
            "cannot listen on {}; its path may be too long for a socket, choose a shorter --data",
            path.display()
        )
    })?;
    // Between the two calls another user may connect; the owner of each connection is looked at.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("{} cannot be kept from others", path.display()))?;
    Ok(Listener::unix(listener))
}
