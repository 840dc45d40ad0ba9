//! What a manifest comes to.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use crate::{Cached, ComponentId, Dependencies, Http, OutboundHost, Rates, When};

/// An application: its components and what starts them.
#[derive(Debug, Clone)]
pub struct App {
    /// `application.name`.
    pub name: String,
    /// `application.version`.
    pub version: Option<String>,
    /// `application.tool.marquee.example`: a path that a person may try first.
    pub example: Option<String>,
    /// `application.tool.marquee.http`: bounds of what clients do.
    pub http: Http,
    /// Application variables, by name.
    pub variables: BTreeMap<String, Variable>,
    /// HTTP routes, in the order of the manifest.
    pub routes: Vec<Route>,
    /// All components, by name.
    pub components: BTreeMap<ComponentId, Component>,
    /// Components that others name for packages which this host provides itself: for Spin, which does not.
    pub stand_ins: BTreeSet<ComponentId>,
}

/// An application variable: a default, or a value that must be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// None: it must be given when the host starts.
    pub default: Option<String>,
    /// Its value is not shown.
    pub is_secret: bool,
}

/// A path pattern and the component that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `/...`, `/v1/...` or a path.
    pub pattern: String,
    /// Who answers.
    pub component: ComponentId,
}

/// A component.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its name.
    pub id: ComponentId,
    /// The file with its bytes, relative to the manifest.
    pub source: PathBuf,
    /// Its variables: text in which `{{ name }}` stands for an application variable. `tool.marquee.variables` where
    /// it is given, else the component's own, which under Spin its dependencies get too.
    pub variables: BTreeMap<String, String>,
    /// WASI environment variables.
    pub environment: BTreeMap<String, String>,
    /// Where it may send HTTP requests.
    pub allowed_outbound_hosts: Vec<OutboundHost>,
    /// What other components provide to it. Without `marquee:` packages: those the host provides, whatever stands in
    /// for them under Spin.
    pub dependencies: Dependencies,
    /// How it is built, if the manifest says so.
    pub build: Option<Build>,
    /// Its database.
    pub database: Option<Database>,
    /// Exported interfaces whose calls are units of work.
    pub transactional: Vec<String>,
    /// Functions that it exports whose answers may be kept for a while.
    pub cache: Vec<Cached>,
    /// Topics that it may publish on through the producer import.
    pub publish: Vec<String>,
    /// Its identity as a consumer, where the manifest says it; see [`Self::consumer`].
    pub said_consumer: Option<String>,
    /// Topics that it consumes.
    pub subscriptions: Vec<Subscription>,
    /// Jobs that the clock starts.
    pub schedules: Vec<Schedule>,
    /// Bounds of its calls.
    pub limits: Limits,
    /// How its HTTP requests choose between its versions, and those of all that they lead to.
    pub canary: Canary,
    /// When the host takes a new version of it back.
    pub guard: Guard,
    /// How often clients may send it HTTP requests.
    pub rates: Rates,
}

/// How requests choose between versions. Without a header it is chance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canary {
    /// Requests with the same value of this header get the same version.
    pub key_header: Option<String>,
    /// A request may ask for a version by its label in this header. Without it none may.
    pub label_header: Option<String>,
}

/// When the host takes a new version back by itself: once it has had `calls` calls, and its error rate or its p99 is
/// worse than the old one's by more than `factor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// For which new versions.
    pub on: Guarded,
    /// Calls of the new version before it is judged, unless all of its first ones failed.
    pub calls: u64,
    /// How many times worse is too bad.
    pub factor: u32,
}

/// Which new versions are guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// Those with less than all calls.
    Canary,
    /// Those with all calls too, measured against what the one before them had.
    Always,
    /// None.
    Never,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            on: Guarded::Canary,
            calls: defaults::GUARD_CALLS,
            factor: defaults::GUARD_FACTOR,
        }
    }
}

/// How a component is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// For a shell.
    pub command: String,
    /// Where, relative to the manifest.
    pub workdir: PathBuf,
    /// Patterns of the files that it is built from, relative to `workdir`.
    pub watch: Vec<String>,
}

/// A component's own database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its logical name: `rating` is reached by `DATABASE_URL_RATING`, and by the component as `marquee:rating`.
    pub name: String,
    /// The folder of its migrations, relative to the manifest and within its folder.
    pub migrations: Option<PathBuf>,
    /// A file with one query, each row of which is something that does not add up; as `migrations`.
    pub audit: Option<PathBuf>,
    /// Connections at the most.
    pub pool_size: usize,
}

/// A topic that a component consumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// Its partitions where the host has to create it. Never changed afterwards.
    pub partitions: i32,
    /// Where a consumer begins that has seen nothing of it.
    pub from: Begin,
    /// From the first failure of a message to its second delivery; doubled with each further one.
    pub retry: Duration,
    /// Tries before a message is dead.
    pub attempts: u32,
    /// Messages in a batch at the most.
    pub batch: usize,
    /// The wall clock and CPU of one batch.
    pub deadline: Duration,
}

