//! `spin.toml`: text in, a checked [`App`] out.
//!
//! The manifest is Spin's, version 2, and both hosts read it. What only Marquee understands stands in
//! `[component.NAME.tool.marquee]`, which Spin ignores. A key that this host does not support is a problem with its
//! line, never ignored; all problems are found in one go. Pure: no file and no environment is read.

mod app;
mod cache;
mod dependency;
mod http;
mod id;
mod names;
mod order;
mod outbound;
mod parse;
mod problem;
mod rates;
mod reader;
mod tool;
mod units;
mod when;

pub use app::{
    App, Begin, Build, Canary, Component, Database, Guard, Guarded, Limits, Outside, Route,
    Schedule, Subscription, Variable, defaults,
};
pub use cache::{CacheTag, CacheTagPart, Cached};
pub use dependency::{Dependencies, DependencyName, InvalidDependency};
pub use http::Http;
pub use id::{ComponentId, InvalidId};
pub use outbound::{NoGrant, OutboundHost};
pub use problem::Problem;
pub use rates::{InvalidPath, PathPattern, Rate, RateClass, Rates};
pub use when::When;
