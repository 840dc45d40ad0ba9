//! The outbox's half of the audit: whether what waits of each key is all that should, and whether what does not wait any
//! more left by a door that counts.
//!
//! Rows leave from the front of their key alone, acknowledged or discarded, so those that wait have the key's last numbers
//! without a gap, and the last of them is the last that was given. All numbers that were given out wait, or were counted
//! when they left. That needs no counters, which publishers would have to wait for. Not here: messages without a key,
//! which have no number. Cost: two statements over the rows that wait, and one over all keys.

use marquee_database::Connection;

use super::Finding;
use crate::{
    Error,
    outbox::{
        Totals,
        totals::{Numbers, totals},
    },
};

/// What became of what was published, and what does not add up: at the most twenty keys of each kind.
pub(super) async fn audit(connection: &mut Connection) -> Result<(Totals, Vec<Finding>), Error> {
    let mut findings = Vec::new();
    let (totals, numbers) = totals(connection).await?;
    let Numbers { given, accounted } = numbers;
    if given != accounted && !totals.uncounted {
        findings.push(Finding {
            place: "outbox".to_owned(),
            what: format!(
                "numbers that were given out: {given}; that wait, or were relayed or discarded: {accounted}"
            ),
        });
    }
    for row in connection.query(ASIDE, &[]).await? {
        let (topic, key, rows): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        findings.push(Finding {
            place: format!("outbox: {topic}"),
            what: format!("{rows} rows of key {key:?} are set aside, and none of them is refused"),
        });
    }
    for row in connection.query(NUMBERS, &[]).await? {
        let (topic, key): (String, String) = (row.get(0), row.get(1));
        let [rows, first, last, given] = [2, 3, 4, 5].map(|column| row.get::<_, i64>(column));
        findings.push(Finding {
            place: format!("outbox: {topic}"),
            what: format!(
                "{rows} rows of key {key:?} wait under the numbers {first} to {last}, and the last that was given is {given}"
            ),
        });
    }
    Ok((totals, findings))
}

/// What waits behind a refused row that is not there; at the most twenty keys.
const ASIDE: &str = "
select o.topic, o.key, count(*)
from marquee.outbox as o
where o.shard < 0 and o.refused is null and not exists (
    select from marquee.outbox as r
    where r.shard < 0 and r.topic = o.topic and r.key = o.key and r.refused is not null
)
group by 1, 2
limit 20";

/// Keys of which a number is missing or doubled among what waits, or whose last row is not the last that was numbered. Of
/// an earlier source the last number is not known any more.
const NUMBERS: &str = "
select w.topic, w.key, w.waiting, w.first, w.last,
    case when w.is_current then coalesce(k.last_seq, 0) else w.last end as given
from (
    select o.topic, o.key, o.source is not distinct from s.id as is_current,
        count(*) as waiting, count(distinct o.seq) as numbers, min(o.seq) as first, max(o.seq) as last
    from marquee.outbox as o
    cross join marquee.source as s
    where o.seq is not null
    group by o.topic, o.key, o.source, s.id
) as w
left join marquee.keys as k on k.topic = w.topic and k.key = w.key
where w.numbers <> w.waiting or w.waiting <> w.last - w.first + 1 or (w.is_current and k.last_seq is distinct from w.last)
limit 20";
