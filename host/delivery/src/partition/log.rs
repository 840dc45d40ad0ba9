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
        let log = Some(log.id.clone());
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
    if let Some(was) = position.log.as_deref().filter(|was| !log.is(was)) {
        tracing::error!(
            %partition, position = next, was, is = log.id,
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
    // A release before did not ask which log it is, or kept less of its name.
    let learns = position.log.as_ref() != Some(&log.id);
    at(next, Why::Empty).filter(|_| learns)
}

#[cfg(test)]
mod tests {
    use marquee_bus::Partition;

    use super::*;

    #[test]
    fn what_retention_dropped_unread_is_lost_and_not_empty() {
        assert_eq!(judged(Some("kafka a b"), 3, (5, 9)), Some((5, Why::Lost)));
    }

    #[test]
    fn a_position_of_another_log_is_not_believed_though_it_lies_within_this_one() {
        for was in ["embedded 2026", "kafka b", "kafka a c", "kafka a bb"] {
            let to = judged(Some(was), 3, (0, 9));
            assert_eq!(to, Some((0, Why::Anew)), "{was}");
        }
    }

    #[test]
    fn a_position_that_was_kept_with_less_of_its_logs_name_stays_and_learns_the_rest() {
        for was in [None, Some("kafka a")] {
            assert_eq!(judged(was, 3, (0, 9)), Some((3, Why::Empty)), "{was:?}");
        }
        assert_eq!(judged(Some("kafka a b"), 3, (0, 9)), None);
    }

    fn judged(was: Option<&str>, next: i64, (begin, end): (i64, i64)) -> Option<(i64, Why)> {
        let partition = Partition {
            topic: "topic".to_owned(),
            number: 0,
        };
        let mut position = Position::unseen("consumer", &partition);
        (position.began, position.next) = (Some(0), next);
        position.log = was.map(ToOwned::to_owned);
        let log = Log {
            id: "kafka a b".to_owned(),
            begin,
            end,
        };
        judge(&log, &position, Begin::Earliest).map(|to| (to.next, to.why))
    }
}
