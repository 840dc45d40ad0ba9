//! A runtime with one component, without database or bus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use marquee_manifest::{ComponentId, Dependencies};
use marquee_registry::{Digest, Live};
use marquee_runtime::{
    Beside, Cache, Call, CallError, Capability, Figures, Grant, Health, JOB, Limits, Lineup,
    LoadError, Prepared, Room, Runtime, Spec, State, View,
};
use marquee_telemetry::{Format, Readings};
use tokio::sync::Semaphore;
use wasmtime::component::Linker;

/// A capability that nobody was granted.
struct Refused;

impl Capability for Refused {
    fn interfaces(&self) -> &'static [&'static str] {
        &["test:refused/it"]
    }

    fn grant(&self, _: &ComponentId) -> Result<Grant, String> {
        Err("nobody may have it".to_owned())
    }

    fn link(&self, _: &mut Linker<State>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn view(&self, _: &Grant, _: &Call) -> View {
        Box::new(())
    }
}

/// A host function with a bug.
struct Buggy;

impl Capability for Buggy {
    fn interfaces(&self) -> &'static [&'static str] {
        &["test:buggy/it"]
    }

    fn grant(&self, _: &ComponentId) -> Result<Grant, String> {
        Ok(Arc::new(()))
    }

    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        let mut it = linker.instance("test:buggy/it")?;
        #[expect(clippy::panic, reason = "a bug of the host's is what is tried")]
        it.func_wrap("panic", |_, ()| -> wasmtime::Result<()> {
            panic!("a bug of the host's")
        })
    }

    fn view(&self, _: &Grant, _: &Call) -> View {
        Box::new(())
    }
}

/// Notes which threads ask: `true` for one of those that stand behind others.
#[derive(Clone, Default)]
struct Where(Arc<Mutex<Vec<bool>>>);

impl Capability for Where {
    fn interfaces(&self) -> &'static [&'static str] {
        &["test:where/it"]
    }

    fn grant(&self, _: &ComponentId) -> Result<Grant, String> {
        Ok(Arc::new(()))
    }

    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        let noted = Arc::clone(&self.0);
        let mut it = linker.instance("test:where/it")?;
        it.func_wrap("here", move |_, ()| {
            let is_slow = std::thread::current().name() == Some("marquee-slow");
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push(is_slow);
            Ok(())
        })
    }

    fn view(&self, _: &Grant, _: &Call) -> View {
        Box::new(())
    }
}

/// Two host functions, `pass` and `last`, that keep their caller's whole store waiting until each is opened.
pub(crate) struct Gate(pub(crate) [Arc<Semaphore>; 2]);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self([0, 0].map(|open| Arc::new(Semaphore::new(open))))
    }
}

