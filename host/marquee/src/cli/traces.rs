//! `marquee traces`: the slow and the failed of the last minutes, and what one of them was made of.

use std::{process::ExitCode, time::Duration};

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use marquee_admin::{Traces, TracesOf};
use marquee_telemetry::traces::{
    names,
    ring::{Row, Summary, Waterfall},
};
use serde_json::Value;

use super::{
    print,
    query::query,
    remote::RemoteFlags,
    text::{plain, text},
    versions::Format,
};

/// Show traces that the host has in its memory: those that failed and the slowest first; or one, as a waterfall.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee traces --slower-than 50ms
  marquee traces --failed --component rating
  marquee traces 4bf92f3577b3")]
pub(crate) struct TracesVerb {
    #[command(flatten)]
    host: RemoteFlags,
    /// One: its id, or the first digits of it
    trace: Option<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    format: Format,
}

/// Filters: every one that is given must fit.
#[derive(Debug, Args)]
#[group(id = "which", conflicts_with = "trace")]
struct Which {
    /// Only those in which something failed
    #[arg(long)]
    failed: bool,
    /// Only those that took so long at least, e.g. 50ms
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    slower_than: Option<Duration>,
    /// Only those in which this component did something
    #[arg(long)]
    component: Option<String>,
    /// Only those that began with a request of this route, as the manifest has it
    #[arg(long)]
    route: Option<String>,
    /// Only those that began then or later, e.g. 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// The newest first
    #[arg(long)]
    newest: bool,
    /// How many at the most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl TracesVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        let printed = match &self.trace {
            Some(name) => {
                let digits = name.bytes().all(|it| it.is_ascii_hexdigit());
                ensure!(digits, "{name:?} is no trace: ids are hexadecimal digits");
                let shown: Waterfall = remote.get(&format!("/admin/v1/traces/{name}")).await?;
                match self.format.json {
                    true => serde_json::to_string_pretty(&shown)?,
                    false => waterfall(&shown),
                }
            }
            None => {
                let path = format!("/admin/v1/traces?{}", query(&self.which.of())?);
                let found: Traces = remote.get(&path).await?;
                match self.format.json {
                    true => serde_json::to_string_pretty(&found)?,
                    false => list(&found),
                }
            }
        };
        print(printed)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Which {
    fn of(self) -> TracesOf {
        let us = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        TracesOf {
            component: self.component,
            route: self.route,
            at_least_us: self.slower_than.map(us),
            failed: self.failed,
            since: self.since,
            newest: self.newest,
            limit: self.limit,
        }
    }
}

fn list(found: &Traces) -> String {
    if !found.on {
        return "the host keeps no traces: it was started with MARQUEE_KEEP_TRACES=false"
            .to_owned();
    }
    if found.traces.is_empty() {
        return "no traces".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "trace",
        "began",
        "took",
        "what",
        "result",
        "components",
        "spans",
    ]);
    for it in &found.traces {
        table.add_row([
            short(&it.trace),
            moment(it.start_ms, SecondsFormat::Secs),
            took(it.took_us),
            plain(&it.name),
            result(it),
            it.components.join(", "),
            it.spans.to_string(),
        ]);
    }
    right(&mut table, &[2, 6]);
    table.to_string()
}

fn waterfall(shown: &Waterfall) -> String {
    let it = &shown.trace;
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["at", "took", "", "span"]);
    for row in &shown.rows {
        table.add_row([
            took(row.at_us),
            took(row.took_us),
            bar(row, shown.took_us),
            line(row),
        ]);
    }
    right(&mut table, &[0, 1]);
    let mut lines = format!(
        "trace {} at {}: {}, {}\n{table}",
        it.trace,
        moment(shown.start_ms, SecondsFormat::Millis),
        plain(&it.name),
        result(it),
    );
    if shown.left_out > 0 {
        lines.push_str(&format!("\n{} spans found no room", shown.left_out));
    }
    lines
}

