//! What the host tells of itself: metrics (their form, what was read of all at one moment, and how that is told), and traces.
//!
//! Promise: for metrics nothing here takes a lock or allocates while a request is served; what is counted is only read when
//! somebody asks. Traces cost nothing while nobody listens. Each crate has its metrics in a `telemetry.rs`, as constants with unit and meaning, from which `docs/metrics.md`
//! is made too. Not here: which metrics there are, who may ask.

mod document;
mod exposition;
mod histogram;
pub mod label;
mod metric;
mod readings;
pub mod traces;

pub use document::document;
pub use exposition::Format;
pub use histogram::{Durations, Histogram};
pub use label::Label;
pub use metric::{Kind, Metric, Unit};
pub use readings::Readings;
