//! A runtime with one component, without database or bus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Live};
use marquee_runtime::{
    Body, Call, CallError, JOB, Limits, Lineup, Outbound, Runtime, Spec, Transactor,
};
use wasmtime::component::Val;
use wasmtime_wasi_http::WasiHttpHooks;

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

/// A component that is live in a runtime of its own.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) component: ComponentId,
}

impl Bench {
    /// The test component `misbehave`.
    pub(crate) async fn new(limits: Limits) -> Self {
        let memory = limits.memory_bytes;
        let lineup = Lineup {
            capabilities: Vec::new(),
            transactor: Arc::new(Nothing),
            outbound: Arc::new(Nothing),
        };
        let runtime = Runtime::new(lineup, memory).expect("a runtime");
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/wasm32-wasip2/guest/misbehave.wasm"
        );
        let bytes = std::fs::read(path).expect("run scripts/components --tests");
        let component: ComponentId = "misbehave".parse().expect("a plain name");
        let spec = Spec {
            id: component.clone(),
            dependencies: BTreeMap::new(),
            transactional: BTreeSet::new(),
            entry_points: BTreeMap::from([(JOB.to_owned(), "its schedules".to_owned())]),
            environment: Vec::new(),
            limits,
        };
        let digest = Digest::of(&bytes);
        let artifact = marquee_runtime::compile(&bytes, memory).expect("compiled");
        let prepared = runtime
            .prepare(spec, digest, artifact)
            .await
            .expect("prepared");
        runtime.set_live(component.clone(), Live::only(digest, prepared));
        Self { runtime, component }
    }

    /// Have it do something.
    pub(crate) async fn run(&self, what: &str) -> Result<Result<(), String>, CallError> {
        let deadline = Instant::now() + Duration::from_secs(20);
        self.run_until(what, deadline).await
    }

    /// Have it do something, until then.
    pub(crate) async fn run_until(
        &self,
        what: &str,
        deadline: Instant,
    ) -> Result<Result<(), String>, CallError> {
        let call = Call::new("test", deadline);
        self.runtime
            .run_job(&self.component, what.to_owned(), 0, call)
            .await
    }

    /// How many calls the instance has had that answers this one.
    pub(crate) async fn count(&self) -> u64 {
        let answer = self.run("count").await.expect("a call");
        answer.expect_err("a number").parse().expect("a number")
    }
}
