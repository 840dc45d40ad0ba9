//! Log lines: for people on a terminal, JSON otherwise.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Set up logging for the process. `filter` is in the form of `RUST_LOG`.
pub(crate) fn start(filter: &str, has_colours: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("the log filter {filter:?} cannot be read: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    if std::io::stderr().is_terminal() {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(has_colours)
            .compact();
        registry.with(lines).try_init()?;
    } else {
        // The fields of the call's span (request_id, component, version) stand in every line.
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true);
        registry.with(lines).try_init()?;
    }
    Ok(())
}

/// What is logged when nobody says otherwise.
pub(crate) const DEFAULT_FILTER: &str = "info,rdkafka=warn,librdkafka=warn,tokio_postgres=warn";
