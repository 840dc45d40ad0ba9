//! How long it takes from publishing to applying, as a client sees it, beside a load or alone.
//!
//! One message after the other is published through the component over HTTP; the database tells, by NOTIFY, when the
//! transaction that applied it has committed. The load is published by another client, every 20 ms a statement.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::Full;

use super::stage::{Stage, TOPIC};
use crate::{host::Host, load};

/// In microseconds.
pub(crate) struct Times {
    /// From sending the request that publishes.
    asked: Histogram<u64>,
    /// From its answer.
    answered: Histogram<u64>,
}

/// Publish and wait, for so long, beside so many events a second.
pub(crate) async fn run(
    stage: &Stage,
    host: &Host,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Times> {
    let database = stage.connect("counter").await?;
    database.batch_execute(TELL).await?;
    let until = Instant::now() + length;
    let (loaded, times) = tokio::join!(load(stage, rate, until), probe(stage, host, until));
    loaded?;
    times
}

async fn probe(stage: &Stage, host: &Host, until: Instant) -> anyhow::Result<Times> {
    let mut told = stage.counter.listen(CHANNEL).await?;
    let mut times = Times {
        asked: Histogram::new(3)?,
        answered: Histogram::new(3)?,
    };
    let mut n = 0;
    while Instant::now() < until {
        let tag = format!("probe-{}", uuid::Uuid::now_v7());
        let path = format!("/probe-{}/{tag}/1", n % 64);
        let request = Request::put(path).body(Full::<Bytes>::default())?;
        let asked = Instant::now();
        let answered = async {
            load::send(&host.address, request).await?;
            anyhow::Ok(Instant::now())
        };
        let applied = async {
            while told.next().await? != tag {}
            anyhow::Ok(Instant::now())
        };
        let both = async { tokio::try_join!(answered, applied) };
        let (answered, applied) = tokio::time::timeout(PATIENCE, both)
            .await
            .context("a message was not applied in time")??;
        let micros = |from| u64::try_from(applied.saturating_duration_since(from).as_micros());
        times.asked.record(micros(asked)?)?;
        times.answered.record(micros(answered)?.max(1))?;
        n += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(times)
}

async fn load(stage: &Stage, rate: f64, until: Instant) -> anyhow::Result<()> {
    if rate < 1.0 {
        return Ok(());
    }
    let database = stage.connect("counter").await?;
    let publish = database.prepare(PUBLISH).await?;
    let mut tick = tokio::time::interval(TICK);
    let begun = Instant::now();
    let mut sent = 0_i64;
    while Instant::now() < until {
        tick.tick().await;
        #[expect(clippy::cast_possible_truncation, reason = "whole events")]
        let due = (begun.elapsed().as_secs_f64() * rate) as i64;
        database.execute(&publish, &[&TOPIC, &sent, &due]).await?;
        sent = due;
    }
    Ok(())
}

/// A row a phase.
pub(crate) fn table(phases: &[(String, Times)]) -> String {
    crate::table::table(
        [
            "publish to applied",
            "messages",
            "from the request p50 ms",
            "p99 ms",
            "from its answer p50 ms",
            "p99 ms",
        ],
        phases.iter().map(|(name, times)| {
            let ms = |of: &Histogram<u64>, percentile| {
                #[expect(clippy::cast_precision_loss, reason = "for people to read")]
                let micros = of.value_at_percentile(percentile) as f64;
                format!("{:.1}", micros / 1_000.0)
            };
            let figures = vec![
                times.asked.len().to_string(),
                ms(&times.asked, 50.0),
                ms(&times.asked, 99.0),
                ms(&times.answered, 50.0),
                ms(&times.answered, 99.0),
            ];
            (name.clone(), figures)
        }),
    )
}

const CHANNEL: &str = "bench";
/// Long enough that one message's work is over when the next comes.
const PAUSE: Duration = Duration::from_millis(13);
const TICK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);
const TELL: &str = "
create or replace function bench_tell() returns trigger language plpgsql as $$
begin
    perform pg_notify('bench', new.tag);
    return null;
end
$$;
create or replace trigger bench_tell after insert on seen
for each row when (new.tag like 'probe-%') execute function bench_tell()";
/// $1 topic, $2 the first number, $3 the one behind the last.
const PUBLISH: &str = "
select count(marquee.publish(
    $1, 'key-' || n % 1000, '{}', convert_to(jsonb_build_array('load-' || n, 1)::text, 'UTF8')
))
from generate_series($2::bigint, $3::bigint - 1) as n";
