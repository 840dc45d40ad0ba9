//! Bugs that can be put in on purpose, to see that the tests and `marquee-bench chaos` find them.
//!
//! Bound: without the feature `seeded-bugs` [`seeded`] is a constant `false`, and nothing of them is in the build. With it
//! the environment names the one bug that a process has. It stands here since this crate is below all that have bugs.

use std::borrow::Cow;

/// A slip, each at its mechanism's own place. The text says what it breaks.
macro_rules! bugs {
    ($($bug:ident $name:literal $breaks:literal,)*) => {
        /// What can be wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Bug {
            $(#[doc = $breaks] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// As a command and the environment have it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }

            /// What it breaks, in words.
            pub fn breaks(self) -> &'static str {
                match self {
                    $(Self::$bug => $breaks,)*
                }
            }
        }
    };
}

bugs! {
    FenceOff "fence-off" "A batch is applied wherever the position is by now.",
    IncarnationIgnored "incarnation-ignored" "A position that was set back is taken for the one that was known.",
    InboxOff "inbox-off" "An event id that was seen is applied again.",
    DuplicatesOff "duplicates-off" "A number that was applied is applied again.",
    WatermarkNotRaised "watermark-not-raised" "The last number of a key that was applied is not written.",
    GapNotNoticed "gap-not-noticed" "A message is applied although a number before it is missing.",
    ClashNotNoticed "clash-not-noticed" "Another event under a number that is used up is dropped as a duplicate.",
    KeyNotHeld "key-not-held" "Messages are applied behind one of their key that is parked.",
    BehindCounts "behind-counts" "In one batch, a message is applied behind one of its key that was not.",
    PositionCommitsFirst "position-commits-first" "The position commits in a transaction before the one of the effect.",
    OffsetCommitsFirst "offset-commits-first" "The bus's offset is committed before the delivery, and reading goes on there.",
    MarkNotChecked "mark-not-checked" "A commit does not prove that its transaction is the one that was begun.",
    RelayDeletesFirst "relay-deletes-first" "The relay deletes rows before the bus has acknowledged them.",
    FailureForgotten "failure-forgotten" "The relay deletes what stands behind a failed row of the same key.",
    ReadAheadKept "read-ahead-kept" "The relay publishes what it has read ahead although what is before it was not taken.",
    RelayedNotCounted "relayed-not-counted" "The outbox's totals leave out what was relayed.",
    LeaseEpochIgnored "lease-epoch-ignored" "A relay deletes rows of a shard that it has lost meanwhile.",
    AckAtSend "ack-at-send" "A record counts as acknowledged when it was sent to Kafka.",
    AppendErrorSwallowed "append-error-swallowed" "The embedded bus acknowledges what it could not append.",
    BusEpochIgnored "bus-epoch-ignored" "The embedded bus takes an offset from a member that has lost the partition.",
    AttemptsNotCounted "attempts-not-counted" "A delivery of a parked message is not counted when it begins.",
    UnblockForgets "unblock-forgets" "When a parked message was applied, what waits behind it does not become due.",
    RetriedNotCounted "retried-not-counted" "The ledger leaves out what was applied after it was parked.",
    LossNotCounted "loss-not-counted" "What retention dropped unread is not counted as lost.",
}

/// Whether this process has the bug.
#[cfg(not(feature = "seeded-bugs"))]
#[inline]
pub const fn seeded(_: Bug) -> bool {
    false
}

/// Whether this process has the bug.
#[cfg(feature = "seeded-bugs")]
pub fn seeded(bug: Bug) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<Bug>> = std::sync::LazyLock::new(chosen);
    *CHOSEN == Some(bug)
}

/// Hosts and tests alike have it from the environment. A name that is none would look as if nothing were found.
#[cfg(feature = "seeded-bugs")]
#[expect(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "not in a host that somebody runs"
)]
fn chosen() -> Option<Bug> {
    let name = std::env::var(VARIABLE).ok()?;
    let found = Bug::ALL.iter().find(|bug| bug.name() == name).copied();
    found.or_else(|| panic!("{VARIABLE}: there is no bug {name:?}"))
}

/// A statement, with `slip` in the place of `right` where this process has the bug.
pub fn slip(
    bug: Bug,
    sql: impl Into<Cow<'static, str>>,
    right: &str,
    slip: &str,
) -> Cow<'static, str> {
    let sql = sql.into();
    if !seeded(bug) {
        return sql;
    }
    // Otherwise nothing would be wrong.
    assert!(
        sql.contains(right),
        "{}: {right:?} is not there",
        bug.name()
    );
    Cow::Owned(sql.replace(right, slip))
}

/// Names the bug, in a build with the feature.
pub const VARIABLE: &str = "MARQUEE_SEEDED_BUG";
