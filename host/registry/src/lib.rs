//! Versions of components: which are live, which of them a call gets, and the store that keeps them.
//!
//! A version is named by the SHA-256 of its bytes. It knows no wasm and no network.

mod active;
mod book;
mod digest;
mod files;
mod history;
mod metadata;
mod ramp;
mod state;
mod store;
pub mod together;
mod weight;

pub use active::{Canary, Choice, Live, Registry, Shadow, Version};
pub use book::Book;
pub use digest::{Digest, NotADigest};
pub use history::{Event, History};
pub use metadata::Metadata;
pub use ramp::{NotARamp, Ramp, Rising};
pub use state::{Active, Need, Refused, State, States, Together, Trial, Wave};
pub use store::{Collection, Entry, Store, StoreError};
pub use weight::{NotAWeight, Weight};
