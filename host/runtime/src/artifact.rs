//! Compiled components.
//!
//! Compiling is done apart from running (the host does it in a child process, with its bounds); what comes of it is
//! native code, and loading it is as good as running it. So an [`Artifact`] is made only where its origin is known.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use wasmtime::{Engine, component::Component};

use crate::engine;

/// The native code of a component, compiled by this host.
pub struct Artifact(Vec<u8>);

impl Artifact {
    /// These bytes came from [`compile`], and nobody else could have changed them since. It is the caller's word: they
    /// will be executed.
    pub fn vouched_for(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        #[expect(
            unsafe_code,
            reason = "the bytes were compiled by this host: see `vouched_for`"
        )]
        // SAFETY: `vouched_for` is the only way to an artifact, and says so.
        unsafe {
            Component::deserialize(engine, &self.0)
        }
    }
}

/// Check and compile a component.
pub fn compile(bytes: &[u8]) -> wasmtime::Result<Artifact> {
    let engine = Engine::new(&engine::compiler())?;
    engine.precompile_component(bytes).map(Artifact)
}

/// Names the compiler and its settings: an artifact fits only the engine of its own key.
pub(crate) fn key(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What bytes are that are no component, as far as their beginning tells.
pub fn what_else(bytes: &[u8]) -> Option<&'static str> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Some(
            "it is native code that was compiled before; only what this host compiles itself is run",
        );
    }
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Some(
            "it is a core WebAssembly module; build it for wasm32-wasip2, or make a component of it with `wasm-tools component new`",
        ),
        [b'\0', b'a', b's', b'm', ..] => None,
        _ => Some("it is not WebAssembly"),
    }
}
