//! How many records a second a bus takes and gives: `throughput kafka BROKERS [RECORDS]` or
//! `throughput embedded URL [RECORDS]`. Records of 1 KiB, published in calls of 500 (one at a time, then four at
//! once), read back in batches of 500 that are committed.

#![expect(
    clippy::print_stdout,
    reason = "an example's figures go to the terminal"
)]

use std::{
    error::Error,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use marquee_bus::{
    BatchLimits, Bus, Event, Outgoing, Record,
    embedded::{self, Embedded},
    kafka::{self, Kafka},
};
use marquee_database::{Config, Database, Secret};

const CALL: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "throughput kafka BROKERS [RECORDS] | throughput embedded URL [RECORDS]";
    let kind = arguments.next().ok_or(usage)?;
    let place = arguments.next().ok_or(usage)?;
    let amount: usize = match arguments.next() {
        Some(amount) => amount.parse()?,
        None => 50_000,
    };
    let bus: Box<dyn Bus> = match kind.as_str() {
        "kafka" => Box::new(Kafka::new(kafka::Config::new(place))?),
        "embedded" => {
            let database = Database::new(&Config::new("bus", Secret::new(place)))?;
            Box::new(Embedded::open(database, embedded::Config::default()).await?)
        }
        _ => return Err(usage.into()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let topic = format!("throughput-{now}");
    bus.ensure_topic(&topic, 8).await?;

    let began = Instant::now();
    append(&*bus, &topic, amount).await?;
    show("append, one call at a time", amount, began.elapsed());
    let began = Instant::now();
    let quarter = || append(&*bus, &topic, amount / 4);
    tokio::try_join!(quarter(), quarter(), quarter(), quarter())?;
    show(
        "append, four calls at once",
        amount / 4 * 4,
        began.elapsed(),
    );

    let amount = amount + amount / 4 * 4;
    let reader = bus
        .subscribe(&topic, &topic, BatchLimits::default())
        .await?;
    let mut began = Instant::now();
    let mut read = 0;
    let (mut batches, mut committing) = (0_u32, Duration::ZERO);
    while read < amount {
        match reader.next().await? {
            // Joining is not reading.
            Event::Assigned(_) => began = Instant::now(),
            Event::Revoked(..) => {}
            Event::Batch(batch) => {
                read += batch.records.len();
                if let Some(last) = batch.records.last() {
                    let asked = Instant::now();
                    reader.commit(&batch.assignment, last.offset + 1).await?;
                    reader.more(&batch.assignment);
                    committing += asked.elapsed();
                    batches += 1;
                }
            }
        }
    }
    show("read and commit", read, began.elapsed());
    println!("in {batches} batches; their commits took {committing:.2?} of it");
    reader.close().await;
    bus.close().await;
    Ok(())
}

async fn append(bus: &dyn Bus, topic: &str, amount: usize) -> Result<(), marquee_bus::Error> {
    let value = Bytes::from(vec![b'v'; 1024]);
    let mut sent = 0;
    while sent < amount {
        let records = (sent..amount.min(sent + CALL)).map(|place| Outgoing {
            topic: topic.to_owned(),
            record: Record {
                key: format!("movie-{}", place % 500),
                value: value.clone(),
                headers: vec![("marquee-seq".to_owned(), Bytes::from(place.to_string()))],
            },
        });
        for result in bus.publish(records.collect()).await {
            result?;
            sent += 1;
        }
    }
    Ok(())
}

fn show(what: &str, amount: usize, elapsed: Duration) {
    let a_second = f64::from(u32::try_from(amount).unwrap_or(u32::MAX)) / elapsed.as_secs_f64();
    println!("{what}: {amount} records in {elapsed:.2?}, {a_second:.0} a second");
}
