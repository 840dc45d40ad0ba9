//! `marquee`: runs WebAssembly components over PostgreSQL and Kafka.
//!
//! The only crate that reads the environment, prints, and names all others.

mod alarms;
mod app;
mod caches;
mod cli;
mod databases;
mod host;
mod lineup;
mod logging;
mod settings;
mod shutdown;
mod tasks;
mod telemetry;

use std::process::ExitCode;

/// A call allocates much and frees it soon, on whichever worker it ends: see BENCHMARKS.md for what this gains.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return cli::report(
                &anyhow::Error::new(error).context("the async runtime cannot start"),
            );
        }
    };
    match runtime.block_on(command.run()) {
        Ok(code) => code,
        Err(error) => cli::report(&error),
    }
}
