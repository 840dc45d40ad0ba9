//! Events to be measured with: on the bus, in the outbox, behind a blocked key.

use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use marquee_bus::{Outgoing, Record};
use uuid::Uuid;

use super::stage::{Stage, TOPIC};

/// Whether events have the dense numbers of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    Dense,
    None,
}

/// Put events onto the component's topic, as a relay or a producer would.
pub(crate) async fn topic(
    stage: &Stage,
    numbers: Numbers,
    events: i64,
    keys: i64,
) -> anyhow::Result<()> {
    let mut n = 0;
    while n < events {
        let until = events.min(n + CHUNK);
        let records = (n..until).map(|n| outgoing(numbers, n, keys)).collect();
        for result in stage.bus.publish(records).await {
            result?;
        }
        n = until;
    }
    Ok(())
}

fn outgoing(numbers: Numbers, n: i64, keys: i64) -> Outgoing {
    let id = Uuid::now_v7().to_string();
    let mut headers = vec![(EVENT_ID.to_owned(), Bytes::from(id))];
    if numbers == Numbers::Dense {
        let seq = (n / keys + 1).to_string();
        headers.push((SEQ.to_owned(), Bytes::from(seq)));
        headers.push((SOURCE.to_owned(), Bytes::from_static(b"bench")));
    }
    Outgoing {
        topic: TOPIC.to_owned(),
        record: Record {
            key: format!("key-{}", n % keys),
            value: Bytes::from(format!("[\"tag-{n}\", 1]")),
            headers,
        },
    }
}

/// Put events into the outbox. How many a second.
pub(crate) async fn outbox(
    stage: &Stage,
    topic: &str,
    events: i64,
    keys: i64,
) -> anyhow::Result<f64> {
    let database = stage.connect("counter").await?;
    in_transactions(events, async |from, until| {
        let done = database
            .query_one(PUBLISH, &[&topic, &keys, &from, &until])
            .await?;
        let done: i64 = done.get(0);
        anyhow::ensure!(done == until - from + 1, "{done} were published");
        Ok(())
    })
    .await
}

/// Do something with the numbers from 0, some thousands at a time. How many a second.
pub(crate) async fn in_transactions(
    events: i64,
    one: impl AsyncFn(i64, i64) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut n = 0;
    while n < events {
        let until = events.min(n + TRANSACTION);
        one(n, until - 1).await?;
        n = until;
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let events = events as f64;
    Ok(events / begun.elapsed().as_secs_f64())
}

/// Park events of one key, all in one transaction: at its commit the first of them is due.
pub(crate) async fn blocked(stage: &Stage, events: i64) -> anyhow::Result<()> {
    let database = stage.connect("counter").await?;
    database
        .query_one(PARK, &[&TOPIC, &HOT, &events])
        .await
        .context("events cannot be parked")?;
    Ok(())
}

/// The key that is blocked.
pub(crate) const HOT: &str = "hot";
pub(crate) const EVENT_ID: &str = "marquee-event-id";
pub(crate) const SEQ: &str = "marquee-seq";
const SOURCE: &str = "marquee-source";
const CHUNK: i64 = 2_000;
const TRANSACTION: i64 = 5_000;
/// $1 topic, $2 keys, $3 and $4 the first and the last number.
const PUBLISH: &str = "
select count(marquee.publish(
    $1, 'key-' || n % $2, '{}', convert_to(jsonb_build_array('outbox-' || n, 1)::text, 'UTF8')
))
from generate_series($3::bigint, $4::bigint) as n";
/// $1 topic, $2 key, $3 how many.
const PARK: &str = "
select count(marquee.park(
    'counter', $1, $2, marquee.uuid_v7(), '{}', convert_to(jsonb_build_array('hot-' || n, 1)::text, 'UTF8'), 'not yet'
)::text)
from generate_series(1, $3::bigint) as n";
