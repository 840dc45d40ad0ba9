//! Log lines: for people on a terminal, JSON of `docs/log.schema.json` otherwise.
//!
//! Promise: logging keeps nobody waiting, whether anybody reads or not, and a failure that repeats does not drown the rest.
//! What is left out is counted and told. Bounds: lines that wait to be written; warnings and errors a second of one place in
//! the code.

mod access;
mod json;
mod moderation;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal as _,
    panic,
    sync::Arc,
    time::Duration,
};

use marquee_triggers::access::{AccessLog, Which};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt::format::JsonFields, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::{access::Lines, json::Json, moderation::Moderation};

/// Logging of the process. Dropped, it writes what waits, for a second at the most.
pub(crate) struct Logging {
    pub(crate) omissions: Omissions,
    form: Form,
    /// One of each queue.
    writers: Vec<WorkerGuard>,
}

/// Whom lines are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Somebody at a terminal.
    People,
    /// Whatever reads JSON.
    Programs,
}

/// What was left out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Omissions {
    moderation: Arc<Moderation>,
    dropped: ErrorCounter,
}

/// Set up logging for the process. `filter` is in the form of `RUST_LOG`.
pub(crate) fn start(filter: &str, has_colours: bool) -> anyhow::Result<Logging> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("the log filter {filter:?} cannot be read: {error}"))?;
    let (writer, guard) = queue("log");
    let omissions = Omissions {
        moderation: Arc::default(),
        dropped: writer.error_counter(),
    };
    let moderation = moderation::Filter(Arc::clone(&omissions.moderation));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let form = match std::io::stderr().is_terminal() {
        true => Form::People,
        false => Form::Programs,
    };
    match form {
        Form::People => {
            let lines = lines.with_target(false).with_ansi(has_colours).compact();
            registry.with(lines.with_filter(moderation)).try_init()?;
        }
        Form::Programs => {
            let lines = lines.fmt_fields(JsonFields::new()).event_format(Json);
            registry.with(lines.with_filter(moderation)).try_init()?;
        }
    }
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
        let backtrace = backtrace.map(|backtrace| backtrace.to_string());
        let said = panicked.payload_as_str();
        tracing::error!(
            place,
            backtrace,
            panic = said,
            "a thread of the host panicked"
        );
    }));
    Ok(Logging {
        omissions,
        form,
        writers: vec![guard],
    })
}

impl Logging {
    /// Write a line of each of these requests, too. They have a queue of their own: however many they are, no other line is dropped
    /// for them.
    pub(crate) fn access(&mut self, which: Which) -> Arc<AccessLog> {
        let (writer, guard) = queue("access log");
        self.writers.push(guard);
        AccessLog::new(which, Lines::new(writer, self.form))
    }
}

/// A thread that writes, and what waits for it.
fn queue(name: &str) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .thread_name(name)
        .finish(std::io::stderr())
}

impl Omissions {
    /// Lines so far that were left out since one like them repeated, and that were dropped since nobody reads.
    pub(crate) fn lines(&self) -> (u64, u64) {
        let dropped = self.dropped.dropped_lines();
        let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
        (self.moderation.all_left_out(), dropped)
    }

    /// Tell, from time to time, until `stop`.
    pub(crate) async fn tell(self, stop: CancellationToken) {
        let mut told = 0;
        while stop
            .run_until_cancelled(tokio::time::sleep(TELL))
            .await
            .is_some()
        {
            told = self.tell_once(told);
        }
        self.tell_once(told);
    }

    fn tell_once(&self, told: usize) -> usize {
        for (place, left_out) in self.moderation.left_out() {
            tracing::warn!(
                left_out,
                place,
                "lines like one that stands above were left out: {left_out} from {place}"
            );
        }
        let dropped = self.dropped.dropped_lines();
        if dropped > told {
            let dropped = dropped - told;
            tracing::warn!(
                dropped,
                "{dropped} lines were dropped: whoever reads the log is too slow"
            );
        }
        dropped
    }
}

/// What is logged when nobody says otherwise.
pub(crate) const DEFAULT_FILTER: &str = "info,rdkafka=warn,librdkafka=warn,tokio_postgres=warn";
/// A few MiB: some seconds of a log that a person can still read.
const WAITING_LINES: usize = 8_192;
const TELL: Duration = Duration::from_secs(10);
