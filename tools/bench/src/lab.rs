//! The runtime alone, in this process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Live};
use marquee_runtime::{
    Body, Call, CallError, Limits, Lineup, Outbound, Prepared, Runtime, Spec, Transactor,
};
use wasmtime::component::Val;
use wasmtime_wasi_http::WasiHttpHooks;

/// A runtime without host, bus and database.
pub(crate) struct Lab {
    runtime: Runtime,
}

impl Lab {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let lineup = Lineup {
            capabilities: Vec::new(),
            transactor: Arc::new(Nothing),
            outbound: Arc::new(Nothing),
        };
        let runtime =
            Runtime::new(lineup, memory()).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok(Self { runtime })
    }

    /// A component in the text format, ready.
    pub(crate) async fn prepared(
        &self,
        name: &str,
        dependencies: BTreeMap<String, ComponentId>,
        text: &str,
    ) -> anyhow::Result<Prepared> {
        let bytes = wat::parse_str(text)?;
        self.prepared_bytes(name, dependencies, &bytes, Limits::default())
            .await
    }

    /// A component, ready.
    pub(crate) async fn prepared_bytes(
        &self,
        name: &str,
        dependencies: BTreeMap<String, ComponentId>,
        bytes: &[u8],
        limits: Limits,
    ) -> anyhow::Result<Prepared> {
        let artifact = marquee_runtime::compile(bytes, memory())
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let spec = Spec {
            id: id(name)?,
            dependencies,
            transactional: BTreeSet::new(),
            entry_points: BTreeMap::new(),
            environment: Vec::new(),
            limits,
        };
        let digest = Digest::of(bytes);
        Ok(self.runtime.prepare(spec, digest, artifact).await?)
    }

    /// The same, live.
    pub(crate) async fn live(
        &self,
        name: &str,
        dependencies: BTreeMap<String, ComponentId>,
        text: &str,
    ) -> anyhow::Result<()> {
        let prepared = self.prepared(name, dependencies, text).await?;
        self.set_live(name, prepared)
    }

    pub(crate) fn set_live(&self, name: &str, version: Prepared) -> anyhow::Result<()> {
        let live = Live::only(version.version(), version);
        self.runtime.set_live(id(name)?, live);
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

/// No component here has a database or sends requests.
struct Nothing;

#[async_trait]
impl Transactor for Nothing {
    async fn run(&self, _: &ComponentId, call: Call, body: Body) -> Result<Val, CallError> {
        body(call).await
    }
}

impl Outbound for Nothing {
    fn hooks(&self, _: &ComponentId, _: &Call) -> Box<dyn WasiHttpHooks> {
        Box::new(Nothing)
    }
}

impl WasiHttpHooks for Nothing {}

pub(crate) fn id(name: &str) -> anyhow::Result<ComponentId> {
    Ok(name.parse()?)
}

pub(crate) fn memory() -> usize {
    Limits::default().memory_bytes
}
