//! Files that are whole or not there, whenever the process or the machine stops.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::StoreError;

/// What is in a file, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Put these bytes in the place of what is there: after a crash it is the one or the other, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let new = tempfile::NamedTempFile::new_in(folder).map_err(io_error("written", folder))?;
    write(new.path(), bytes)?;
    new.persist(path)
        .map_err(|error| io_error("written", path)(error.error))?;
    sync(folder)
}

/// Durable when it returns, but for its name.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let written = create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(io_error("written", path))
}

/// An empty file that is the user's alone.
pub(crate) fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

/// Make the names in a folder durable.
pub(crate) fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_error("written", folder))
}

pub(crate) fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}
