//! Versions of components on this machine: from the bytes of one to what the runtime can load.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Instant};

use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Entry, Need, Store, StoreError};
use marquee_runtime::{Artifact, Health, Runtime};
use tokio::sync::Semaphore;

use crate::{
    Error, Signature, Trust,
    compiler::{self, Meanwhile},
    telemetry::Compiling,
};

/// A version as hosts give it to each other.
pub(crate) struct Stored {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Who brought it.
    pub(crate) by: String,
    /// Who vouches for it.
    pub(crate) signature: Option<Signature>,
}

/// The store, and the engine that it is for. Cheap to clone.
#[derive(Clone)]
pub struct Versions(Arc<Inner>);

struct Inner {
    store: Store,
    engine: String,
    /// How many are kept that nobody needs.
    kept: usize,
    trust: Trust,
    /// One at a time: it takes memory, and all CPUs but one or all of them.
    compiling: Semaphore,
    tally: Compiling,
}

impl Versions {
    /// Those under the data folder, for this runtime. Of those that nobody needs the newest `kept` stay.
    pub fn open(
        data: &Path,
        runtime: &Runtime,
        kept: usize,
        trust: Trust,
    ) -> Result<Self, StoreError> {
        let store = Store::open(data.join("versions"))?;
        Ok(Self(Arc::new(Inner {
            store,
            engine: runtime.engine_key().to_owned(),
            kept,
            trust,
            compiling: Semaphore::new(1),
            tally: Compiling::default(),
        })))
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.0.store.folder()
    }

    /// What is counted of compiling.
    pub(crate) fn compiling(&self) -> &Compiling {
        &self.0.tally
    }

    /// Those of a component, the newest first.
    pub async fn of(&self, component: &ComponentId) -> Result<Vec<Entry>, Error> {
        let component = component.clone();
        Ok(self
            .blocking(move |inner| inner.store.versions(&component))
            .await??)
    }

    /// The bytes of one.
    pub async fn bytes(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        Ok(self
            .blocking(move |inner| inner.store.bytes(&digest))
            .await??)
    }

    /// Whether one is there, whole.
    pub async fn has(&self, component: &ComponentId, digest: Digest) -> Result<bool, Error> {
        let component = component.clone();
        self.blocking(move |inner| inner.store.has(&digest, &component))
            .await
    }

    /// A version of a component, to be given to others; None if it is not there.
    pub(crate) async fn stored(
        &self,
        component: &ComponentId,
        digest: Digest,
    ) -> Result<Option<Stored>, Error> {
        let entries = self.of(component).await?;
        let Some(entry) = entries.into_iter().find(|entry| entry.digest == digest) else {
            return Ok(None);
        };
        let signature = self.signature(digest).await?;
        Ok(Some(Stored {
            bytes: self.bytes(digest).await?,
            by: entry.metadata.by,
            signature,
        }))
    }

    /// Who vouches for one.
    pub(crate) async fn signature(&self, digest: Digest) -> Result<Option<Signature>, Error> {
        let kept = self.blocking(move |inner| inner.store.signature(&digest));
        Ok(kept.await??.as_deref().and_then(Signature::of))
    }

    /// Keep who vouches for one, if somebody does.
    pub async fn sign(&self, digest: Digest, signature: Option<Signature>) -> Result<(), Error> {
        let Some(signature) = signature else {
            return Ok(());
        };
        let kept = move |inner: &Inner| inner.store.put_signature(&digest, signature.as_bytes());
        Ok(self.blocking(kept).await??)
    }

    /// Refuse one that is not trusted.
    async fn check(&self, digest: Digest) -> Result<(), Error> {
        if !self.0.trust.looks() {
            return Ok(());
        }
        let signature = self.signature(digest).await?;
        let bytes = self.bytes(digest).await?;
        Ok(self.0.trust.check(&bytes, signature.as_ref())?)
    }

    /// Whether one that is here may be loaded, as far as it matters who vouches for it.
    pub(crate) async fn is_trusted(&self, digest: Digest) -> Result<bool, Error> {
        match self.check(digest).await {
            Err(Error::Unsigned(_)) => Ok(false),
            checked => checked.map(|()| true),
        }
    }

    /// How many are kept that nobody needs.
    pub fn kept(&self) -> usize {
        self.0.kept
    }

