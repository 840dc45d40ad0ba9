//! The log behind a partition, compared with a position in it.
//!
//! Two records of "how far" can disagree: either side may have been restored from a backup, the log may have been made
//! again or lost its beginning to retention. Each case has one answer, and what is lost is said with its number.

use marquee_bus::Log;
use marquee_database::seeded::{Bug, seeded};

use crate::{
    Begin,
    consume::{Place, Position, Why},
};

/// Where the consumer is to go on, if not at its position.
pub(super) fn judge(log: &Log, position: &Position, from: Begin) -> Option<Place> {
    let partition = &position.partition;
    let next = position.next;
    let at = |next, why| {
        let log = log.id.clone();
        Some(Place { next, log, why })
    };
    let begin = match from {
        Begin::Earliest => log.begin,
        Begin::Latest => log.end,
    };
    if position.began.is_none() {
        if begin > 0 && from == Begin::Earliest {
            tracing::warn!(
                %partition, begin,
                "the consumer is new; messages that the bus's retention dropped before it came: {begin}; it begins with the \
                 oldest that is there"
            );
        }
        return at(begin, Why::Anew);
    }
    let known = position.log.as_deref().zip(log.id.as_deref());
    if let Some((was, is)) = known.filter(|(was, is)| was != is) {
        tracing::error!(
            %partition, position = next, was, is,
            "the position is one of another log; reading begins anew with this one, and what the other one had that \
             was not yet handled stays there"
        );
        return at(begin, Why::Anew);
    }
    if next > log.end {
        tracing::error!(
            %partition, position = next, end = log.end,
            "the partition ends before the consumer's position: its topic was deleted and made again, or lost its end; \
             reading begins anew, what was in it and not yet handled is lost"
        );
        return at(log.begin, Why::Anew);
    }
    if next < log.begin {
        tracing::error!(
            %partition, position = next, begin = log.begin, lost = log.begin - next,
            "messages that the bus's retention dropped before the consumer read them: {}",
            log.begin - next
        );
        if seeded(Bug::LossNotCounted) {
            return at(log.begin, Why::Empty);
        }
        return at(log.begin, Why::Lost);
    }
    // The first time that the bus says which log it is.
    let learns = position.log.is_none() && log.id.is_some();
    at(next, Why::Empty).filter(|_| learns)
}

#[cfg(test)]
mod tests {
    use marquee_bus::Partition;

    use super::*;

    #[test]
    fn what_retention_dropped_unread_is_lost_and_not_empty() {
        let partition = Partition {
            topic: "topic".to_owned(),
            number: 0,
        };
        let mut position = Position::unseen("consumer", &partition);
        (position.began, position.next) = (Some(0), 3);
        let log = Log {
            id: None,
            begin: 5,
            end: 9,
        };
        let to = judge(&log, &position, Begin::Earliest);
        assert_eq!(to.map(|to| (to.next, to.why)), Some((5, Why::Lost)));
    }
}
