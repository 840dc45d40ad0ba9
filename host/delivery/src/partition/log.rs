//! The log behind a partition, compared with a position in it.
//!
//! Two records of "how far" can disagree: either side may have been restored from a backup, the log may have been made
//! again or lost its beginning to retention. Each case has one answer, and what is lost is said with its number.

use crate::{Begin, consume::Position};

/// What the bus has of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Names it: another topic of the same name, or on another bus, is another log. None: the bus does not say.
    pub id: Option<String>,
    /// The offset of its first record that is still there.
    pub begin: i64,
    /// The offset that its next record will have.
    pub end: i64,
}

impl Log {
    /// Where the consumer is to go on, if not at its position.
    pub(super) fn judge(&self, position: &Position, from: Begin) -> Option<i64> {
        let partition = &position.partition;
        let next = position.next;
        let begin = match from {
            Begin::Earliest => self.begin,
            Begin::Latest => self.end,
        };
        if position.began.is_none() {
            return Some(begin);
        }
        let known = position.log.as_deref().zip(self.id.as_deref());
        if let Some((was, is)) = known.filter(|(was, is)| was != is) {
            tracing::error!(
                %partition, position = next, was, is,
                "the position is one of another log; reading begins anew with this one, and what the other one had that \
                 was not yet handled stays there"
            );
            return Some(begin);
        }
        if next > self.end {
            tracing::error!(
                %partition, position = next, end = self.end,
                "the partition ends before the consumer's position: its topic was deleted and made again, or lost its end; \
                 reading begins anew, what was in it and not yet handled is lost"
            );
            return Some(self.begin);
        }
        if next < self.begin {
            tracing::error!(
                %partition, position = next, begin = self.begin, lost = self.begin - next,
                "{} messages were dropped by the bus's retention before the consumer read them",
                self.begin - next
            );
            return Some(self.begin);
        }
        // The first time that the bus says which log it is.
        (position.log.is_none() && self.id.is_some()).then_some(next)
    }
}
