//! What a program without a host reads from the bus: batches of each partition, one of them ahead.

use anyhow::Context as _;
use bytes::Bytes;
use marquee_bus::{Outgoing, Record};
use rdkafka::Message as _;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    feed::{EVENT_ID, SEQ},
    kafka,
    stage::{PARTITIONS, Stage, TOPIC},
};
use crate::servers::Connected;

/// An event as it was read.
pub(crate) struct Event {
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) seq: Option<i64>,
    pub(crate) id: Uuid,
    pub(crate) value: Vec<u8>,
}

/// Batches of each partition.
pub(crate) type Batches = Vec<mpsc::Receiver<Vec<Event>>>;

/// Read so many events, from these offsets on.
pub(crate) async fn open(
    stage: &Stage,
    from: &[i64],
    events: i64,
) -> anyhow::Result<(Batches, JoinSet<anyhow::Result<()>>)> {
    let (senders, batches): (Vec<_>, Vec<_>) = from.iter().map(|_| mpsc::channel(1)).unzip();
    let mut reading = JoinSet::new();
    match stage.brokers() {
        Some(brokers) => {
            let (brokers, from) = (brokers.to_owned(), from.to_vec());
            reading.spawn_blocking(move || read_kafka(&brokers, &from, events, &senders));
        }
        None => {
            let ends = stage.ends().await?;
            for (number, ((from, end), sender)) in
                (0..PARTITIONS).zip(from.iter().copied().zip(ends).zip(senders))
            {
                let client = stage.connect("bus").await?;
                reading.spawn(read_log(client, number, from, end, sender));
            }
        }
    }
    Ok((batches, reading))
}

/// One partition of the embedded bus's table.
async fn read_log(
    client: Connected,
    number: i32,
    mut next: i64,
    end: i64,
    sender: mpsc::Sender<Vec<Event>>,
) -> anyhow::Result<()> {
    let read = client.prepare(READ).await?;
    while next < end {
        let rows = client.query(&read, &[&TOPIC, &number, &next]).await?;
        let batch = rows
            .iter()
            .map(|row| {
                let headers = headers(row.get(2));
                event(row.get(0), row.get(1), row.get(3), |name| {
                    Ok(headers
                        .iter()
                        .find(|(known, _)| known == name)
                        .map(|(_, value)| value.clone())
                        .unwrap_or_default())
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        next = batch.last().context("the log ends too early")?.offset + 1;
        sender.send(batch).await?;
    }
    Ok(())
}

/// All partitions by one consumer, which is how librdkafka is quickest.
fn read_kafka(
    brokers: &str,
    from: &[i64],
    events: i64,
    senders: &[mpsc::Sender<Vec<Event>>],
) -> anyhow::Result<()> {
    let consumer = kafka::consumer(brokers, from)?;
    let mut waiting: Vec<Vec<Event>> = senders.iter().map(|_| Vec::new()).collect();
    let mut left = events;
    while left > 0 {
        let message = kafka::poll(&consumer)?;
        let number = usize::try_from(message.partition())?;
        let key = String::from_utf8(message.key().unwrap_or_default().to_vec())?;
        let value = message.payload().unwrap_or_default().to_vec();
        let event = event(message.offset(), key, value, |name| {
            kafka::header(&message, name)
        })?;
        left -= 1;
        let (Some(batch), Some(sender)) = (waiting.get_mut(number), senders.get(number)) else {
            continue;
        };
        batch.push(event);
        if batch.len() == BATCH {
            sender.blocking_send(std::mem::take(batch))?;
        }
    }
    for (batch, sender) in waiting.into_iter().zip(senders) {
        if !batch.is_empty() {
            sender.blocking_send(batch)?;
        }
    }
    Ok(())
}

fn event(
    offset: i64,
    key: String,
    value: Vec<u8>,
    header: impl Fn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Event> {
    Ok(Event {
        offset,
        key,
        seq: header(SEQ)?.parse().ok(),
        id: header(EVENT_ID)?.parse()?,
        value,
    })
}

/// Name and value in turn, each with its length before it.
fn headers(mut block: &[u8]) -> Vec<(String, String)> {
    let mut next = || {
        let (length, rest) = block.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (text, rest) = rest.split_at_checked(length)?;
        block = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    std::iter::from_fn(|| Some((next()?, next()?))).collect()
}

/// A row of the outbox of a program without a host.
pub(crate) fn outgoing(row: &Row) -> Outgoing {
    let id: Uuid = row.get(4);
    let seq: i64 = row.get(3);
    Outgoing {
        topic: row.get(1),
        record: Record {
            key: row.get(2),
            value: Bytes::from(row.get::<_, Vec<u8>>(5)),
            headers: vec![
                (EVENT_ID.to_owned(), Bytes::from(id.to_string())),
                (SEQ.to_owned(), Bytes::from(seq.to_string())),
            ],
        },
    }
}

const BATCH: usize = 500;
const READ: &str = "
select r.\"offset\", r.key, r.headers, r.value
from marquee_bus.records as r
where r.topic_id = (select id from marquee_bus.topics where name = $1) and r.partition = $2 and r.\"offset\" >= $3
order by r.\"offset\" limit 500";
