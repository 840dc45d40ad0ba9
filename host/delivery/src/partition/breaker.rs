//! A circuit breaker: tells a component that fails at everything from messages that cannot be applied.

/// Counts messages that failed alone, in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    failed: u32,
    /// A pause is due before the next delivery.
    is_due: bool,
}

impl Breaker {
    /// A message failed although it stood alone.
    pub(super) fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
        self.is_due = self.is_open();
        if self.failed == UNTIL_OPEN {
            tracing::error!(
                "the last {UNTIL_OPEN} messages failed one by one, each for itself: the component is to blame; one message is \
                 tried at a time, with growing pauses, until one succeeds"
            );
        }
    }

    /// A message was applied.
    pub(super) fn worked(&mut self) {
        if self.is_open() {
            tracing::info!("a message was applied again; the partition goes on as usual");
        }
        *self = Self::default();
    }

    /// Whether one message at a time is tried.
    pub(super) fn is_open(self) -> bool {
        self.failed >= UNTIL_OPEN
    }

    /// Whether to pause before the next delivery, and after how many pauses before.
    pub(super) fn pause(self) -> Option<u32> {
        self.is_due.then(|| {
            self.failed
                .saturating_sub(UNTIL_OPEN)
                .saturating_add(FIRST_PAUSE)
        })
    }

    /// Whether such a pause is under way.
    pub(super) fn is_resting(self) -> bool {
        self.is_due
    }

    /// The pause is over.
    pub(super) fn rested(&mut self) {
        self.is_due = false;
    }
}

/// Enough that a few bad messages in a row do not slow the good ones; few enough that a broken release parks little.
const UNTIL_OPEN: u32 = 5;
/// The first pause is already a long one (some 3 s).
const FIRST_PAUSE: u32 = 5;
