//! The runtime alone, in this process.

use std::collections::{BTreeMap, BTreeSet};

use marquee_manifest::{ComponentId, Dependencies};
use marquee_registry::{Digest, Live};
use marquee_runtime::{Beside, Call, Health, Limits, Lineup, Prepared, Room, Runtime, Spec};

/// A runtime without host, bus and database.
pub(crate) struct Lab {
    runtime: Runtime,
}

impl Lab {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let memory = Limits::default().memory_bytes;
        let runtime = Runtime::new(Lineup::nothing(), memory, Room::default())
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok(Self { runtime })
    }

    /// A component in the text format, ready.
    pub(crate) async fn prepared(
        &self,
        name: &str,
        dependencies: Dependencies,
        text: &str,
    ) -> anyhow::Result<Prepared> {
        let bytes = wat::parse_str(text)?;
        let artifact =
            marquee_runtime::compile(&bytes).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let spec = Spec {
            id: id(name)?,
            dependencies,
            transactional: BTreeSet::new(),
            entry_points: BTreeMap::new(),
            environment: Vec::new(),
            limits: Limits::default(),
        };
        let digest = Digest::of(&bytes);
        Ok(self
            .runtime
            .prepare(spec, digest, artifact, Health::Asked, &Beside::default())
            .await?)
    }

    /// The same, live.
    pub(crate) async fn live(
        &self,
        name: &str,
        dependencies: Dependencies,
        text: &str,
    ) -> anyhow::Result<()> {
        let prepared = self.prepared(name, dependencies, text).await?;
        self.set_live(name, prepared)
    }

    pub(crate) fn set_live(&self, name: &str, version: Prepared) -> anyhow::Result<()> {
        let live = Live::only(version.version(), version);
        self.runtime.set_live(vec![(id(name)?, live)]);
        Ok(())
    }

    /// Run its job; it must succeed.
    pub(crate) async fn call(&self, component: &str, job: &str) -> anyhow::Result<()> {
        let component = id(component)?;
        let deadline = self.runtime.deadline(&component)?;
        let call = Call::new("bench", deadline);
        let answer = self
            .runtime
            .run_job(&component, job.to_owned(), 0, call)
            .await?;
        answer.map_err(anyhow::Error::msg)
    }
}

pub(crate) fn id(name: &str) -> anyhow::Result<ComponentId> {
    Ok(name.parse()?)
}
