//! Running components: the engine, loading and linking, pools of instances, and calls.
//!
//! The only crate that makes an `Engine` or a `Store`. It owns the traits that capabilities implement and knows
//! none of them; it knows no SQL, no bus and no manifest.
//!
//! A call runs in an instance of its own from the pool of the version that was active when it began, in a task
//! that outlives a caller who goes away only to be cancelled. It ends by answering, by a trap, or at its
//! deadline; in the last two cases the instance and all that it held are thrown away.

mod artifact;
mod call;
mod capability;
mod control;
mod engine;
mod error;
mod failure;
mod guest;
mod lane;
mod limits;
mod link;
mod load;
mod log;
mod pool;
mod runtime;
mod state;
mod stats;
mod types;

pub use artifact::{Artifact, compile, what_else};
pub use call::Call;
pub use capability::{Body, Capability, Grant, Lineup, Outbound, Transactor, View};
pub use error::{CallError, LoadError};
pub use failure::is_error;
pub use guest::consumer::{CONSUMER, Message, Verdict};
pub use guest::http::{HANDLER, Request, Response, ResponseBody};
pub use guest::job::JOB;
pub use lane::background_threads;
pub use limits::Limits;
pub use load::Spec;
pub use runtime::{Prepared, Runtime, chain};
pub use state::State;
pub use stats::Figures;
