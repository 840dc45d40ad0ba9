//! What came of a call, and whose doing it was.
//!
//! One value that statistics, the guard of releases, logs and answers to clients read, so that they cannot disagree.

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What happened.
    pub kind: Kind,
    /// Whose doing it was. None where nothing went wrong.
    pub blame: Option<Blame>,
}

/// What happened to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answered, and well.
    Done,
    /// It answered that it failed: an HTTP status of 500 and above or a status of gRPC that means the same, a batch that
    /// failed or of which a message was rejected, a job that failed.
    Failed,
    /// It trapped, or the host did in its place.
    Trapped,
    /// It passed its deadline.
    Late,
    /// It was ended before.
    Cancelled,
    /// It never began.
    Refused,
    /// It answered, and its unit of work does not stand, or may not.
    Undone,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 7;
/// How many there are to blame.
pub(crate) const BLAMES: usize = 4;

/// Whose doing a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Whoever asked: it went away, or neither sent nor took its share in time.
    Client,
    /// This host: it has no room left, it stops, or it has a bug.
    Host,
    /// What the component relies on: its database, the bus, another component.
    Dependency,
    /// The component's own code. Only this speaks against a version.
    Version,
}

impl Kind {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; KINDS] = [
        Self::Done,
        Self::Failed,
        Self::Trapped,
        Self::Late,
        Self::Cancelled,
        Self::Refused,
        Self::Undone,
    ];

    /// In a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Trapped => "trapped",
            Self::Late => "late",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Undone => "undone",
        }
    }
}

impl Blame {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; BLAMES] =
        [Self::Client, Self::Host, Self::Dependency, Self::Version];

    /// In a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Host => "host",
            Self::Dependency => "dependency",
            Self::Version => "version",
        }
    }
}

impl Outcome {
    /// It answered, and well.
    pub const DONE: Self = Self {
        kind: Kind::Done,
        blame: None,
    };

    pub(crate) fn new(kind: Kind, blame: Blame) -> Self {
        Self {
            kind,
            blame: Some(blame),
        }
    }
}
