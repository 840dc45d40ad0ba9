//! How a line of the access log looks.

use std::{io::Write as _, time::SystemTime};

use marquee_triggers::access::{Line, Sink};
use serde::Serialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking};

use super::Form;

/// Writes lines beside those of the log, in its form.
pub(super) struct Lines {
    writer: NonBlocking,
    dropped: ErrorCounter,
    form: Form,
}

impl Lines {
    pub(super) fn new(writer: NonBlocking, form: Form) -> Self {
        Self {
            dropped: writer.error_counter(),
            writer,
            form,
        }
    }
}

impl Sink for Lines {
    fn write(&self, line: &Line<'_>) {
        let text = match self.form {
            Form::People => for_people(line, SystemTime::now()).into_bytes(),
            Form::Programs => for_programs(line, SystemTime::now()),
        };
        // It takes a line or drops it, and fails never.
        let _ = self.writer.clone().write_all(&text);
    }

    fn dropped(&self) -> u64 {
        u64::try_from(self.dropped.dropped_lines()).unwrap_or(u64::MAX)
    }
}

/// What every line has, and then its own.
#[derive(Serialize)]
struct Stamped<'a> {
    timestamp: String,
    level: &'static str,
    target: &'static str,
    message: String,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

fn for_programs(line: &Line<'_>, now: SystemTime) -> Vec<u8> {
    let stamped = Stamped {
        timestamp: humantime::format_rfc3339_micros(now).to_string(),
        level: "INFO",
        target: "access",
        message: format!(
            "{} {} {}",
            line.method,
            line.route.unwrap_or(line.path),
            end(line)
        ),
        line,
    };
    // Texts and numbers: nothing of it can fail.
    let mut text = serde_json::to_vec(&stamped).unwrap_or_default();
    text.push(b'\n');
    text
}

fn for_people(line: &Line<'_>, now: SystemTime) -> String {
    format!(
        "{}  INFO {} {} {} {:.1} ms {} bytes request_id={:?} component={:?}\n",
        humantime::format_rfc3339_micros(now),
        line.method,
        // It could forge colours on a terminal.
        line.path.escape_default(),
        end(line),
        line.duration_ms,
        line.bytes_out,
        line.request_id,
        line.component.unwrap_or_default(),
    )
}

/// How it ended, in a word.
fn end(line: &Line<'_>) -> String {
    line.status
        .map_or_else(|| "abandoned".to_owned(), |status| status.to_string())
}
