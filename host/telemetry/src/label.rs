//! Labels: by what the values of a metric are told apart, and how many values each can have.
//!
//! Promise: every one is bounded by the manifest, by code, or by a number that stands here; none is a client's to choose.

/// A label.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// How many values it has at the most.
    pub bound: &'static str,
}

const fn label(name: &'static str, meaning: &'static str, bound: &'static str) -> Label {
    Label {
        name,
        meaning,
        bound,
    }
}

/// A component.
pub static COMPONENT: Label = label(
    "component",
    "a component's name in the manifest",
    "components",
);
/// A version.
pub static VERSION: Label = label(
    "version",
    "the first 12 digits of a version's digest, as the command line shows it",
    "versions that are loaded, and the last 64 that were; a new one with each release",
);
/// What a version is to its component.
pub static ROLE: Label = label("role", "`stable`, `canary`, `shadow` or `draining`", "4");
/// A route.
pub static ROUTE: Label = label(
    "route",
    "a route that the component names, by its pattern (`/v1/movies/{id}`); one of the manifest, as it stands there, where it names \
     none; `none` where no route fits, `other` beyond the bound",
    "the manifest's, 256 that components name, and 2",
);
/// A method of HTTP.
pub static METHOD: Label = label(
    "method",
    "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS` or `other`",
    "8",
);
/// A status of HTTP.
pub static STATUS: Label = label(
    "status",
    "the status of the response; `other` for one beyond 599",
    "those that were answered",
);
/// Why the host itself answered a request.
pub static REASON: Label = label("reason", "why, as the metric says", "13");
/// A listener.
pub static LISTENER: Label = label("listener", "`public` or `admin`", "2");
/// Where delivered messages come from.
pub static SOURCE: Label = label(
    "source",
    "`bus` where they come for the first time, or `parked` where they are tried again",
    "2",
);
/// What came of something.
pub static OUTCOME: Label = label("outcome", "what came of it", "as the metric says");
/// Whose doing a failure was.
pub static BLAME: Label = label(
    "blame",
    "whose doing it was: `client`, `host`, `dependency` or `version`",
    "4",
);
/// In which state something is.
pub static STATE: Label = label("state", "in which state it is", "as the metric says");
/// A database.
pub static DATABASE: Label = label(
    "database",
    "a database's name: a component's in the manifest, `bus` or `releases`",
    "databases + 2",
);
/// A consumer.
pub static CONSUMER: Label = label(
    "consumer",
    "a consumer's name",
    "consumers that have read something",
);
/// A topic.
pub static TOPIC: Label = label("topic", "a topic", "topics that are consumed");
/// A partition.
pub static PARTITION: Label = label(
    "partition",
    "a partition's number",
    "partitions of the topic",
);
/// A term of the audit.
pub static TERM: Label = label(
    "term",
    "a term of the audit's identity: see ARCHITECTURE.md, *The ledger*",
    "12",
);
/// A schedule.
pub static SCHEDULE: Label = label(
    "schedule",
    "a schedule's name in the manifest",
    "schedules of the component",
);
/// What asked for a step.
pub static ACTION: Label = label(
    "action",
    "what the step was: `deploy`, `promote`, `rollback`, ...",
    "some 15",
);
/// A part of a step.
pub static PHASE: Label = label(
    "phase",
    "`compile`, `prepare` (compiling, linking, starting, asking), `commit` or `drain`",
    "4",
);
/// A task of the host.
pub static TASK: Label = label(
    "task",
    "the task's name, as the log has it",
    "the host's tasks: some 10, and one a relay, subscription, retry and schedule",
);
/// A host's version.
pub static HOST_VERSION: Label = label("version", "of the program", "1");
