//! The metrics of the whole: every crate's, and those of the process itself.

use std::{
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use marquee_admin::metrics::{self, Source};
use marquee_database::Database;
use marquee_delivery::telemetry::RelayTally;
use marquee_releases::Releases;
use marquee_runtime::Runtime;
use marquee_telemetry::{
    Metric, Readings, Unit, document, label,
    traces::{self, Traces},
};
use marquee_triggers::{
    Deliverer, access::AccessLog, schedule, server::Listener, telemetry::HttpTally,
};

use crate::{logging::Omissions, tasks::Tasks};

static BUILD: Metric = Metric::gauge(
    "marquee_build_info",
    Unit::Of("1"),
    &[&label::HOST_VERSION],
    "The program, by its version.",
);
static RESTARTS: Metric = Metric::counter(
    "marquee_tasks_restarted",
    Unit::Of("restarts"),
    &[&label::TASK],
    "Tasks of the host that panicked, or ended although nobody stopped them, and were begun again.",
);
static LINES_LEFT_OUT: Metric = Metric::counter(
    "marquee_log_lines_left_out",
    Unit::Of("lines"),
    &[],
    "Warnings and errors of the host that were not written, since one like them repeats.",
);
static LINES_DROPPED: Metric = Metric::counter(
    "marquee_log_lines_dropped",
    Unit::Of("lines"),
    &[],
    "Lines that were not written, since whoever reads the log is too slow.",
);
static CPU: Metric = Metric::counter(
    "process_cpu",
    Unit::Seconds,
    &[],
    "CPU time of the process, in user mode and in the kernel.",
);
static RESIDENT: Metric = Metric::gauge(
    "process_resident_memory",
    Unit::Bytes,
    &[],
    "Memory of the process that is in RAM.",
);
static OPEN_FILES: Metric = Metric::gauge(
    "process_open_fds",
    Unit::Of("files"),
    &[],
    "Open files and sockets.",
);
static STARTED: Metric = Metric::gauge(
    "process_start_time",
    Unit::Seconds,
    &[],
    "When the host started, since 1970.",
);

/// Of this file.
static OWN: &[&Metric] = &[
    &BUILD,
    &RESTARTS,
    &LINES_LEFT_OUT,
    &LINES_DROPPED,
    &CPU,
    &RESIDENT,
    &OPEN_FILES,
    &STARTED,
];

/// The document of all metrics.
pub(crate) fn page() -> String {
    document(&[
        (
            "Requests, deliveries and schedules",
            marquee_triggers::telemetry::METRICS,
        ),
        ("Components", marquee_runtime::telemetry::METRICS),
        ("Releases", marquee_releases::telemetry::METRICS),
        ("Databases", marquee_database::telemetry::METRICS),
        ("Events", marquee_delivery::telemetry::METRICS),
        ("The host", OWN),
        ("Traces", traces::METRICS),
        ("Asking for metrics", metrics::METRICS),
    ])
}

/// Whatever counts in this process.
pub(crate) struct Counting {
    pub(crate) runtime: Runtime,
    pub(crate) releases: Releases,
    pub(crate) databases: Vec<Database>,
    /// By the name of the database.
    pub(crate) relays: Vec<(String, RelayTally)>,
    /// With the topic of each.
    pub(crate) deliverers: Vec<(String, Arc<Deliverer>)>,
    pub(crate) schedules: Vec<Arc<schedule::Trigger>>,
    pub(crate) http: Arc<HttpTally>,
    /// By their names.
    pub(crate) listeners: [(&'static str, Arc<Listener>); 2],
    pub(crate) tasks: [Tasks; 2],
    pub(crate) omissions: Omissions,
    pub(crate) traces: Traces,
    pub(crate) access: Option<Arc<AccessLog>>,
}

impl Counting {
    /// To be asked for each scrape.
    pub(crate) fn source(self) -> Source {
        let started = SystemTime::now();
        Box::new(move |into| {
            self.read(into);
            into.gauge(&BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
            process(started, into);
        })
    }

    fn read(&self, into: &mut Readings) {
        self.runtime.read(into);
        self.releases.read(into);
        for database in &self.databases {
            database.read(into);
        }
        for (database, relay) in &self.relays {
            relay.read(database, into);
        }
        for (topic, deliverer) in &self.deliverers {
            deliverer.read(topic, into);
        }
        for schedule in &self.schedules {
            schedule.read(into);
        }
        self.http.read(into);
        if let Some(access) = &self.access {
            access.read(into);
        }
        for (name, listener) in &self.listeners {
            listener.read(name, into);
        }
        for (task, restarts) in self.tasks.iter().flat_map(Tasks::restarts) {
            into.count(&RESTARTS, &[&task], restarts);
        }
        self.traces.read(into);
        let (left_out, dropped) = self.omissions.lines();
        into.count(&LINES_LEFT_OUT, &[], left_out);
        into.count(&LINES_DROPPED, &[], dropped);
    }
}

/// What the kernel says of this process. Where it says nothing, nothing is told.
fn process(started: SystemTime, into: &mut Readings) {
    let since = started.duration_since(SystemTime::UNIX_EPOCH);
    into.gauge(&STARTED, &[], since.unwrap_or_default().as_secs_f64());
    if let Some(took) = cpu() {
        into.amount(&CPU, &[], took.as_secs_f64());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.split_whitespace().next()?;
        kib.parse::<u64>().ok()
    });
    if let Some(kib) = resident {
        into.gauge(&RESIDENT, &[], (kib * 1_024) as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        into.number(&OPEN_FILES, &[], files.count());
    }
}

/// User and kernel time, in the kernel's ticks of 10 ms.
fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_is_what_the_program_has() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/metrics.md is stale: `marquee metrics > docs/metrics.md` writes it"
        );
    }

    #[test]
    fn every_metric_is_named_once_and_has_a_meaning() {
        let mut names = BTreeSet::new();
        for metric in [
            marquee_triggers::telemetry::METRICS,
            marquee_runtime::telemetry::METRICS,
            marquee_releases::telemetry::METRICS,
            marquee_database::telemetry::METRICS,
            marquee_delivery::telemetry::METRICS,
            OWN,
            traces::METRICS,
            metrics::METRICS,
        ]
        .into_iter()
        .flatten()
        {
            let name = metric.full_name();
            assert!(metric.meaning().ends_with('.'), "{name}");
            assert!(!metric.meaning().contains('|'), "{name}: a table's cell");
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }

    #[test]
    fn the_kernel_says_what_the_process_has_used() {
        let mut readings = Readings::default();
        process(SystemTime::now(), &mut readings);
        let text = readings.text(marquee_telemetry::Format::Prometheus);
        let text = text.expect("a text");
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(name)),
                "{name}: {text}"
            );
        }
    }
}