    /// Store a version of a component: all that `bytes` yields.
    pub async fn put(
        &self,
        bytes: impl std::io::Read + Send + 'static,
        component: &ComponentId,
        by: &str,
    ) -> Result<Digest, Error> {
        let (component, by) = (component.clone(), by.to_owned());
        Ok(self
            .blocking(move |inner| inner.store.put(bytes, &component, &by))
            .await??)
    }

    /// Store the version of a component that its manifest names. Where it is there already nothing is written: a host
    /// starts on a full disk.
    pub async fn keep(&self, bytes: Vec<u8>, component: &ComponentId) -> Result<Digest, Error> {
        let component = component.clone();
        Ok(self
            .blocking(move |inner| {
                let digest = Digest::of(&bytes);
                if inner.store.has(&digest, &component) {
                    return Ok(digest);
                }
                inner.store.put(&*bytes, &component, "manifest")
            })
            .await??)
    }

    /// What was compiled of a stored version that is trusted; it is now, if it was not before.
    pub(crate) async fn compiled(
        &self,
        digest: Digest,
        meanwhile: Meanwhile,
        health: Health,
    ) -> Result<Artifact, Error> {
        self.check(digest).await?;
        self.want(digest, health).await?;
        let known = move |inner: &Inner| inner.artifact(digest);
        if let Some(artifact) = self.blocking(known).await?? {
            return Ok(artifact);
        }
        let _turn = self.0.compiling.acquire().await;
        // Another step may have had its turn for the same one.
        if let Some(artifact) = self.blocking(known).await?? {
            return Ok(artifact);
        }
        let bytes = self.bytes(digest).await?;
        let begun = Instant::now();
        let artifact = compiler::compile(&bytes, meanwhile).await;
        self.0.tally.ended(begun.elapsed(), artifact.is_ok());
        let artifact = artifact?;
        self.blocking(move |inner| {
            let bytes = artifact.bytes();
            if let Err(error) = inner.store.put_artifact(&digest, &inner.engine, bytes) {
                // It is there, and runs; the next one compiles it once more.
                let error = marquee_runtime::chain(&error);
                tracing::warn!(version = %digest, error, "what was compiled of a version cannot be kept");
            }
            artifact
        })
        .await
    }

    /// A version is wanted, of which the code may be all that is needed: it is the newest from now on. One whose bytes are
    /// gone is refused, unless it is forced: the next start could not load it.
    pub async fn want(&self, digest: Digest, health: Health) -> Result<(), Error> {
        let touched = self
            .blocking(move |inner| inner.store.touch(&digest))
            .await?;
        match touched {
            Err(error @ StoreError::Missing(_)) if health == Health::Asked => Err(error.into()),
            Err(error) => {
                let error = marquee_runtime::chain(&error);
                tracing::warn!(version = %digest, error, "a version is wanted whose file cannot be had");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A version has passed every check.
    pub async fn mark_ready(&self, digest: Digest) -> Result<(), Error> {
        Ok(self
            .blocking(move |inner| inner.store.mark_ready(&digest))
            .await??)
    }

    /// Remove old versions, but none of these, and say what stays though it is old.
    pub async fn collect(&self, needed: BTreeMap<Digest, Need>) -> Result<(), Error> {
        self.blocking(move |inner| {
            let collection = inner.store.collect(inner.kept, &needed)?;
            let labelled = collection.needed.iter();
            let labelled = labelled.filter(|digest| needed.get(digest) == Some(&Need::Label));
            let (labelled, removed) = (labelled.count(), collection.gone.len());
            if removed > 0 || labelled > 0 {
                tracing::info!(
                    removed,
                    kept_for_labels = labelled,
                    kept_live = collection.needed.len() - labelled,
                    kept_newest = inner.kept,
                    "old versions were collected"
                );
            }
            Ok(())
        })
        .await?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.0);
        Ok(tokio::task::spawn_blocking(move || work(&inner)).await?)
    }
}

impl Inner {
    /// What was compiled of a version that is wanted now.
    fn artifact(&self, digest: Digest) -> Result<Option<Artifact>, Error> {
        match self.store.artifact(&digest, &self.engine) {
            Ok(artifact) => Ok(artifact.map(Artifact::vouched_for)),
            Err(error @ StoreError::Foreign(_)) => {
                // Not run, and not silently: somebody can write where only this host should.
                tracing::error!(version = %digest, %error, "foreign code in the store was refused; compiling it again");
                self.store.remove_artifact(&digest, &self.engine)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
