//! The store: the bytes of versions in a folder, with what was compiled of them.
//!
//! ```text
//! versions/
//!   key                            the secret that artifacts are signed with; mode 0600
//!   DIGEST/component.wasm          the bytes; the folder's name is their SHA-256
//!   DIGEST/metadata.json           of which components it is a version, since when, by whom
//!   DIGEST/signature               who vouches for them, where somebody does
//!   DIGEST/KEY.artifact            what was compiled of them by the engine KEY, behind its signature
//! ```
//!
//! Promise: a version is there whole or not at all, whenever the host or the machine stops; bytes are what their name
//! says; an artifact is returned only if this store signed it for this version and engine, since to load one is to
//! execute it. Storing the same bytes twice is one version. Bound: [`Store::collect`] keeps a number of versions.
//! Not here: which version is live, compiling.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use marquee_manifest::ComponentId;
use sha2::{Digest as _, Sha256};

use crate::{
    Digest, Metadata,
    files::{create, io_error, read, replace, sync, write},
};

/// A folder of versions.
#[derive(Clone)]
pub struct Store {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
}

/// A version in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub digest: Digest,
    /// What is known of it.
    pub metadata: Metadata,
}

/// What became of old versions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Those that went.
    pub gone: Vec<Digest>,
    /// Those that are not among the newest and stay because they are needed.
    pub needed: Vec<Digest>,
}

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system says no.
    #[error("{} cannot be {what}", path.display())]
    Io {
        /// What was to be done: "read", "written".
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The bytes broke off, or were more than they may be.
    #[error("the version did not arrive")]
    Arrival(#[source] io::Error),
    /// There is no such version.
    #[error("version {0} is not in the store")]
    Missing(Digest),
    /// The bytes under a version's name are others.
    #[error(
        "what is stored as version {0} are other bytes: somebody changed them, or the disk did; deploy it again"
    )]
    Changed(Digest),
    /// An artifact is there that this store did not sign.
    #[error(
        "the compiled code of version {0} was not made by this host, and is not run; remove it and it is compiled anew"
    )]
    Foreign(Digest),
    /// A file of the store's does not say what it should.
    #[error("{} cannot be understood; put it right, or remove it and the manifest's versions are live", path.display())]
    Book {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A release too far ahead wrote it.
    #[error(
        "{} is of format {format}, and this release reads formats up to {}: start the release that wrote it or the one \
         before that, or remove the file and the manifest's versions are live",
        path.display(), crate::book::FORMAT + 1
    )]
    TooNew {
        /// Which.
        path: PathBuf,
        /// The number that it has.
        format: u64,
    },
    /// Another process changes what is live.
    #[error("{} is another host's on this machine: only that one changes what is live; give this one a --data of its own", .0.display())]
    Elsewhere(PathBuf),
}