impl Capability for Gate {
    fn interfaces(&self) -> &'static [&'static str] {
        &["test:gate/it"]
    }

    fn grant(&self, _: &ComponentId) -> Result<Grant, String> {
        Ok(Arc::new(()))
    }

    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        let mut it = linker.instance("test:gate/it")?;
        for (name, gate) in ["pass", "last"].into_iter().zip(&self.0) {
            let gate = Arc::clone(gate);
            it.func_wrap_async(name, move |_, ()| {
                let gate = Arc::clone(&gate);
                Box::new(async move {
                    gate.acquire().await?.forget();
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    fn view(&self, _: &Grant, _: &Call) -> View {
        Box::new(())
    }
}

/// A runtime of its own.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) cache: Arc<Cache>,
    asked: Where,
    limits: Limits,
}

/// The name of the component under test.
pub(crate) const IT: &str = "it";

impl Bench {
    /// Without components.
    pub(crate) fn empty(limits: Limits) -> Self {
        Self::with_room(limits, Room::default())
    }

    /// The same with so much room for instances.
    pub(crate) fn with_room(limits: Limits, room: Room) -> Self {
        Self::with(limits, room, Arc::default(), None)
    }

    /// With something of the host's beside the rest.
    pub(crate) fn giving(capability: Arc<dyn Capability>) -> Self {
        let limits = Limits::default();
        Self::with(limits, Room::default(), Arc::default(), Some(capability))
    }

    /// The same with answers that are kept.
    pub(crate) fn caching(limits: Limits, cache: Arc<Cache>) -> Self {
        Self::with(limits, Room::default(), cache, None)
    }

    fn with(
        limits: Limits,
        room: Room,
        cache: Arc<Cache>,
        more: Option<Arc<dyn Capability>>,
    ) -> Self {
        let asked = Where::default();
        let mut capabilities: Vec<Arc<dyn Capability>> =
            vec![Arc::new(Refused), Arc::new(Buggy), Arc::new(asked.clone())];
        capabilities.extend(more);
        let lineup = Lineup {
            capabilities,
            cache: Arc::clone(&cache),
            ..Lineup::nothing()
        };
        let runtime = Runtime::new(lineup, limits.memory_bytes, room).expect("a runtime");
        Self {
            runtime,
            cache,
            asked,
            limits,
        }
    }

    /// With the test component `misbehave`.
    pub(crate) async fn misbehaving(limits: Limits) -> Self {
        let bench = Self::empty(limits);
        bench.misbehave(IT).await;
        bench
    }

    /// Another component of this kind.
    pub(crate) async fn misbehave(&self, name: &str) {
        let spec = Spec {
            entry_points: BTreeMap::from([(JOB.to_owned(), "its schedules".to_owned())]),
            ..self.spec(name)
        };
        let prepared = self.prepare(spec, &guest("misbehave")).await;
        self.go_live(name, prepared.expect("prepared"));
    }

    /// A component that imports nothing of others.
    pub(crate) fn spec(&self, name: &str) -> Spec {
        Spec {
            id: id(name),
            dependencies: Dependencies::default(),
            transactional: BTreeSet::new(),
            entry_points: BTreeMap::new(),
            environment: Vec::new(),
            limits: self.limits.clone(),
        }
    }

    /// Compile it, check it, try it.
    pub(crate) async fn prepare(&self, spec: Spec, bytes: &[u8]) -> Result<Prepared, LoadError> {
        let artifact = marquee_runtime::compile(bytes).expect("compiled");
        self.runtime
            .prepare(
                spec,
                Digest::of(bytes),
                artifact,
                Health::Asked,
                &Beside::default(),
            )
            .await
    }

    /// The same of a component in the text format.
    pub(crate) async fn prepare_text(&self, spec: Spec, text: &str) -> Result<Prepared, LoadError> {
        let bytes = wat::parse_str(text).expect("a component");
        self.prepare(spec, &bytes).await
    }

    pub(crate) fn go_live(&self, name: &str, prepared: Prepared) {
        let live = Live::only(prepared.version(), prepared);
        self.runtime.set_live(vec![(id(name), live)]);
    }

    /// Have the component under test do something.
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
        self.run_in(IT, what, deadline).await
    }

    /// The same of another component.
    pub(crate) async fn run_in(
        &self,
        name: &str,
        what: &str,
        deadline: Instant,
    ) -> Result<Result<(), String>, CallError> {
        let call = Call::new("test", deadline);
        self.runtime
            .run_job(&id(name), what.to_owned(), 0, call)
            .await
    }

    /// What became of a component's calls.
    pub(crate) fn figures(&self, name: &str) -> Figures {
        let live = self.runtime.live(&id(name)).expect("it is live");
        live.stable.payload.figures()
    }

    /// Of each time that a guest asked where it runs, whether that was behind others.
    pub(crate) fn behind(&self) -> Vec<bool> {
        let asked = self.asked.0.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many instances there are, of all components.
    pub(crate) fn places(&self) -> f64 {
        let mut readings = Readings::default();
        self.runtime.read(&mut readings);
        let text = readings.text(Format::Prometheus).expect("text");
        let mut lines = text.lines();
        let number = lines.find_map(|line| line.strip_prefix("marquee_instances "));
        number.expect("it is told").parse().expect("a number")
    }

    /// How many calls the instance has had that answers this one.
    pub(crate) async fn count(&self) -> u64 {
        let answer = self.run("count").await.expect("a call");
        answer.expect_err("a number").parse().expect("a number")
    }
}

/// A component of the tests.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/wasm32-wasip2/guest"
    );
    std::fs::read(format!("{folder}/{name}.wasm")).expect("run scripts/components --tests")
}

pub(crate) fn id(name: &str) -> ComponentId {
    name.parse().expect("a plain name")
}

/// `test:words/it` comes from the component `words`.
pub(crate) fn from_words() -> Dependencies {
    let name = "test:words".parse().expect("a package");
    [(name, id("words"))].into_iter().collect()
}
