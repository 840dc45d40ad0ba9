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

/// The same on a full disk: the bytes go into `spare`, which has its place on the disk already, and that one takes the
/// name. What it is longer is blank lines.
pub(crate) fn replace_by(spare: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let at = io_error("written", spare);
    let mut file = fs::File::options().write(true).open(spare).map_err(&at)?;
    let length = file.metadata().map_err(&at)?.len();
    let blank = length.checked_sub(bytes.len() as u64);
    let blank = blank.ok_or_else(|| at(io::ErrorKind::StorageFull.into()))?;
    let written = file
        .write_all(bytes)
        .and_then(|()| io::copy(&mut io::repeat(b'\n').take(blank), &mut file))
        .and_then(|_| file.sync_all());
    written.map_err(&at)?;
    fs::rename(spare, path).map_err(io_error("written", path))?;
    sync(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Have a spare file for so many bytes.
pub(crate) fn reserve(spare: &Path, bytes: usize) -> Result<(), StoreError> {
    let known = fs::metadata(spare).map_or(0, |metadata| metadata.len());
    if known >= bytes as u64 {
        return Ok(());
    }
    replace(spare, &vec![b'\n'; bytes.next_multiple_of(BLOCK)])
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

/// Of a file system.
const BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_takes_the_place_of_a_spare_file_needs_nothing_new_on_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, spare) = (folder.path().join("it"), folder.path().join("spare"));
        replace(&path, b"before\n").expect("written");
        let none = replace_by(&spare, &path, b"after\n");
        assert!(none.is_err(), "there is no spare file");
        reserve(&spare, 7).expect("reserved");
        let reserved = fs::metadata(&spare).expect("it is there");
        assert!(reserved.blocks() > 0);
        let large = replace_by(&spare, &path, &[b'x'; BLOCK + 1]);
        assert!(large.is_err(), "it would have to grow");
        assert_eq!(read(&path).expect("read").expect("there"), b"before\n");

        replace_by(&spare, &path, b"after\n").expect("replaced");
        let bytes = read(&path).expect("read").expect("there");
        assert_eq!(bytes.trim_ascii_end(), b"after");
        let now = fs::metadata(&path).expect("it is there");
        assert_eq!(
            (now.ino(), now.blocks(), now.len()),
            (reserved.ino(), reserved.blocks(), reserved.len())
        );
        assert!(!spare.exists());
    }
}