impl Store {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Open the store in this folder; it is made where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        let at = |what| io_error(what, &folder);
        fs::create_dir_all(&folder).map_err(at("made"))?;
        // What an earlier process began and did not finish.
        for entry in fs::read_dir(&folder).map_err(at("read"))? {
            let entry = entry.map_err(at("read"))?;
            let begun = entry.file_name().to_string_lossy().starts_with(BEGUN);
            let age = entry.metadata().and_then(|metadata| metadata.modified());
            if begun && age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED)) {
                fs::remove_dir_all(entry.path())
                    .or_else(|_| fs::remove_file(entry.path()))
                    .map_err(at("cleaned"))?;
            }
        }
        let key = key(&folder)?;
        Ok(Self { folder, key })
    }

    /// Store a version of a component: all that `bytes` yields, of which a piece at a time is in memory. Bytes that are
    /// there already are the same version, and the newest from now on.
    pub fn put(
        &self,
        bytes: impl io::Read,
        component: &ComponentId,
        by: &str,
    ) -> Result<Digest, StoreError> {
        let new = tempfile::Builder::new()
            .prefix(BEGUN)
            .tempdir_in(&self.folder);
        let new = new.map_err(io_error("written", &self.folder))?;
        let arrived = new.path().join(COMPONENT);
        let (digest, size_bytes) = arrive(bytes, &arrived)?;
        let place = self.place(&digest);
        let path = place.join(COMPONENT);

        if self.bytes(&digest).is_ok() {
            self.touch(&digest)?;
        } else {
            let durable = fs::File::open(&arrived).and_then(|file| file.sync_all());
            durable.map_err(io_error("written", &arrived))?;
            if place.exists() {
                // Its bytes were damaged: only they are replaced, what was compiled of the right ones is right.
                fs::rename(&arrived, &path).map_err(io_error("written", &path))?;
            } else {
                Metadata::new(size_bytes, by, component).write(new.path())?;
                match fs::rename(new.path(), &place) {
                    // It has its new name: there is nothing left to clean.
                    Ok(()) => drop(new.keep()),
                    // Another process may have stored it just now.
                    Err(_) if path.exists() => {}
                    Err(error) => return Err(io_error("written", &place)(error)),
                }
            }
            sync(&place)?;
            sync(&self.folder)?;
        }

        let known = Metadata::read(&place);
        let is_lost = known.is_none();
        let mut metadata = known.unwrap_or_else(|| Metadata::new(size_bytes, by, component));
        if metadata.components.insert(component.clone()) || is_lost {
            metadata.write(&place)?;
        }
        Ok(digest)
    }

    /// Whether a version of the component is there, whole: to store it once more would change nothing.
    pub fn has(&self, digest: &Digest, component: &ComponentId) -> bool {
        let known = Metadata::read(&self.place(digest));
        known.is_some_and(|known| known.components.contains(component))
            && self.bytes(digest).is_ok()
    }

    /// Make a version the newest: of those that nobody needs, the oldest go first.
    pub fn touch(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.place(digest).join(COMPONENT);
        let file = fs::File::open(&path);
        let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
        touched.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(*digest),
            _ => io_error("written", &path)(error),
        })
    }

    /// A version has passed every check.
    pub fn mark_ready(&self, digest: &Digest) -> Result<(), StoreError> {
        let place = self.place(digest);
        match Metadata::read(&place) {
            Some(metadata) if !metadata.was_ready => Metadata {
                was_ready: true,
                ..metadata
            }
            .write(&place),
            _ => Ok(()),
        }
    }

    /// The bytes of a version.
    pub fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.place(digest).join(COMPONENT);
        let bytes = read(&path)?.ok_or(StoreError::Missing(*digest))?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(StoreError::Changed(*digest))
        }
    }

    /// Keep a signature of a version.
    pub fn put_signature(&self, digest: &Digest, signature: &[u8]) -> Result<(), StoreError> {
        let place = self.place(digest);
        if !place.exists() {
            return Err(StoreError::Missing(*digest));
        }
        replace(&place.join(SIGNATURE), signature)
    }

    /// The signature of a version, if it has one.
    pub fn signature(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.place(digest).join(SIGNATURE))
    }

    /// Keep what was compiled of a version by the engine of this key.
    pub fn put_artifact(
        &self,
        digest: &Digest,
        engine: &str,
        artifact: &[u8],
    ) -> Result<(), StoreError> {
        let place = self.place(digest);
        if !place.exists() {
            return Err(StoreError::Missing(*digest));
        }
        let path = place.join(artifact_name(engine));
        let mut signed = self
            .sign(digest, engine, artifact)
            .finalize()
            .into_bytes()
            .to_vec();
        signed.extend_from_slice(artifact);
        replace(&path, &signed)
    }

    /// What was compiled of a version by the engine of this key, if anything was.
    pub fn artifact(&self, digest: &Digest, engine: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.place(digest).join(artifact_name(engine));
        let Some(mut signed) = read(&path)? else {
            return Ok(None);
        };
        if signed.len() < SIGNATURE_BYTES {
            return Err(StoreError::Foreign(*digest));
        }
        let signature: Vec<u8> = signed.drain(..SIGNATURE_BYTES).collect();
        self.sign(digest, engine, &signed)
            .verify_slice(&signature)
            .map_err(|_| StoreError::Foreign(*digest))?;
        Ok(Some(signed))
    }

    /// Forget what was compiled of a version.
    pub fn remove_artifact(&self, digest: &Digest, engine: &str) -> Result<(), StoreError> {
        let path = self.place(digest).join(artifact_name(engine));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("removed", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The versions of a component, the newest first.
    pub fn versions(&self, component: &ComponentId) -> Result<Vec<Entry>, StoreError> {
        let all = self.newest()?.into_iter();
        let known = all.filter_map(|digest| {
            let metadata = Metadata::read(&self.place(&digest))?;
            Some(Entry { digest, metadata })
        });
        Ok(known
            .filter(|entry| entry.metadata.components.contains(component))
            .collect())
    }

    /// Remove all but the newest `keep` versions and those that are `needed`.
    pub fn collect<N>(
        &self,
        keep: usize,
        needed: &BTreeMap<Digest, N>,
    ) -> Result<Collection, StoreError> {
        let mut collection = Collection::default();
        for digest in self.newest()?.into_iter().skip(keep) {
            if needed.contains_key(&digest) {
                collection.needed.push(digest);
                continue;
            }
            let place = self.place(&digest);
            // Away from its name at once, so that nobody meets half of it.
            let going = tempfile::Builder::new()
                .prefix(BEGUN)
                .tempdir_in(&self.folder);
            let going = going.map_err(io_error("written", &self.folder))?;
            fs::rename(&place, going.path().join("version"))
                .map_err(io_error("removed", &place))?;
            collection.gone.push(digest);
        }
        Ok(collection)
    }

    /// All versions, the newest first.
    fn newest(&self) -> Result<Vec<Digest>, StoreError> {
        let at = |what| io_error(what, &self.folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(at("read"))? {
            let entry = entry.map_err(at("read"))?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|name| name.parse::<Digest>().ok()) else {
                continue;
            };
            // Another process may be removing it.
            let Ok(metadata) = fs::metadata(entry.path().join(COMPONENT)) else {
                continue;
            };
            found.push((
                std::cmp::Reverse(metadata.modified().map_err(at("read"))?),
                digest,
            ));
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, digest)| digest).collect())
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest:#}"))
    }

    /// Over the version and the engine too, so that an artifact cannot pass for another's.
    fn sign(&self, digest: &Digest, engine: &str, artifact: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(digest.as_bytes());
        mac.update(Digest::of(engine.as_bytes()).as_bytes());
        mac.update(artifact);
        mac
    }
}

