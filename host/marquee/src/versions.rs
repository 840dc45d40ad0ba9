//! Versions of components on this machine: from the bytes of one to what the runtime can load.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::Context as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Entry, Store, StoreError};
use marquee_runtime::{Artifact, Runtime};
use tokio::sync::Semaphore;

use crate::compiler::{self, Meanwhile};

/// The store, and the engine that it is for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Versions(Arc<Inner>);

struct Inner {
    store: Store,
    engine: String,
    memory_bytes: usize,
    /// How many are kept that nobody needs.
    kept: usize,
    /// One at a time: it takes memory, and all CPUs but one or all of them.
    compiling: Semaphore,
}

impl Versions {
    /// Those under the data folder, for a runtime whose largest linear memory is `memory_bytes`. Of those that nobody
    /// needs the newest `kept` stay.
    pub(crate) fn open(
        data: &Path,
        runtime: &Runtime,
        memory_bytes: usize,
        kept: usize,
    ) -> anyhow::Result<Self> {
        let store =
            Store::open(data.join("versions")).context("the store of versions is not usable")?;
        Ok(Self(Arc::new(Inner {
            store,
            engine: runtime.engine_key().to_owned(),
            memory_bytes,
            kept,
            compiling: Semaphore::new(1),
        })))
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        self.0.store.folder()
    }

    /// Those of a component, the newest first.
    pub(crate) async fn of(&self, component: &ComponentId) -> anyhow::Result<Vec<Entry>> {
        let component = component.clone();
        Ok(self
            .blocking(move |inner| inner.store.versions(&component))
            .await??)
    }

    /// The bytes of one.
    pub(crate) async fn bytes(&self, digest: Digest) -> anyhow::Result<Vec<u8>> {
        Ok(self
            .blocking(move |inner| inner.store.bytes(&digest))
            .await??)
    }

    /// Store a version of a component: all that `bytes` yields.
    pub(crate) async fn put(
        &self,
        bytes: impl std::io::Read + Send + 'static,
        component: &ComponentId,
        by: &str,
    ) -> anyhow::Result<Digest> {
        let (component, by) = (component.clone(), by.to_owned());
        Ok(self
            .blocking(move |inner| inner.store.put(bytes, &component, &by))
            .await??)
    }

    /// What was compiled of a stored version; it is now, if it was not before.
    pub(crate) async fn compiled(
        &self,
        digest: Digest,
        meanwhile: Meanwhile,
    ) -> anyhow::Result<Artifact> {
        if let Some(artifact) = self.blocking(move |inner| inner.artifact(digest)).await?? {
            return Ok(artifact);
        }
        let _turn = self.0.compiling.acquire().await;
        let bytes = self.bytes(digest).await?;
        let artifact = compiler::compile(&bytes, self.0.memory_bytes, meanwhile)
            .await
            .context("it cannot be compiled")?;
        self.blocking(move |inner| {
            inner
                .store
                .put_artifact(&digest, &inner.engine, artifact.bytes())?;
            Ok(artifact)
        })
        .await?
    }

    /// A version is wanted that is in memory: it is the newest from now on.
    pub(crate) async fn touch(&self, digest: Digest) -> anyhow::Result<()> {
        Ok(self
            .blocking(move |inner| inner.store.touch(&digest))
            .await??)
    }

    /// A version has passed every check.
    pub(crate) async fn mark_ready(&self, digest: Digest) -> anyhow::Result<()> {
        Ok(self
            .blocking(move |inner| inner.store.mark_ready(&digest))
            .await??)
    }

    /// Remove old versions, but none of these.
    pub(crate) async fn collect(&self, needed: BTreeSet<Digest>) -> anyhow::Result<()> {
        let gone = self
            .blocking(move |inner| inner.store.collect(inner.kept, &needed))
            .await??;
        for digest in gone {
            tracing::debug!(version = %digest, "an old version was removed from the store");
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .context("the store of versions failed")
    }
}

impl Inner {
    /// What was compiled of a version that is wanted now.
    fn artifact(&self, digest: Digest) -> anyhow::Result<Option<Artifact>> {
        self.store.touch(&digest)?;
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
