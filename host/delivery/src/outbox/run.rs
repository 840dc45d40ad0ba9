//! One run's rows and what the bus said of them: pure.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use marquee_bus::{Error, Outgoing, Record};
use marquee_database::seeded::{Bug, seeded};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::message::{EVENT_ID, SEQ, SOURCE};

/// A row of the outbox without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) shard: i16,
    pub(crate) id: i64,
    pub(crate) topic: String,
    pub(crate) key: String,
}

/// Rows of the outbox on their way, and the messages that they are, in the same order.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) sent: Vec<Sent>,
    pub(crate) outgoing: Vec<Outgoing>,
}

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Rows that the bus has, and before which it has all of their key.
    pub(crate) acknowledged: Vec<Sent>,
    /// Shards that the bus did not take for a passing reason, and the first one.
    pub(crate) failed: BTreeMap<i16, String>,
    /// The first row of each key that the bus will not take, and why.
    pub(crate) refused: Vec<(Sent, String)>,
}

/// The shard of a row that may be set aside.
pub(crate) fn home(shard: i16) -> i16 {
    if shard < 0 { -1 - shard } else { shard }
}

/// A row on its way: the host's headers first, then the publisher's. `name` is the source of numbers that were given
/// while sources had no ids.
pub(crate) fn outgoing(name: &str, row: &Row) -> (Sent, Outgoing) {
    let event_id: Uuid = row.get(5);
    let mut headers = vec![(EVENT_ID.to_owned(), Bytes::from(event_id.to_string()))];
    if let Some(seq) = row.get::<_, Option<i64>>(4) {
        headers.push((SEQ.to_owned(), Bytes::from(seq.to_string())));
    }
    let source = match row.get::<_, Option<Uuid>>(8) {
        Some(id) => Bytes::from(id.to_string()),
        None => Bytes::from(name.to_owned()),
    };
    headers.push((SOURCE.to_owned(), source));
    if let Value::Object(own) = row.get(6) {
        for (name, value) in own {
            if let Value::String(text) = value {
                headers.push((name, Bytes::from(text)));
            }
        }
    }
    let sent = Sent {
        shard: row.get(0),
        id: row.get(1),
        topic: row.get(2),
        key: row.get(3),
    };
    let outgoing = Outgoing {
        topic: sent.topic.clone(),
        record: Record {
            key: sent.key.clone(),
            value: Bytes::from(row.get::<_, Vec<u8>>(7)),
            headers,
        },
    };
    (sent, outgoing)
}

/// Sort what the bus said. A row counts as acknowledged only if every earlier one of its key in the run is: what was
/// published behind a failed row is published again, and known by its number.
pub(crate) fn report(sent: Vec<Sent>, mut results: Vec<Result<(), Error>>) -> Report {
    // A bus that answers too little has not acknowledged the rest.
    results.resize_with(sent.len(), || {
        Err(Error::Unavailable("the bus gave no answer".to_owned()))
    });
    let mut report = Report::default();
    let mut stopped: HashSet<(String, String)> = HashSet::new();
    for (row, result) in sent.into_iter().zip(results) {
        let key = (row.topic.clone(), row.key.clone());
        let ordered = !row.key.is_empty();
        if ordered && stopped.contains(&key) && !seeded(Bug::FailureForgotten) {
            continue;
        }
        let Err(error) = result else {
            report.acknowledged.push(row);
            continue;
        };
        if ordered {
            stopped.insert(key);
        }
        match error {
            Error::Refused(reason) => report.refused.push((row, reason)),
            other => {
                report
                    .failed
                    .entry(home(row.shard))
                    .or_insert_with(|| other.to_string());
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(shard: i16, id: i64, key: &str) -> Sent {
        Sent {
            shard,
            id,
            topic: "t".to_owned(),
            key: key.to_owned(),
        }
    }

    fn acknowledged(report: &Report) -> Vec<(i16, i64)> {
        let place = |row: &Sent| (row.shard, row.id);
        report.acknowledged.iter().map(place).collect()
    }

    fn away() -> Result<(), Error> {
        Err(Error::Unavailable("away".to_owned()))
    }

    #[test]
    fn behind_a_failed_row_nothing_of_its_key_counts_as_acknowledged() {
        let report = report(
            vec![
                row(0, 1, "a"),
                row(0, 2, "a"),
                row(0, 3, "b"),
                row(0, 4, "a"),
            ],
            vec![Ok(()), away(), Ok(()), Ok(())],
        );
        assert_eq!(acknowledged(&report), [(0, 1), (0, 3)]);
        assert_eq!(report.failed.keys().collect::<Vec<_>>(), [&0]);
    }

    #[test]
    fn rows_without_a_key_stand_for_themselves() {
        let report = report(
            vec![row(0, 1, ""), row(0, 2, ""), row(1, 3, "")],
            vec![away(), Ok(()), Ok(())],
        );
        assert_eq!(acknowledged(&report), [(0, 2), (1, 3)]);
    }

    #[test]
    fn a_refused_row_stops_its_key_and_not_its_shard() {
        let report = report(
            vec![row(0, 1, "a"), row(0, 2, "b"), row(0, 3, "a")],
            vec![Err(Error::Refused("too large".to_owned())), Ok(()), Ok(())],
        );
        assert_eq!(acknowledged(&report), [(0, 2)]);
        assert!(report.failed.is_empty());
        assert_eq!(report.refused.len(), 1);
    }

    #[test]
    fn an_answer_that_is_missing_is_no_acknowledgement() {
        let report = report(vec![row(0, 1, "a"), row(0, 2, "b")], vec![Ok(())]);
        assert_eq!(acknowledged(&report), [(0, 1)]);
        assert_eq!(report.failed.len(), 1);
    }
}