/// Write what arrives; not durable yet. Its digest, and its size in bytes.
fn arrive(mut bytes: impl io::Read, path: &Path) -> Result<(Digest, u64), StoreError> {
    let mut file = create(path).map_err(io_error("written", path))?;
    let (mut hash, mut size_bytes) = (Sha256::default(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match bytes.read(&mut piece) {
            Ok(0) => return Ok((Digest::ended(hash), size_bytes)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::Arrival(error)),
        };
        let piece = piece.get(..count).unwrap_or_default();
        hash.update(piece);
        file.write_all(piece).map_err(io_error("written", path))?;
        size_bytes += piece.len() as u64;
    }
}

/// The store's secret, made where it is missing. Of two processes that make it, the first decides.
fn key(folder: &Path) -> Result<[u8; KEY_BYTES], StoreError> {
    let path = folder.join("key");
    if !path.exists() {
        let new = tempfile::NamedTempFile::new_in(folder).map_err(io_error("written", folder))?;
        write(new.path(), &rand::random::<[u8; KEY_BYTES]>())?;
        if let Err(error) = new.persist_noclobber(&path)
            && error.error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(io_error("written", &path)(error.error));
        }
        sync(folder)?;
    }
    let key = read(&path)?.unwrap_or_default();
    key.try_into().map_err(|_| {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            "it has not the length of a key; remove it, and everything is compiled anew",
        );
        io_error("used", &path)(source)
    })
}

fn artifact_name(engine: &str) -> String {
    format!("{engine}.artifact")
}

/// The block of SHA-256: such a key is used as it is.
const KEY_BYTES: usize = 64;
const SIGNATURE_BYTES: usize = 32;
/// Of what arrives, in memory at once.
const PIECE_BYTES: usize = 64 * 1024;
const COMPONENT: &str = "component.wasm";
const SIGNATURE: &str = "signature";
/// What a process writes before it gets its name.
const BEGUN: &str = ".tmp";
/// Nobody writes for so long.
const ABANDONED: std::time::Duration = std::time::Duration::from_secs(3_600);

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