/// Where a consumer begins in a topic of which it has seen nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the oldest message that the bus still has.
    #[default]
    Earliest,
    /// With what is published from now on.
    Latest,
}

/// A job that the clock starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// What the component is told.
    pub name: String,
    /// When.
    pub when: When,
    /// The wall clock and CPU of one run.
    pub deadline: Duration,
}

/// Bounds of a component's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wall clock and CPU of one call.
    pub deadline: Duration,
    /// Linear memory of an instance, in bytes: of all its memories together.
    pub memory_bytes: usize,
    /// Calls at once.
    pub concurrent_calls: usize,
    /// Calls that wait for their turn at once.
    pub queue: usize,
    /// Calls that an instance serves before it is replaced, from half of it by chance. None: as many as come.
    pub instance_calls: Option<NonZeroU32>,
    /// Handles (connections, streams, bodies) that an instance holds at once.
    pub handles: usize,
    /// Lines a second that it may log.
    pub log_lines: u32,
    /// Rows that one statement may return.
    pub rows: usize,
    /// What one statement may return, in bytes as they come from the server.
    pub query_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: defaults::DEADLINE,
            memory_bytes: defaults::MEMORY_BYTES,
            concurrent_calls: defaults::CONCURRENT_CALLS,
            queue: defaults::QUEUE,
            instance_calls: None,
            handles: defaults::HANDLES,
            log_lines: defaults::LOG_LINES,
            rows: defaults::ROWS,
            query_bytes: defaults::QUERY_BYTES,
        }
    }
}

/// Who outside the manifest is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Some component consumes or publishes.
    Bus,
    /// None does.
    Nothing,
}

impl Component {
    /// Its identity as a consumer: by it the databases and the bus know how far it is. Its name, where the manifest says
    /// no other.
    pub fn consumer(&self) -> &str {
        self.said_consumer
            .as_deref()
            .unwrap_or_else(|| self.id.as_str())
    }
}

impl App {
    /// Whether the application needs a bus.
    pub fn outside(&self) -> Outside {
        let uses = |component: &Component| {
            !component.subscriptions.is_empty() || !component.publish.is_empty()
        };
        if self.components.values().any(uses) {
            Outside::Bus
        } else {
            Outside::Nothing
        }
    }
}

/// The defaults of what the manifest leaves out, each with its reason.
pub mod defaults {
    use std::time::Duration;

    /// Enough to keep two cores of database busy; ten hosts stay under PostgreSQL's default of 100.
    pub const POOL_SIZE: usize = 16;
    /// More than any host of two cores can use at once, and what ten hosts divide well.
    pub const PARTITIONS: i32 = 8;
    /// As in the system that this one re-makes.
    pub const RETRY: Duration = Duration::from_secs(10);
    /// With doubling delays from 10 s these are about 20 minutes: longer than a restart, shorter than a night.
    pub const ATTEMPTS: u32 = 8;
    /// A transaction of 500 upserts takes some tens of milliseconds; more gains little and holds locks longer.
    pub const BATCH: usize = 500;
    /// Far below Kafka's five minutes between polls.
    pub const BATCH_DEADLINE: Duration = Duration::from_secs(30);
    /// Long enough for a sweep of many statements, short enough for a person to notice.
    pub const JOB_DEADLINE: Duration = Duration::from_secs(60);
    /// Longer than the 5 s of a statement, shorter than a person waits.
    pub const DEADLINE: Duration = Duration::from_secs(10);
    /// A Rust guest needs 1 to 3 MiB; a batch of 4 MiB is decoded in a few times its size.
    pub const MEMORY_BYTES: usize = 64 << 20;
    /// Far above what two cores finish at once, low enough to bound memory.
    pub const CONCURRENT_CALLS: usize = 128;
    /// As many again: who comes behind them would wait for longer than for an answer.
    pub const QUEUE: usize = 128;
    /// Many times what a request needs; a leak is noticed before it costs memory.
    pub const HANDLES: usize = 1_000;
    /// What a person can still read in an incident.
    pub const LOG_LINES: u32 = 100;
    /// What a page is made of, many times over; more is a report, which a component should not build in memory.
    pub const ROWS: usize = 1_000;
    /// Few enough that a bad version is gone in seconds, enough that one error of chance does not condemn it.
    pub const GUARD_CALLS: u64 = 100;
    /// Less is noise on a busy machine.
    pub const GUARD_FACTOR: u32 = 2;
    /// Many times what an API has of kinds of requests; each request looks through them.
    pub const RATE_CLASSES: usize = 16;
    /// As a batch of messages.
    pub const QUERY_BYTES: usize = 4 << 20;
}