/// When it was, within the whole.
fn bar(row: &Row, whole_us: u64) -> String {
    let place = |us: u64| {
        let place = us.saturating_mul(BAR) / whole_us.max(1);
        usize::try_from(place.min(BAR)).unwrap_or_default()
    };
    let width = place(whole_us.max(1));
    let from = place(row.at_us).min(width - 1);
    let long = place(row.at_us.saturating_add(row.took_us))
        .saturating_sub(from)
        .max(1);
    let behind = width - from - long;
    format!("{:from$}{:=<long$}{:behind$}", "", "", "")
}

/// What it was, as far in as what led to it.
fn line(row: &Row) -> String {
    let indent = "  ".repeat(row.depth.min(20));
    let link = if row.linked { "~ " } else { "" };
    let mut line = format!("{indent}{link}{}", plain(&row.name));
    let told = |name: &str| row.attributes.get(name).map(text);
    for name in [
        names::URL_PATH,
        names::HTTP_STATUS,
        names::VERSION,
        names::LABEL,
        names::MESSAGING_BATCH,
        names::DB_QUERY,
    ] {
        if let Some(value) = told(name) {
            let unit = if name == names::MESSAGING_BATCH {
                " messages"
            } else {
                ""
            };
            line.push_str(&format!("  {}{unit}", cut(&value)));
        }
    }
    if row.attributes.get(names::ROLE) == Some(&Value::from("canary")) {
        line.push_str("  canary");
    }
    if let Some(error) = &row.error {
        line.push_str(&format!("  ! {}", cut(error)));
    }
    line
}

fn result(it: &Summary) -> String {
    let word = match (it.failed, it.errors) {
        (true, _) => "failed",
        (false, 0) if it.whole => "",
        (false, 0) => "goes on",
        (false, _) => "errors within",
    };
    match (it.status, word) {
        (Some(status), word) => format!("{status} {word}").trim_end().to_owned(),
        (None, "") => "done".to_owned(),
        (None, word) => word.to_owned(),
    }
}

/// Enough digits that few begin so.
fn short(trace: &str) -> String {
    trace.chars().take(12).collect()
}

/// Of a statement or an error, what fits into a line.
fn cut(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = plain(&words.join(" "));
    match text.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn moment(ms: u64, digits: SecondsFormat) -> String {
    let at = i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    at.map(|at| at.to_rfc3339_opts(digits, true))
        .unwrap_or_default()
}

fn took(us: u64) -> String {
    let ms = Duration::from_micros(us).as_secs_f64() * 1e3;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{ms:.1} ms"),
        _ => format!("{:.2} s", ms / 1e3),
    }
}

fn right(table: &mut Table, columns: &[usize]) {
    for at in columns {
        if let Some(column) = table.column_mut(*at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Characters of the whole time.
const BAR: u64 = 24;
/// Of a line.
const LINE: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_us: u64, took_us: u64) -> Row {
        Row {
            depth: 1,
            linked: false,
            trace: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span: "b7ad6b7169203331".to_owned(),
            name: "SELECT".to_owned(),
            kind: "client".to_owned(),
            component: Some("rating".to_owned()),
            at_us,
            took_us,
            error: None,
            attributes: [(names::DB_QUERY.to_owned(), "select\n  1".into())].into(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    #[test]
    fn a_bar_is_where_the_span_was_and_never_empty_or_beyond_the_whole() {
        for (at, took, from, long) in [
            (0, 2_400, 0, 24),
            (0, 0, 0, 1),
            (1_200, 600, 12, 6),
            (2_400, 0, 23, 1),
            (2_390, 5, 23, 1),
        ] {
            let bar = bar(&row(at, took), 2_400);
            assert_eq!(bar.len(), 24, "{at} {took}: {bar:?}");
            assert_eq!(bar.find('='), Some(from), "{at} {took}: {bar:?}");
            assert_eq!(bar.matches('=').count(), long, "{at} {took}: {bar:?}");
        }
        assert_eq!(bar(&row(0, 0), 0).len(), 24);
    }

    #[test]
    fn a_line_says_what_was_done_and_why_it_failed_on_one_line() {
        let mut it = row(0, 1);
        assert_eq!(line(&it), "  SELECT  select 1");
        it.error = Some("40001\x1b[2J".to_owned());
        it.linked = true;
        assert_eq!(line(&it), "  ~ SELECT  select 1  ! 40001\u{fffd}[2J");
    }
}
