//! What a component in Rust needs beside its domain: SQL with rows by name, messages with their verdicts, cursors, opaque
//! ids, variables, and what every API over HTTP and gRPC has. It knows nothing of any application.
//!
//! **The way to write a component.** One crate (`cdylib`), built with `scripts/components NAME` or
//! `cargo build --target wasm32-wasip2`:
//!
//! - `wit/` says what it exports and imports; [`component!`] makes the bindings of its world and exports its type.
//! - `lib.rs` implements the exported interfaces: parse what came into values of the domain, ask the store, answer.
//! - `domain/` has plain types and functions, tested natively. Of this crate it may use [`cursor`] and [`opaque`], which
//!   are pure.
//! - `store.rs` has all the SQL, on a [`sql::Database`].
//! - A component that answers HTTP has routes of axum, and a [`rest::Api`](rest) around them; gRPC is [`grpc`].
//! - The manifest grants what it may use: a database, topics, variables.
//!
//! There is no code for transactions, retries or duplicates: a call of `handle` or `run` is one transaction of the
//! component's database, ok commits, an error rolls back, and the host brings what failed again.
//!
//! ```
//! use marquee_guest::{
//!     messaging::{Batch, Message, Verdict},
//!     params,
//!     sql::{Database, array},
//! };
//! use bindings::exports::marquee::messaging::consumer;
//!
//! marquee_guest::component!(Counter, {
//!     inline: "
//!         package example:counter;
//!
//!         world counter {
//!             export marquee:messaging/consumer@0.1.0;
//!         }
//!     ",
//!     path: "../wit/marquee-messaging",
//!     with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
//! });
//!
//! struct Counter;
//!
//! impl consumer::Guest for Counter {
//!     /// Adds numbers up. Each counts once, whatever dies: the total and what was consumed commit together.
//!     async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
//!         let batch = Batch::read(&messages, |message| message.json::<i32>());
//!         let numbers = params![array(batch.iter().copied())];
//!         DB.execute(ADD, numbers).await?;
//!         Ok(batch.verdicts(|_| Verdict::Done))
//!     }
//! }
//!
//! const DB: Database = Database::at("counter_database_url");
//! const ADD: &str = "update totals set total = total + (select sum(n) from unnest($1::integer[]) as n)";
//! # fn main() {}
//! ```
//!
//! Nothing here panics, holds a lock or spawns a task. A component imports what it calls and nothing else, whatever
//! features are on.

pub mod cursor;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "messaging")]
pub mod messaging;
pub mod opaque;
#[cfg(feature = "rest")]
pub mod rest;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(feature = "variables")]
pub mod variables;

#[doc(hidden)]
pub use wit_bindgen;

/// Write one line for operators. Escaped: it may hold what a client sent.
#[expect(clippy::print_stderr, reason = "a guest's stderr is the host's log")]
pub fn log(line: &str) {
    eprintln!("{}", line.escape_debug());
}

/// Make a module `bindings` of a WIT world, and export a type as the component.
///
/// `component!(Type, { options })`, or `component!({ options })` for a world without exports. The options are those of
/// `wit_bindgen::generate!`; paths are relative to the crate's `Cargo.toml`. For a world with messages say
/// `with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging }`: then its messages and verdicts are this
/// crate's. The example is the crate's own.
#[macro_export]
macro_rules! component {
    ({ $($options:tt)* } $(export $component:ident)?) => {
        mod bindings {
            #![allow(unsafe_code, reason = "the canonical ABI, as wit-bindgen writes it")]
            $crate::wit_bindgen::generate!({
                runtime_path: "::marquee_guest::wit_bindgen::rt",
                $($options)*
            });
            $(
                // The names of a component's exports are no symbols that a native linker takes.
                #[cfg(target_family = "wasm")]
                use super::$component;
                #[cfg(target_family = "wasm")]
                export!($component);
            )?
        }
    };
    ($component:ident, { $($options:tt)* }) => {
        $crate::component!({ $($options)* } export $component);
    };
}
