//! Running components: the engine, loading and linking, pools of instances, and calls.
//!
//! The only crate that makes an `Engine` or a `Store`. It owns the traits that capabilities implement and knows
//! none of them; it knows no SQL, no bus and no manifest.
//!
//! Layers, each knowing only those before it: the engine; a component (linked, `component`, `link`); an instance (what
//! runs calls in a store, `instance`, and who drives it, `driver`); a pool (a version's instances and their calls, `pool`); the runtime (what is live, and which
//! version a call gets, `runtime`, and as what it enters it, `entry`); entry points (HTTP, messages, jobs, the probe, `guest`) and loading, which uses them.
//!
//! A call runs in an instance from the pool of the version that was active when it began. A caller who goes away gives it
//! up. It ends by answering, by a trap, or at its deadline; in the last two cases the instance and all that it held are
//! thrown away.

mod artifact;
mod bell;
mod bindings;
mod cache;
mod call;
mod capability;
mod client;
mod component;
mod control;
mod driver;
mod dry_run;
mod engine;
mod entry;
mod error;
mod failure;
mod guest;
mod instance;
mod lane;
mod limits;
mod link;
mod load;
mod log;
mod memory;
mod message;
mod outcome;
mod pending;
mod pool;
mod prepared;
mod runtime;
mod shadow;
mod spec;
mod state;
mod stats;
mod tally;
pub mod telemetry;
mod turns;
mod types;

pub use artifact::{Artifact, compile, what_else};
pub use bindings::{CONSUMER, HANDLER, JOB};
pub use cache::{Cache, Look, Source};
pub use call::{Call, Exact, LetDown};
pub use capability::{Body, Capability, Discarded, Grant, Lineup, Manner, Outbound, Transactor};
pub use dry_run::{DryRun, Effects, Published};
pub use error::{CallError, LoadError, chain};
pub use failure::is_error;
pub use guest::http::{Request, Response, ResponseBody};
pub use lane::background_threads;
pub use limits::Limits;
pub use load::Health;
pub use memory::Room;
pub use message::{Message, Verdict};
pub use outcome::{Blame, Kind, Outcome};
pub use pending::{Held, PENDING_BYTES, Pending};
pub use prepared::{Beside, Prepared};
pub use runtime::Runtime;
pub use shadow::{Comparison, Copied, Difference, Differs};
pub use spec::Spec;
pub use state::{State, View};
pub use stats::Figures;
